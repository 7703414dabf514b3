"""Who else is on the call: transfers, conferences, parking, queues. What an uncovered party says is in no file."""

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.softphone import Call
from gateway.app.pbx_session import PbxSession
from gateway.domain import commands as do
from tests.pbx.scene import hears, silent, speaking
from tests.pbx.test_gateway import agents_channel, press, recorded
from tests.pbx.whole import Whole, whole
from tests.support.mixed import AGENT, PERSON, STRANGER

pytestmark = pytest.mark.slow


def strangers(session: PbxSession) -> list[str]:
    """The holds that uncovered parties set."""
    return [name for name in session.call.holds if name.startswith("uncovered_party:")]


async def calls_in(w: Whole, number: str) -> Call:
    """A stranger calls a number of the site that has no gate."""
    call = await w.outside.call(f"sip:{number}@127.0.0.1:{w.switch.sip_port}", from_number="+4915550199")
    return speaking(call, STRANGER)


async def paused_for_a_stranger(session: PbxSession) -> None:
    assert await session.wait_for(lambda: bool(strangers(session)), 5_000)
    assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)


async def recorded_again(session: PbxSession) -> None:
    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
    assert not session.call.holds


async def name_of(w: Whole, channel: str) -> str:
    return await w.observer.variable(channel, "CHANNEL(name)")


async def given_to_a_stranger(w: Whole, session: PbxSession) -> Call:
    """The agent gives the recorded person to a stranger, who answers as soon as the recorder waits."""
    await w.until(lambda: len(session.lines) == 1)
    name = await w.observer.variable(agents_channel(session), "CHANNEL(name)")
    await w.observer.action("BlindTransfer", Channel=name, Context="of-the-site", Exten="stranger")
    stranger = speaking(await w.outside.incoming(15), STRANGER)
    assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
    await stranger.accept()
    return stranger


async def in_a_room(w: Whole) -> tuple[Call, Call, PbxSession]:
    """A recorded caller and his agent, both taken into a conference."""
    caller, agent, session = await recorded(w)
    await w.until(lambda: len(session.lines) == 1)
    names = [await name_of(w, channel) for channel in (session.channel.channel, agents_channel(session))]
    await w.observer.action(
        "Redirect",
        **{"Channel": names[0], "Context": "of-the-site", "Exten": "room", "Priority": "1"},
        **{"ExtraChannel": names[1], "ExtraContext": "of-the-site", "ExtraExten": "room", "ExtraPriority": "1"},
    )
    await w.connected(caller, agent)
    return caller, agent, session


async def second_in_the_room(w: Whole) -> tuple[Call, PbxSession]:
    """Another caller, who is asked before he comes into the conference of `in_a_room`, and is being asked."""
    number = len(w.gateway.switchboard.sessions)
    second, _ = await w.call(f"sip:7800@127.0.0.1:{w.switch.sip_port}")
    await w.until(lambda: len(w.gateway.switchboard.sessions) == number + 1)
    session = await w.session()
    await w.asked(session)
    silent(second)
    return second, session


async def two_in_a_room(w: Whole) -> tuple[Call, Call, Call, PbxSession, PbxSession]:
    """Two recorded callers and an agent in a conference, all silent: first caller, second, agent, and the calls."""
    caller, agent, session = await in_a_room(w)
    second, other = await second_in_the_room(w)
    for call in (caller, agent):
        silent(call)
    await second.send_digit("1", 80)
    assert await other.wait_for(lambda: other.call.recorder.observed == "on", 10_000)
    return caller, second, agent, session, other


async def test_a_stranger_the_call_is_transferred_to_is_never_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path, joining='what = "keep_out"') as w:
        caller, _, session = await recorded(w)
        stranger = await given_to_a_stranger(w, session)
        await caller.until(lambda: hears(caller, STRANGER), 10)
        assert any(name.startswith("uncovered_party:") for name in session.call.holds)
        await asyncio.sleep(1)
        await stranger.hang_up()
        await caller.ended(10)
        entries = await w.over(session)
        assert {e["covered"] for e in entries["party.joined"]} == {True, False}


async def test_a_colleague_the_call_is_transferred_to_is_recorded_on(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        await w.until(lambda: len(session.lines) == 1)
        name = await w.observer.variable(agents_channel(session), "CHANNEL(name)")
        await w.observer.action("BlindTransfer", Channel=name, Context="of-the-site", Exten="colleague")
        colleague = await w.agent_answers()
        await w.connected(caller, colleague)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert not session.call.holds
        await press(colleague, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await caller.hang_up()
        await w.over(session)


async def test_asterisk_leaves_out_who_counts_from_lower_numbers(tmp_path: Path) -> None:
    """Debian's Asterisk 22.10 (2016_opus_plc.patch): MixMonitor's translator compares RTP sequence numbers of different
    streams, takes a second agent's packets for late and drops them. The day this fails, the package is better."""
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        await w.until(lambda: len(session.lines) == 1)
        name = await w.observer.variable(agents_channel(session), "CHANNEL(name)")
        await w.observer.action("BlindTransfer", Channel=name, Context="of-the-site", Exten="colleague")
        colleague = speaking(await w.agent.incoming(15), AGENT)
        colleague.stream._sequence = 0
        await colleague.accept()
        await w.connected(caller, colleague)
        await asyncio.sleep(1)
        await caller.hang_up()
        await w.over(session)
        with pytest.raises(AssertionError, match=r" 0 leaked, [1-9]\d* of \d+ lost, 0 wrong\nlost: agent "):
            await w.judged()
        w.to_judge = False


async def test_a_stranger_in_an_attended_transfer_is_never_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w, f"sip:7600@127.0.0.1:{w.switch.sip_port}")
        await press(agent, "*2")
        await asyncio.sleep(0.5)
        await press(agent, "75")
        stranger = speaking(await w.outside.incoming(15), STRANGER)
        await paused_for_a_stranger(session)
        await stranger.accept()
        await agent.until(lambda: hears(agent, STRANGER), 10)
        await asyncio.sleep(0.5)  # nobody lets go sooner; Asterisk 22.10 crashed once when he did (NULL bridge channel)
        await agent.hang_up()
        await caller.until(lambda: hears(caller, STRANGER) and hears(stranger, PERSON), 10)
        await asyncio.sleep(1)
        assert strangers(session) and session.call.recorder.observed == "paused"
        await caller.hang_up()
        await w.over(session)


async def test_a_stranger_who_is_bridged_in_from_another_call_is_not_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        stranger = await calls_in(w, "7400")
        await stranger.answered(10)
        channels = (await w.switch.cli("core show channels concise")).splitlines()
        waiting = next(line.split("!")[0] for line in channels if "!Wait!" in line)
        asked = await name_of(w, session.channel.channel)
        await w.observer.action("Bridge", Channel1=asked, Channel2=waiting)
        await paused_for_a_stranger(session)
        await caller.until(lambda: hears(caller, STRANGER), 10)
        await asyncio.sleep(1)
        await caller.hang_up()
        await stranger.hang_up()
        await w.over(session)


async def test_a_conference_pauses_while_a_stranger_is_in_it(tmp_path: Path) -> None:
    async with whole(tmp_path, joining='what = "keep_out"') as w:
        caller, agent, session = await in_a_room(w)
        assert not strangers(session)
        stranger = await calls_in(w, "7200")
        await paused_for_a_stranger(session)
        await asyncio.sleep(1)
        await stranger.hang_up()
        await recorded_again(session)
        await caller.hang_up()
        await agent.hang_up()
        await w.over(session)


async def test_an_agents_hotkey_pauses_every_recorder_of_a_conference(tmp_path: Path) -> None:
    """Two callers who were asked, each with a recorder, and their agent."""
    async with whole(tmp_path) as w:
        caller, second, agent, session, other = await two_in_a_room(w)
        speaking(caller, PERSON)
        await w.until(lambda: len(other.lines) == 1)
        await recorded_again(session)
        async with w.agents_api() as api:
            for verb, state in (("pause", "paused"), ("resume", "on")):
                answer = (await api.post(f"/v1/me/{verb}")).json()
                assert answer["observed"] and answer["recorder"] == state
                assert session.call.recorder.observed == other.call.recorder.observed == state
                await asyncio.sleep(0.5)
        for call in (caller, second, agent):
            await call.hang_up()
        await w.over(session)
        await w.over(other)


async def test_a_conferences_own_recorder_is_told(tmp_path: Path) -> None:
    """Asterisk lets only a user with class `system` stop it, and ours has none."""
    async with whole(tmp_path) as w:
        caller, agent, session = await in_a_room(w)
        async with w.rogue() as rogue:
            w.rogues["rogue-room-"] = False
            await rogue.action("ConfbridgeStartRecord", Conference="room", RecordFile="rogue-room.wav")
            alarms = w.journal
            await w.until(lambda: any(isinstance(what, do.RaiseAlarm) for _, _, what in alarms.entries))
        await caller.hang_up()
        await agent.hang_up()
        entries = await w.over(session)
        assert entries["recorder.unexpected"]


async def test_a_parked_call_that_a_stranger_picks_up_is_not_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        await w.observer.action("Park", Channel=await name_of(w, session.channel.channel), Parkinglot="default")
        await w.until(lambda: not session.lines)
        await calls_in(w, "7300")
        await paused_for_a_stranger(session)
        await caller.until(lambda: hears(caller, STRANGER), 10)
        await asyncio.sleep(1)
        await caller.hang_up()
        await w.over(session)


async def test_a_queue_with_local_channels_is_as_good_as_a_dial(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w, f"sip:7000@127.0.0.1:{w.switch.sip_port}")
        await w.until(lambda: len(session.lines) == 1)
        assert session.agent == "agent" and not strangers(session)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await asyncio.sleep(0.6)
        await press(agent, "*72")
        await recorded_again(session)
        await caller.hang_up()
        await w.over(session)


async def test_a_strangers_keys_are_not_an_agents(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await w.until(lambda: len(session.lines) == 1)
        name = await name_of(w, agents_channel(session))
        await w.observer.action("BlindTransfer", Channel=name, Context="of-the-site", Exten="stranger")
        stranger = speaking(await w.outside.incoming(15), STRANGER)
        await stranger.accept()
        await caller.until(lambda: hears(caller, STRANGER), 10)
        await press(stranger, "*72")
        await asyncio.sleep(0.5)
        assert "agent_key" in session.call.holds
        await caller.hang_up()
        await w.over(session)
