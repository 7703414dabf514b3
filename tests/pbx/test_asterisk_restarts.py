"""Asterisk goes away in the middle of a call and comes back: what the gateway says of the call is true all the time,
nothing of it is left over, and the next call is asked and recorded."""

import asyncio
import dataclasses
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from gateway.adapters.softphone import Call, Softphone
from gateway.app.pbx_session import PbxSession
from gateway.domain import commands as do
from tests.e2e.test_kill import verify_all
from tests.pbx.scene import Stopwatch, heard, hears, speaking, voices
from tests.pbx.test_gateway import press, recorded
from tests.pbx.whole import Whole, whole
from tests.support import asterisk
from tests.support.ami import logged_in
from tests.support.mixed import AGENT, PERSON, STRANGER, Voice
from tests.support.site import MODULES, SITE
from tests.support.wire import wire

pytestmark = pytest.mark.slow
SECRET = STRANGER
"""The voice of a person while nothing may be recorded."""
LAMP = "DEVICE_STATE(Custom:consent-desk)"
BLOCK_S = 2.2
"""Asterisk writes a recording in blocks of two seconds: so long lasts what leaves one on the disk."""

Entries = dict[str, list[dict[str, object]]]


# --- what is there, and what is said of it ---------------------------------------------------------------------------


def not_ready(*servers: str) -> list[str]:
    """What the gateway says while exactly these are away."""
    return [f"no manager connection to {', '.join(servers)}: its calls are connected unasked, unrecorded"]


def alarms(w: Whole) -> list[str]:
    """The alarms so far."""
    return [what.alarm for _, _, what in w.journal.entries if isinstance(what, do.RaiseAlarm)]


async def is_away(w: Whole, session: PbxSession) -> None:
    """Wait until the gateway says that Asterisk is out of reach, is not ready, and confirms nothing that it shows."""
    await w.until(lambda: w.gateway.not_ready() == not_ready("asterisk"))
    await w.until(lambda: not session.call.confirmed)


async def is_back(w: Whole, name: str) -> None:
    """Wait until the gateway is ready again, and Asterisk sends it calls."""
    watch = Stopwatch()
    await w.until(lambda: not w.gateway.not_ready(), 30)
    watch.note(f"Asterisk booted, to a ready gateway: {name}")
    await w.switch.cli_until("pjsip show contacts", " Avail ")


@asynccontextmanager
async def observed(w: Whole) -> AsyncIterator[None]:
    """A new connection for the observer: a server that has been away has closed the old one."""
    secret = w.switch.secrets["consent-gateway"]
    async with logged_in(w.switch.ami_port, "consent-gateway", secret) as w.observer:
        yield


async def lit(w: Whole, beside: int = 0) -> tuple[Call, Call, PbxSession]:
    """A recorded call, *beside* others, whose lamp is lit: Asterisk keeps that in its database."""
    caller = speaking(await w.outside.call(w.switch.sip, from_number="+4915550100"), PERSON)
    await w.until(lambda: len(w.gateway.switchboard.sessions) > beside)
    session = await w.session()
    await w.asked(session)
    await w.observer.set_variable(session.channel.channel, "CONSENT_LAMP", "desk")
    await caller.send_digit("1", 80)
    agent = await w.agent_answers()
    await w.connected(caller, agent)
    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
    await lamp(w, "INUSE")
    return caller, agent, session


async def lamp(w: Whole, state: str) -> None:
    """Wait until the lamp shows *state*."""

    async def shows() -> bool:
        return (await w.observer.action("Getvar", Variable=LAMP))["Value"] == state

    await w.until(shows)


def path_of(w: Whole, session: PbxSession) -> Path:
    """The file of a call's recording."""
    (path,) = [path for path in w.switch.recordings() if session.call_id in path.name]
    return path


def left_in(path: Path) -> set[frozenset[Voice]]:
    """Who is heard at the same time in a recording that nobody finished: its header tells nothing."""
    data = path.read_bytes()[44:]
    return voices(np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16))


def is_kept_out(voice: Voice, kept: set[frozenset[Voice]]) -> bool:
    return not any(voice in together for together in kept)


def agrees(entries: Entries, path: Path) -> None:
    """The evidence names the file as it is."""
    (closed,) = entries["recording.closed"]
    data = path.read_bytes()
    assert (closed["sha256"], closed["size"]) == (hashlib.sha256(data).hexdigest(), len(data))


def left_by(entries: Entries) -> object:
    """How the asked person's channel ended, which it did once."""
    (ended,) = [entry for entry in entries["leg.ended"] if entry["leg"] == "channel"]
    return ended["by"]


async def the_next_call_is_recorded(w: Whole) -> None:
    """And nothing of the ones before lingers."""
    assert not w.gateway.switchboard.sessions
    async with observed(w):
        caller, agent, session = await recorded(w)
        await asyncio.sleep(0.3)
        await caller.hang_up()
        await agent.ended(10)
        entries = await w.over(session)
        await w.switch.cli_until("core show channels count", "0 active channels")
        assert {PERSON, AGENT} in heard(path_of(w, session))
        agrees(entries, path_of(w, session))
        assert not w.gateway.switchboard.sessions


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["own", "asterisk-ami"])
async def test_killed_in_a_recorded_call(tmp_path: Path, client: Literal["own", "asterisk-ami"]) -> None:
    """The file is what was on the disk, and the evidence says that nobody finished it."""
    async with whole(tmp_path, client=client, judged=False) as w:
        _, _, session = await lit(w)
        await w.until(lambda: path_of(w, session).stat().st_size > 1_000)
        await w.switch.kill()
        await is_away(w, session)
        shown = w.gateway.switchboard.view(session)["recorder"]
        assert isinstance(shown, dict) and (shown["observed"], shown["confirmed"]) == ("on", False)
        await w.until(lambda: alarms(w) == ["recorder_out_of_sight"])
        assert not session.over.is_set(), "nobody knows yet what became of it"
        await w.switch.start()
        await is_back(w, "killed")
        entries = await w.over(session)
        assert left_by(entries) == "lost" and entries["call.ended"][0]["cause"] == "caller lost"
        assert [entry["clear"] for entry in entries["recorder.sight"]] == [False]
        (closed,) = entries["recording.closed"]
        assert (closed["frames"], closed["checked"]) == (0, "read in the PBX's spool, which never finished it")
        agrees(entries, path_of(w, session))
        assert {PERSON, AGENT} in left_in(path_of(w, session))
        async with observed(w):
            await lamp(w, "NOT_INUSE")
        await the_next_call_is_recorded(w)


async def test_killed_in_the_prompt(tmp_path: Path) -> None:
    async with whole(tmp_path, judged=False) as w:
        _, session = await w.call()
        await w.asked(session)
        await w.switch.kill()
        await is_away(w, session)
        await w.switch.start()
        await is_back(w, "killed in the prompt")
        entries = await w.over(session)
        assert [entry["verdict"] for entry in entries["verdict"]] == ["unanswered"]
        assert left_by(entries) == "lost"
        assert not entries.keys() & {"recorder.command", "recording.closed"}
        assert w.switch.recordings() == []
        await the_next_call_is_recorded(w)


async def test_killed_in_a_pause(tmp_path: Path) -> None:
    """What was paused is shown as paused and not confirmed, and nothing of the pause is on the disk."""
    async with whole(tmp_path, judged=False) as w:
        caller, agent, session = await recorded(w)
        await asyncio.sleep(BLOCK_S)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        speaking(caller, SECRET)
        await agent.until(lambda: hears(agent, SECRET), 5)
        await asyncio.sleep(BLOCK_S)
        await w.switch.kill()
        await is_away(w, session)
        assert session.call.recorder.observed == "paused"
        await w.switch.start()
        await is_back(w, "killed in a pause")
        entries = await w.over(session)
        assert [entry["state"] for entry in entries["recorder.observed"]][:1] == ["on"]
        assert {entry["state"] for entry in entries["recorder.observed"][1:]} == {"paused"}
        assert left_by(entries) == "lost"
        kept = left_in(path_of(w, session))
        assert {PERSON, AGENT} in kept and is_kept_out(SECRET, kept)
        agrees(entries, path_of(w, session))
        await the_next_call_is_recorded(w)


async def test_a_gateway_that_stops_while_asterisk_is_away_leaves_its_evidence_whole(tmp_path: Path) -> None:
    async with whole(tmp_path, judged=False) as w:
        _, _, session = await recorded(w)
        await w.switch.kill()
        await is_away(w, session)
        watch = Stopwatch()
        await w.gateways.aclose()
        watch.note("the gateway stops while Asterisk is away")
        kinds = (await verify_all(tmp_path))[session.call_id]
        assert kinds[-1] == "call.ended" and "recording.closed" in kinds
        await w.switch.start()
        await w.start_gateway()
        await the_next_call_is_recorded(w)


# --- restarted -------------------------------------------------------------------------------------------------------


async def test_restarted_at_once_in_a_recorded_call(tmp_path: Path) -> None:
    """Asterisk ends the calls first, so the recording is whole."""
    async with whole(tmp_path) as w:
        caller, _, session = await lit(w)
        await asyncio.sleep(0.5)
        async with w.switch.restarting("now"):
            await caller.ended(10)
        await is_back(w, "core restart now")
        entries = await w.over(session)
        assert entries["recording.closed"][0]["failed"] == ""
        agrees(entries, path_of(w, session))
        assert {PERSON, AGENT} in heard(path_of(w, session))
        async with observed(w):
            await lamp(w, "NOT_INUSE")
        await the_next_call_is_recorded(w)


async def test_restarted_gracefully_in_a_recorded_call(tmp_path: Path) -> None:
    """Asterisk takes no action from then on, and records on until the call ends. Nothing unseen is called seen: no
    pause, and no end of the recording before there is one."""
    async with whole(tmp_path) as w:
        caller, agent, session = await lit(w)
        async with w.switch.restarting("gracefully"):
            await w.switch.cli_until("core show channels count", "cannot be run during shutdown")
            outcome = await w.gateway.switchboard.pause(session.call_id, actor="agent:x", reason="agent_key")
            assert outcome.accepted and not outcome.observed
            assert alarms(w) == ["recorder_unobserved"]
            await is_away(w, session)
            size = path_of(w, session).stat().st_size
            await w.until(lambda: path_of(w, session).stat().st_size > size)
            assert session.call.recorder.observed == "on" and not session.over.is_set()
            await w.connected(caller, agent)
            await caller.hang_up()
        await is_back(w, "core restart gracefully")
        entries = await w.over(session)
        assert left_by(entries) == "lost"
        assert [entry["state"] for entry in entries["recorder.observed"]] == ["on"]
        agrees(entries, path_of(w, session))
        async with observed(w):
            await lamp(w, "NOT_INUSE")
        await the_next_call_is_recorded(w)


async def test_restarted_when_convenient_in_a_recorded_call(tmp_path: Path) -> None:
    """The restart to ask for: Asterisk does as it is told until the last call has ended."""
    async with whole(tmp_path) as w:
        caller, agent, session = await lit(w)
        async with w.switch.restarting("when convenient"):
            await the_pause_works(w, agent, session)
            assert not w.gateway.not_ready() and session.call.confirmed
            await caller.hang_up()
            entries = await w.over(session)
        assert left_by(entries) == "remote" and "recorder.sight" not in entries
        agrees(entries, path_of(w, session))
        await is_back(w, "core restart when convenient")
        await the_next_call_is_recorded(w)


# --- the manager interface alone -------------------------------------------------------------------------------------


async def test_the_manager_interface_is_reloaded_in_a_recorded_call(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await w.switch.cli("manager reload")
        await the_pause_works(w, agent, session)
        await caller.hang_up()
        entries = await w.over(session)
        assert "recorder.sight" not in entries, "a reload costs nobody his connection"
        assert left_by(entries) == "remote"
        await the_next_call_is_recorded(w)


async def test_the_manager_interface_is_turned_off_and_on_in_a_recorded_call(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        w.wire.cut()
        set_manager(w, "no")
        await w.switch.cli("manager reload")
        w.wire.mend()
        await is_away(w, session)
        await w.connected(caller, agent)
        set_manager(w, "yes")
        await w.switch.cli("manager reload")
        await is_back(w, "manager interface off and on")
        await w.until(lambda: session.call.confirmed)
        await the_pause_works(w, agent, session)
        await caller.hang_up()
        entries = await w.over(session)
        assert [entry["clear"] for entry in entries["recorder.sight"]] == [False, True]
        assert left_by(entries) == "remote" and len(entries["recording.closed"]) == 1
        agrees(entries, path_of(w, session))
        await the_next_call_is_recorded(w)


async def test_a_call_that_ends_while_the_manager_interface_is_away(tmp_path: Path) -> None:
    """The recording is whole; how the call ended nobody saw."""
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        w.wire.cut()
        await is_away(w, session)
        await caller.hang_up()
        await agent.ended(10)
        await w.switch.cli_until("core show channels count", "0 active channels")
        assert not session.over.is_set()
        w.wire.mend()
        await is_back(w, "the connection was cut")
        entries = await w.over(session)
        assert left_by(entries) == "lost"
        agrees(entries, path_of(w, session))
        assert {PERSON, AGENT} in heard(path_of(w, session))
        await the_next_call_is_recorded(w)


async def the_pause_works(w: Whole, agent: Call, session: PbxSession) -> None:
    """And the recorder is the one that it was."""
    for keys, state in (("*71", "paused"), ("*72", "on")):
        await press(agent, keys)
        assert await session.wait_for(lambda state=state: session.call.recorder.observed == state, 5_000)
    assert await w.records(session, session.call_id)


def set_manager(w: Whole, enabled: Literal["yes", "no"]) -> None:
    """Turn the manager interface on or off, for the next reload."""
    file = w.switch.folder / "etc" / "manager.conf"
    old = file.read_text()
    new = re.sub(r"(?m)^enabled = .*$", f"enabled = {enabled}", old)
    assert new != old
    file.write_text(new)


# --- one of several --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Whole, Whole]]:
    """Two PBXes on one machine, told apart by their ports, each with phones of its own, and one gateway."""
    async with (
        whole(folder, judged=False) as one,
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
        asterisk.running(
            gateway=one.settings.sip.bind, agent=agent.address, trunk=outside.address, edits=SITE, modules=MODULES
        ) as switch,
        logged_in(switch.ami_port, "consent-gateway", switch.secrets["consent-gateway"]) as observer,
        wire(switch.ami_port) as cable,
    ):
        await one.gateways.aclose()
        (section,) = one.settings.asterisk
        another = section.model_copy(
            update={
                "name": "another",
                "ami": f"127.0.0.1:{cable.port}",
                "secret": switch.secrets["consent-gateway"],
                "source": f"127.0.0.1:{switch.sip_port}",
                "spool": switch.spool / "monitor",
            }
        )
        one.settings = one.settings.model_copy(update={"asterisk": (section, another)})
        await one.start_gateway()
        await switch.cli_until("pjsip show contacts", " Avail ")
        other = dataclasses.replace(
            one, switch=switch, agent=agent, outside=outside, observer=observer, wire=cable, settings=one.settings
        )
        other.gateway, other.journal = one.gateway, one.journal
        yield one, other


async def test_one_of_two_servers_is_killed_and_the_others_call_goes_on(tmp_path: Path) -> None:
    """With its recorder, its pause and its end; and the killed one's call is over when its server is back."""
    async with two(tmp_path) as (one, other):
        _, _, lost = await lit(one)
        caller, agent, session = await lit(other, beside=1)
        assert (lost.channel.server, session.channel.server) == ("asterisk", "another")
        await one.switch.kill()
        await other.until(lambda: other.gateway.not_ready() == not_ready("asterisk"))
        await other.until(lambda: not lost.call.confirmed)
        assert session.call.confirmed
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        speaking(caller, SECRET)
        await agent.until(lambda: hears(agent, SECRET), 5)
        await asyncio.sleep(0.5)
        speaking(caller, PERSON)
        await agent.until(lambda: hears(agent, PERSON), 5)
        await asyncio.sleep(0.3)
        await press(agent, "*72")
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await other.connected(caller, agent)
        await caller.hang_up()
        entries = await other.over(session)
        assert left_by(entries) == "remote" and "recorder.sight" not in entries
        agrees(entries, path_of(other, session))
        kept = heard(path_of(other, session))
        assert {PERSON, AGENT} in kept and is_kept_out(SECRET, kept)
        assert not lost.over.is_set()
        await one.switch.start()
        await is_back(one, "one of two killed")
        assert left_by(await one.over(lost)) == "lost"
        assert path_of(one, lost).exists() and len(other.switch.recordings()) == 1
        await the_next_call_is_recorded(one)
        await the_next_call_is_recorded(other)
