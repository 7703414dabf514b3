"""Recorders that a site starts by itself, on the real Asterisk: a queue's, a conference's."""

from pathlib import Path

import pytest

from gateway.app.pbx_session import PbxSession
from gateway.domain import commands as do
from tests.pbx.test_gateway import recorded
from tests.pbx.test_parties import in_a_room
from tests.pbx.whole import Whole, whole

pytestmark = pytest.mark.slow


def alarms(w: Whole) -> list[str]:
    return [what.alarm for _, _, what in w.journal.entries if isinstance(what, do.RaiseAlarm)]


def queue_of(w: Whole) -> str:
    return f"sip:7100@127.0.0.1:{w.switch.sip_port}"


async def only_ours_runs(w: Whole, session: PbxSession) -> None:
    await w.until(lambda: "recorder_unexpected" in alarms(w))
    await w.until(lambda: w.records(session, session.call_id))


async def test_a_queues_own_recorder_is_stopped_and_ours_goes_on(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w, queue_of(w))
        w.rogues[session.channel.channel] = True
        await only_ours_runs(w, session)
        assert session.call.recorder.observed == "on"
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["recorder.unexpected"] and entries["recording.closed"][0]["failed"] == ""


async def test_a_queue_records_nobody_who_said_no(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call(queue_of(w))
        w.rogues[session.channel.channel] = True
        await w.asked(session)
        await caller.send_digit("2", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        await w.until(lambda: "recorder_unexpected" in alarms(w))
        await w.until(lambda: w.records(session))
        await caller.hang_up()
        await w.over(session)


async def test_a_conferences_recorder_is_stopped_by_the_user_who_may(tmp_path: Path) -> None:
    """Asterisk asks for class `system`, which the opt-in user who starts recorders has."""
    async with whole(tmp_path, starts_recorders=True) as w:
        caller, agent, session = await in_a_room(w)
        w.rogues["rogue-room"] = True
        async with w.rogue() as rogue:
            await rogue.action("ConfbridgeStartRecord", Conference="room", RecordFile="rogue-room.wav")
        await w.until(lambda: "recorder_unexpected" in alarms(w))
        await w.until(lambda: any(event["Event"] == "ConfbridgeStopRecord" for event in w.observer.events))
        await caller.hang_up()
        await agent.hang_up()
        await w.over(session)
