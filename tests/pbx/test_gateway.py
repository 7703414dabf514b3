"""The whole way: a real Asterisk with the dialplan as shipped, and the gateway as shipped."""

import asyncio
import hashlib
from pathlib import Path
from typing import Literal

import pytest

from gateway.adapters.softphone import Call
from gateway.app.pbx_session import PbxSession
from gateway.domain import commands as do
from gateway.ports.registry import PbxPlace
from tests.pbx.scene import heard, speaking
from tests.pbx.whole import Whole, whole
from tests.support.cast import still_hear
from tests.support.mixed import AGENT, PERSON, Voice

pytestmark = pytest.mark.slow


async def recorded(w: Whole, to: str = "") -> tuple[Call, Call, PbxSession]:
    """A caller who said yes, talking to the agent, and the recorder seen running."""
    caller, session = await w.call(to)
    await w.asked(session)
    await caller.send_digit("1", 80)
    agent = await w.agent_answers()
    await w.connected(caller, agent)
    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
    return caller, agent, session


async def press(call: Call, keys: str) -> None:
    for key in keys:
        await call.send_digit(key, 80)
        await asyncio.sleep(0.12)


def agents_channel(session: PbxSession) -> str:
    """The channel of the one covered party who is connected."""
    (party,) = session.lines
    return party


async def test_a_gate_that_runs_on_a_local_channel_asks_and_records_who_is_behind_it(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w, f"sip:7900@127.0.0.1:{w.switch.sip_port}")
        assert (await w.variable(session, "CHANNEL(name)")).startswith("Local/")
        await asyncio.sleep(1)
        assert session.call.recorder.observed == "on" and not session.call.holds
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await caller.hang_up()
        await agent.ended(5)
        await w.over(session)


async def kept(w: Whole) -> set[frozenset[Voice]]:
    """Who is heard together in the one recording, once all channels are gone."""
    await w.switch.cli_until("core show channels count", "0 active channels")
    (path,) = w.switch.recordings()
    return heard(path)


async def test_a_yes_is_recorded_from_the_verdict_on_and_the_evidence_says_so(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert await w.variable(session, "CONSENT_VERDICT") == "granted"
        assert await w.variable(session, "CONSENT_CALL_ID") == session.call_id
        registry = w.gateway.services.registry
        await asyncio.sleep(1)
        (file,) = w.switch.recordings()
        (record,) = await registry.recordings(session.call_id)
        assert (record.state, record.kept_by) == ("open", PbxPlace("asterisk", str(file)))
        await caller.hang_up()
        entries = await w.over(session)
        assert {PERSON, AGENT} in await kept(w)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == ["granted"]
        (closed,) = entries["recording.closed"]
        assert closed["failed"] == "" and closed["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert closed["file"] == file.name
        (record,) = await registry.recordings(session.call_id)
        assert (record.state, record.sha256, record.size) == ("closed", closed["sha256"], file.stat().st_size)


@pytest.mark.parametrize(
    ("keys", "verdict"), [("2", "refused"), ("", "unanswered"), ("7", "unclear")], ids=["no", "silence", "wrong key"]
)
async def test_without_a_yes_the_agent_is_connected_and_nothing_is_recorded(
    tmp_path: Path, keys: str, verdict: str
) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        while keys and session.call.phase == "asking":
            await caller.send_digit(keys, 80)
            await asyncio.sleep(0.4)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await w.variable(session, "CONSENT_VERDICT") == verdict
        assert session.call.verdict == verdict and session.call.recorder.observed == "off"
        await agent.hang_up()
        entries = await w.over(session)
        assert "recorder.command" not in entries
        assert w.switch.recordings() == []


LIA = 'basis = "legitimate_interests"\njustification = "LIA 7 of 2026"'


async def test_who_is_told_and_not_asked_is_recorded_after_that(tmp_path: Path) -> None:
    async with whole(tmp_path, top=LIA) as w:
        caller, session = await w.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 10_000)
        assert w.switch.recordings() == []
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert await w.variable(session, "CONSENT_VERDICT") == "not_required"
        assert await w.variable(session, "CONSENT_BASIS") == "legitimate_interests"
        await asyncio.sleep(1)
        await caller.hang_up()
        entries = await w.over(session)
        assert {PERSON, AGENT} in await kept(w)
        (played,) = entries["prompt.played"]
        assert played["prompt"] == "announced_may_object" and played["completed"]


async def test_who_objects_while_he_is_told_is_connected_and_not_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path, top=LIA, lengths_ms={"announced_may_object": 2_000}) as w:
        caller, session = await w.call()
        assert await session.wait_for(lambda: session.call.parties["caller"].state == "announcing", 10_000)
        await press(caller, "*9")
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert session.call.verdict == "withdrawn"
        await caller.hang_up()
        entries = await w.over(session)
        assert "recorder.command" not in entries and w.switch.recordings() == []


PLACES = (
    'home = "US-TX"\narea_codes = "trust"\n'
    '[jurisdiction.lines]\nsupport = "US-NY"\n[jurisdiction.trunks]\n"dallas*" = "US-TX"'
)


@pytest.mark.parametrize(
    ("number", "need", "places"),
    [("7610", "all_party", ["US", "US-CA", "US-TX"]), ("7620", "one_party", ["US", "US-NY", "US-TX"])],
    ids=["the dialplan names a place", "line and trunk have places"],
)
async def test_whose_law_a_call_is_under_decides_whether_he_is_asked(
    tmp_path: Path, number: str, need: str, places: list[str]
) -> None:
    """The same policy, which would only tell: asked where everybody must agree, told where one side may record."""
    async with whole(tmp_path, top=LIA, jurisdiction=PLACES) as w:
        caller, session = await w.call(f"sip:{number}@127.0.0.1:{w.switch.sip_port}")
        state = "asking" if need == "all_party" else "announcing"
        assert await session.wait_for(lambda: session.call.parties["caller"].state == state, 10_000)
        await asyncio.sleep(0.4)
        if need == "all_party":
            await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert session.call.verdict == ("granted" if need == "all_party" else "not_required")
        assert await w.variable(session, "CONSENT_BASIS") == (
            "consent" if need == "all_party" else "legitimate_interests"
        )
        await asyncio.sleep(0.5)
        await caller.hang_up()
        (arrived,) = (await w.over(session))["call.arrived"]
        law = arrived["jurisdiction"]
        assert law["requirement"] == need and sorted({f["place"] for f in law["findings"]}) == places


async def test_an_early_yes_does_not_count(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await session.wait_for(lambda: session.call.phase == "asking", 10_000)
        await caller.send_digit("1", 60)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert session.call.verdict == "unanswered"
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["answer.digit"][0]["counted"] is False
        assert w.switch.recordings() == []


async def test_who_hangs_up_while_being_asked_is_never_recorded_and_rings_nobody(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.hang_up()
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"]] == ["unanswered"]
        assert w.switch.recordings() == []


@pytest.mark.parametrize("client", ["own", "asterisk-ami"])
async def test_the_agent_pauses_by_key_and_nothing_of_the_pause_is_in_the_file(
    tmp_path: Path, client: Literal["own", "asterisk-ami"]
) -> None:
    async with whole(tmp_path, client=client) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await asyncio.sleep(0.5)
        for key in "*71":
            await agent.send_digit(key, 80)
            await asyncio.sleep(0.15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await asyncio.sleep(1)
        for key in "*72":
            await agent.send_digit(key, 80)
            await asyncio.sleep(0.15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        entries = await w.over(session)
        assert {PERSON, AGENT} in await kept(w)
        assert [e["state"] for e in entries["recorder.observed"]] == ["on", "paused", "on"]
        assert entries["hold.set"][0]["actor"] == "agent"


async def test_a_desk_phones_record_key_pauses_and_resumes(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        for record, state in (("off", "paused"), ("on", "on"), ("off", "paused")):
            assert await agent.send_info("application/x-none", b"", (("Record", record),)) == 200
            assert await session.wait_for(lambda state=state: session.call.recorder.observed == state, 5_000)
        await press(caller, "*9")
        assert await session.wait_for(lambda: session.call.recorder.stage == "idle", 5_000)
        await agent.send_info("application/x-none", b"", (("Record", "on"),))
        await asyncio.sleep(0.5)
        assert session.call.recorder.observed == "off" and session.call.verdict == "withdrawn"
        await caller.hang_up()
        await w.over(session)


@pytest.mark.parametrize("by", ["dialplan key", "gateway key", "agent's request"])
async def test_withdrawal_stops_the_recorder(tmp_path: Path, by: str) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        if by == "agent's request":
            outcome = await w.gateway.switchboard.withdraw(session.call_id, actor="agent:x")
            assert outcome.observed and outcome.code == "withdrawn"
        else:
            for key in "*90" if by == "dialplan key" else "*9":
                await caller.send_digit(key, 80)
                await asyncio.sleep(0.1)
        assert await session.wait_for(lambda: session.call.recorder.stage == "idle", 5_000)
        assert session.call.verdict == "withdrawn"
        await w.variable_becomes(session, "CONSENT_VERDICT", "withdrawn")
        size = w.switch.recordings()[0].stat().st_size
        await asyncio.sleep(2.5)
        assert w.switch.recordings()[0].stat().st_size == size
        await caller.hang_up()
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == ["granted", "withdrawn"]


async def test_a_no_becomes_a_yes_by_the_callers_own_key(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("2", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        for key in "*91":
            await caller.send_digit(key, 80)
            await asyncio.sleep(0.1)
        await w.asked(session)
        await caller.send_digit("1", 80)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 10_000)
        await w.connected(caller, agent)
        assert len(w.gateway.switchboard.sessions) == 1
        await asyncio.sleep(1)
        await caller.hang_up()
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == ["refused", "granted"]
        assert {PERSON, AGENT} in await kept(w)


async def test_who_withdrew_and_says_yes_again_has_a_recording_of_each_time(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await asyncio.sleep(0.5)
        assert (await w.gateway.switchboard.withdraw(session.call_id, actor="agent:x")).observed
        await still_hear(caller, agent)
        await press(caller, "*91")
        await w.asked(session)
        await caller.send_digit("1", 80)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 10_000)
        await w.connected(caller, agent)
        await asyncio.sleep(1)
        await caller.hang_up()
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == [
            "granted",
            "withdrawn",
            "granted",
        ]
        await w.switch.cli_until("core show channels count", "0 active channels")
        assert [{PERSON, AGENT} in heard(file) for file in w.switch.recordings()] == [True, True]


async def test_who_is_called_outside_is_asked_before_the_agent_hears_him(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        calling = await w.agent.call(f"sip:4915550100@127.0.0.1:{w.switch.sip_port}", from_number="agent")
        person = speaking(await w.outside.incoming(15), PERSON)
        await person.accept()
        session = await w.session()
        await w.asked(session)
        await person.send_digit("1", 80)
        speaking(calling, AGENT)
        await w.connected(person, calling)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert session.agent == "agent"
        for key in "*71":
            await calling.send_digit(key, 80)
            await asyncio.sleep(0.15)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await calling.hang_up()
        await person.ended(10)
        await w.over(session)


async def test_an_agent_who_hangs_up_ends_the_question_to_the_person_he_called(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        calling = await w.agent.call(f"sip:4915550100@127.0.0.1:{w.switch.sip_port}", from_number="agent")
        person = speaking(await w.outside.incoming(15), PERSON)
        await person.accept()
        session = await w.session()
        await w.asked(session)
        await calling.hang_up()
        assert await session.wait_for(lambda: session.call.phase != "asking", 1_500), "long before the question's end"
        await person.ended(5)
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == ["unanswered"]


# --- foreign recorders ------------------------------------------------------------------------------------------------


async def test_a_recorder_nobody_allowed_is_stopped_and_told(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("2", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        async with w.rogue() as rogue:
            w.rogues["rogue.wav"] = True
            await rogue.action("MixMonitor", Channel=session.channel.channel, File="rogue.wav")
            await w.until(lambda: w.records(session))
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["recorder.unexpected"]


async def test_a_rogue_beside_the_allowed_recorder_ends_and_the_allowed_one_goes_on(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        async with w.rogue() as rogue:
            w.rogues["rogue.wav"] = True
            await rogue.action("MixMonitor", Channel=session.channel.channel, File="rogue.wav")
        await w.until(lambda: w.records(session, session.call_id))
        await asyncio.sleep(0.3)
        assert session.call.recorder.observed == "on"
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["recorder.unexpected"]


# --- when a part fails -----------------------------------------------------------------------------------------------


async def test_a_gateway_that_stops_leaves_the_call_up_and_nothing_recording(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, _ = await recorded(w)
        await w.gateways.aclose()
        await still_hear(caller, agent)
        await asyncio.sleep(0.5)


async def test_a_gateway_that_comes_back_stops_what_nobody_can_pause_any_more(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await w.gateway.pbx.stop()  # as if it had died: nothing reaches Asterisk any more
        await w.gateways.aclose()
        await w.start_gateway()
        await w.until(lambda: w.records(session))
        await still_hear(caller, agent)
        await asyncio.sleep(0.5)


async def test_a_pause_outlives_the_loss_of_the_manager_connection(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        w.wire.cut()
        await w.until(lambda: not session.call.confirmed)
        assert w.gateway.switchboard.view(session)["recorder"] == {
            "desired": "paused",
            "commanded": "paused",
            "observed": "paused",
            "confirmed": False,
            "recording": session.call.recording,
        }
        again = await w.gateway.switchboard.pause(session.call_id, actor="agent:agent")
        assert (again.code, again.observed) == ("already_paused", False)
        w.wire.mend()
        await w.until(lambda: session.call.confirmed)
        await asyncio.sleep(0.5)
        await press(agent, "*72")
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await asyncio.sleep(0.3)
        await caller.hang_up()
        await w.over(session)


async def test_the_gateway_may_start_the_recorder_itself(tmp_path: Path) -> None:
    """By a second user. What the caller said to the gateway is in no file: the recorder waits for his agent."""
    async with whole(tmp_path, starts_recorders=True) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await w.records(session, session.call_id)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await press(agent, "*72")
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        await press(caller, "*90")
        assert await session.wait_for(lambda: session.call.verdict == "withdrawn", 5_000)
        await w.until(lambda: w.records(session))
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["recording.closed"][0]["failed"] == ""
        assert {PERSON, AGENT} in await kept(w)


async def test_without_a_yes_the_gateway_starts_no_recorder(tmp_path: Path) -> None:
    async with whole(tmp_path, starts_recorders=True) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("2", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        await agent.hang_up()
        await w.over(session)
        assert w.switch.recordings() == []


async def test_the_growing_file_shows_that_a_pause_is_kept(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, agent, session = await recorded(w)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await asyncio.sleep(6)
        assert session.call.recorder.stage == "paused"
        await caller.hang_up()
        entries = await w.over(session)
        assert [e["how"] for e in entries["recorder.observed"] if e["state"] == "paused"] == [
            "acknowledged, and the recorder is there",
            "the growing file is silent",
        ]


async def test_a_pause_that_somebody_undid_is_found_in_the_growing_file(tmp_path: Path) -> None:
    """Asterisk confirmed the pause and the recorder is there by its id; only the file tells what it does."""
    async with whole(tmp_path, judged=False) as w:
        caller, agent, session = await recorded(w)
        await press(agent, "*71")
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        recorder = await w.variable(session, "CONSENT_MIXMONITOR_ID")
        await w.observer.action(
            "MixMonitorMute",
            Channel=session.channel.channel,
            Direction="both",
            State="0",
            MixMonitorID=recorder,
        )
        assert await session.wait_for(lambda: session.call.recorder.stage == "failed", 15_000)
        await w.until(lambda: w.records(session))
        await caller.hang_up()
        entries = await w.over(session)
        assert entries["recorder.observed"][-1]["how"] == "the growing file has sound in the pause"
        alarms = [what.alarm for _, _, what in w.journal.entries if isinstance(what, do.RaiseAlarm)]
        assert "recorder_contradicts" in alarms


async def test_a_pause_nobody_can_carry_out_is_never_called_seen_and_ends_the_recording(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, _, session = await recorded(w)
        w.wire.cut()
        outcome = await w.gateway.switchboard.pause(session.call_id, actor="agent:x", reason="agent_key")
        assert outcome.accepted and not outcome.observed
        w.wire.mend()
        assert await session.wait_for(lambda: session.call.recorder.stage == "failed", 15_000)
        await w.until(lambda: w.records(session))
        await caller.hang_up()
        await w.over(session)


# --- agents who are not recorded --------------------------------------------------------------------------------------

DECLINED = '[[person]]\nagent = "agent"\nkind = "employee"\nrecorded = false\nsince = 2026-10-01\n'


async def test_while_an_agent_who_declined_is_there_nothing_is_recorded(tmp_path: Path) -> None:
    async with whole(tmp_path, staff=DECLINED) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 5_000)
        await asyncio.sleep(1)
        await caller.hang_up()
        entries = await w.over(session)
        assert all(joined["declined"] is True and not joined["covered"] for joined in entries["party.joined"])
        assert {hold["reason"] for hold in entries["hold.set"]} >= {"uncovered_party"}
        assert all(AGENT not in voices for voices in await kept(w))


async def test_an_agent_makes_a_call_his_own_affair_by_a_key(tmp_path: Path) -> None:
    async with whole(tmp_path, codes='private = "*70"\n') as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        for state in ("on", "paused", "on"):
            assert await session.wait_for(lambda wanted=state: session.call.recorder.observed == wanted, 5_000)
            await asyncio.sleep(0.5)
            await press(agent, "*70")
        await caller.hang_up()
        entries = await w.over(session)
        assert next(hold["reason"] for hold in entries["hold.set"]) == "private_call"
        assert {PERSON, AGENT} in await kept(w)


async def test_purposes_are_asked_for_one_by_one_before_the_caller_is_given_back(tmp_path: Path) -> None:
    more = {"top": 'purposes = ["recording", "analysis"]', "ask": 'purposes = "one_by_one"'}
    async with whole(tmp_path, **more) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        assert await session.wait_for(lambda: session.call.verdict == "granted", 5_000)
        assert w.switch.recordings() == []
        await asyncio.sleep(0.7)
        await caller.send_digit("2", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert session.call.purposes == {"recording": True, "analysis": False}
        await caller.hang_up()
        entries = await w.over(session)
        answers = [one for one in entries["verdict"] if one["party"] == "caller"]
        assert [one.get("answer") for one in answers] == [None, "refused"]
        assert {PERSON, AGENT} in await kept(w)
