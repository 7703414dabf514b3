"""What a client of the manager interface promises, on a real Asterisk: our own client and the one of `asterisk-ami`.

The promises are those of `tests/contract/test_manager.py`. What only a scripted server can be made to do is not here;
what only a real one has, channels and bridges that are there, is here alone.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.ami_library import library_client
from gateway.ports.manager import ActionRefused, ManagerEvent, ManagerSnapshot, SentAction, Unreachable
from tests.contract.test_manager import LONG_S, MUTE, Promises, begin
from tests.support import asterisk
from tests.support.ami import Ami, logged_in
from tests.support.ami_server import SECRET, USER, ScriptedManager
from tests.support.manager_rigs import SOON, Rig, Seen, server_at
from tests.support.site import MODULES, SITE
from tests.support.wire import Wire, wire

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
NOBODY = "127.0.0.1:9"
USERS = f"""
[{USER}]
secret = {SECRET}
read = call,user,reporting
write = call,reporting,user,command
[witness]
secret = witness
read = call
write = user
"""
CLIENTS: dict[str, Callable[..., AmiClient]] = {"own": AmiClient, "asterisk-ami": library_client}


@dataclass
class AsteriskRig:
    """A client that was not started, on a connection that can be cut, and a real Asterisk."""

    client: AmiClient
    asterisk: asterisk.Asterisk
    wire: Wire
    witness: Ami

    def emit(self, name: str, *fields: tuple[str, str]) -> None:
        assert name == "UserEvent", "of all events this is the one that can be asked for"
        self.witness.say("UserEvent", *fields)

    def cut(self) -> None:
        self.wire.cut()
        self.speak()
        self.wire.mend()

    async def until_sent(self, action: str, count: int = 1) -> list[SentAction]:
        async with asyncio.timeout(30):
            while len(found := [one for one in sent(self.wire) if one.name == action]) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    def silence(self, action: str) -> None:
        self._signal(signal.SIGSTOP)
        while not self._stands_still():  # a signal takes its time, and what comes meanwhile would be answered
            pass

    def speak(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.asterisk.process is not None
        os.kill(self.asterisk.process.pid, number)

    def _stands_still(self) -> bool:
        assert self.asterisk.process is not None
        stats = Path(f"/proc/{self.asterisk.process.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)

    def refuse(self, action: str, message: str) -> None:
        assert (action, message) == ("Hangup", "No such channel"), "what Asterisk says of nobody's channel"

    async def variable(self, name: str, value: str) -> None:
        await self.asterisk.cli(f'dialplan set global {name} "{value}"')

    async def wrong_secret(self, wrong: bool) -> None:
        file = self.asterisk.folder / "etc" / "manager.conf"
        old, new = (SECRET, "another") if wrong else ("another", SECRET)
        file.write_text(file.read_text().replace(f"secret = {old}\n", f"secret = {new}\n"))
        await self.asterisk.cli("manager reload")


def sent(cable: Wire) -> list[SentAction]:
    """Every whole action that a client has sent."""
    return [_action(block.split("\r\n")) for block in cable.sent.decode().split("\r\n\r\n")[:-1]]


def _action(lines: list[str]) -> SentAction:
    rows = [(key, value) for key, _, value in (line.partition(": ") for line in lines)]
    assert rows[0][0] == "Action"
    variables = [value for key, value in rows if key == "Variable" and "=" in value]
    fields = {key: value for key, value in rows[1:] if key != "ActionID" and value not in variables}
    return SentAction(rows[0][1], fields, dict(value.split("=", 1) for value in variables))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def switch() -> AsyncIterator[asterisk.Asterisk]:
    edits = {**SITE, "manager": lambda old: old + USERS}
    more = f"{MODULES} res_clioriginate"
    async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY, edits=edits, modules=more) as made:
        yield made


async def everybody_hangs_up(switch: asterisk.Asterisk) -> None:
    await switch.cli("channel request hangup all")
    await switch.cli_until("core show channels count", "0 active channels")


@pytest_asyncio.fixture(params=list(CLIENTS), loop_scope="module")
async def rig(request: pytest.FixtureRequest, switch: asterisk.Asterisk) -> AsyncIterator[Rig]:
    async with wire(switch.ami_port) as cable, logged_in(switch.ami_port, "witness", "witness") as witness:
        made = AsteriskRig(CLIENTS[request.param](server_at(cable.port), patience=SOON), switch, cable, witness)
        try:
            yield made
        finally:
            made.speak()
            await made.client.stop()
            await everybody_hangs_up(switch)


@pytest.fixture
def seen() -> Seen:
    return Seen()


class TestOnAsterisk(Promises):
    """The promises that any server can show."""


# --- what a real one alone can show ----------------------------------------------------------------------------------


async def a_conference(rig: AsteriskRig) -> str:
    """Let a channel be in a conference, with a recorder, and another have brought it there; return the first's name."""
    await rig.asterisk.cli("channel originate Local/room@of-the-site application Wait 60")
    await rig.asterisk.cli_until("confbridge list", "room")
    listed = (await rig.asterisk.cli("core show channels concise")).splitlines()
    (inside,) = [line.split("!")[0] for line in listed if "!ConfBridge!" in line]
    await rig.asterisk.cli(f"mixmonitor start {inside} +4930123456.wav")
    await rig.asterisk.cli_until(f"mixmonitor list {inside}", "4930123456")
    return inside


async def test_a_snapshot_has_what_is_there_and_each_connection_reads_it_anew(rig: AsteriskRig, seen: Seen) -> None:
    inside = await a_conference(rig)
    state = await begin(rig, seen)
    assert state.snapshot is not None
    by_name = {channel.name: channel for channel in state.snapshot.channels}
    there, brought = by_name.pop(inside), next(iter(by_name.values()))
    assert (there.state, there.linkedid) == ("Up", brought.linkedid) and there.uniqueid != brought.uniqueid
    assert there.mixmonitors is not None and brought.mixmonitors == () and brought.bridge == ""
    assert [Path(file).stem for one in there.mixmonitors for file in one.files] == ["+4930123456"]
    (bridge,) = state.snapshot.bridges
    assert (bridge.id, bridge.members, bridge.technology) == (there.bridge, (there.uniqueid,), "softmix")
    assert bridge.kind != "basic"
    assert await rig.client.snapshot(LONG_S) == state.snapshot
    shown = repr([*seen.all, rig.client])
    assert "4930" not in shown and inside not in shown
    rig.wire.cut()
    await rig.asterisk.cli(f"channel request hangup {inside}")
    await rig.asterisk.cli_until("core show channels count", "0 active channels")
    rig.wire.mend()
    await seen.until(lambda: seen.states[-1].generation == 2)
    assert seen.states[-1].snapshot == ManagerSnapshot()


def told_by(seen: Seen) -> list[ManagerEvent]:
    """Every event, those of the system itself too."""
    return [item for item in seen.all if isinstance(item, ManagerEvent)]


async def test_a_list_is_collected_and_what_happens_comes_after_it(rig: AsteriskRig, seen: Seen) -> None:
    """The end of a recorded channel too, around which Asterisk sends an empty line too many."""
    await begin(rig, seen)
    inside = await a_conference(rig)
    await seen.until(lambda: "MixMonitorStart" in [event.name for event in seen.events])
    listed = await rig.client.action("CoreShowChannels", deadline_s=LONG_S)
    assert len(listed.events) == 2 and inside in [event.get("Channel") for event in listed.events]
    assert not {"CoreShowChannel", "CoreShowChannelsComplete"} & {event.name for event in seen.events}
    await rig.client.action("Hangup", {"Channel": inside}, deadline_s=LONG_S)
    await seen.until(lambda: [event.name for event in seen.events].count("Hangup") == 2)
    names = [event.name for event in seen.events if event.get("Channel") == inside]
    assert names.index("Newchannel") < names.index("MixMonitorStart") < names.index("Hangup")
    await seen.until(lambda: "MIXMONITOR_END" in [state for event in told_by(seen) for state in event.all("State")])


async def test_every_line_of_an_answer_is_there(rig: AsteriskRig, seen: Seen) -> None:
    await begin(rig, seen)
    response = await rig.client.action("Command", {"Command": "core show uptime"}, deadline_s=LONG_S)
    assert response.message == "Command output follows"
    assert [line.partition(":")[0] for line in response.all("Output") if line] == ["System uptime", "Last reload"]


async def test_what_is_refused_is_told_and_names_nobody(rig: AsteriskRig, seen: Seen) -> None:
    await begin(rig, seen)
    with pytest.raises(ActionRefused, match="MixMonitorMute was refused: ") as caught:
        await rig.client.action("MixMonitorMute", MUTE, deadline_s=LONG_S)
    assert "alice" not in str(caught.value) + repr(caught.value)
    assert not caught.value.is_shutdown


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_class_that_is_missing_is_named_and_unknown_is_not_none(
    switch: asterisk.Asterisk, seen: Seen, client: str
) -> None:
    """The shipped user has no class `command`: nothing is known of recorders then."""
    user = "consent-gateway"
    made = CLIENTS[client](server_at(switch.ami_port, user=user, secret=switch.secrets[user]), patience=SOON)
    await made.start(seen.take, seen.take)
    try:
        await made.connected(LONG_S)
        with pytest.raises(ActionRefused, match=r"Permission denied; give the user the class .* manager\.conf"):
            await made.action("Command", {"Command": "core show uptime"}, deadline_s=LONG_S)
        await switch.cli("channel originate Local/room@of-the-site application Wait 60")
        await switch.cli_until("core show channels count", "2 active channels")
        assert {channel.mixmonitors for channel in (await made.snapshot(LONG_S)).channels} == {None}
    finally:
        await made.stop()
        await everybody_hangs_up(switch)


async def test_a_server_that_restarts_is_out_of_reach_and_then_another_generation(rig: AsteriskRig, seen: Seen) -> None:
    """It answers for a while that it is shutting down: that is no refusal of the login."""
    await begin(rig, seen)
    async with rig.asterisk.restarting("now"):
        await seen.until(lambda: len(seen.states) > 1)
    await seen.until(lambda: seen.states[-1].connected)
    first, *lost, last = seen.states
    assert (first.generation, last.generation) == (1, 2)
    assert lost and {type(state.problem) for state in lost} == {Unreachable}


# --- the scripted server ---------------------------------------------------------------------------------------------

REFUSED = (("Ping", {}), ("Challenge", {"AuthType": "MD5"}), ("Login", {"Username": USER, "Secret": "wrong"}))
SERVED = (
    ("Login", {"Username": USER, "Secret": SECRET}),
    ("Ping", {}),
    ("CoreStatus", {}),
    ("CoreShowChannels", {}),
    ("Status", {}),
    ("BridgeList", {}),
    ("Getvar", {}),
    ("Getvar", {"Variable": "CONSENT_NOT_THERE"}),
    ("ModuleLoad", {"Module": "chan_pjsip.so", "LoadType": "reload"}),
    ("Command", {"Command": "mixmonitor list PJSIP/nobody-00000001"}),
    ("Logoff", {}),
)
"""What a server without calls is asked on one connection, which it closes then."""


@pytest.mark.parametrize("questions", [REFUSED, SERVED], ids=["refused", "served"])
async def test_the_scripted_server_answers_as_asterisk_does(
    switch: asterisk.Asterisk, questions: Sequence[tuple[str, dict[str, str]]]
) -> None:
    scripted = ScriptedManager(tells_boot=False)
    await scripted.start()
    try:
        assert await said(scripted.port, questions) == await said(switch.ami_port, questions)
    finally:
        await scripted.stop()


async def said(port: int, questions: Sequence[tuple[str, dict[str, str]]]) -> list[str]:
    """Everything a server sends, line by line, up to the end of the connection, which is its to close. Of what is never
    twice the same, the name only."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, (name, fields) in enumerate(questions):
        rows = {"Action": name, "ActionID": str(number), **fields}
        writer.write("".join(f"{key}: {value}\r\n" for key, value in rows.items()).encode() + b"\r\n")
    async with asyncio.timeout(15):
        lines = (await reader.read()).decode().split("\r\n")
    writer.close()
    return [re.sub(r"^(Challenge|Timestamp|Core\w+): .*", r"\1", line) for line in lines]
