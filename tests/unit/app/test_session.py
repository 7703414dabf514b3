"""Calls through the switchboard, with fakes for the world."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.app import session as sessions
from gateway.app.recorder import NoDurableVerdict, open_recorder, resume_recorder
from gateway.app.session import Outcome
from gateway.app.switchboard import NoSuchCall
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import Call
from gateway.domain.rules import FailMode, Rules
from gateway.evidence.bundle import verify_bundle
from gateway.policy.authority import LIVE, Act, Authority, Grant
from gateway.ports import media
from gateway.ports.evidence import Receipt
from gateway.ports.keys import KeyDestroyed
from tests.unit.app.desk import AGENT, CALL, CALLER, NAME, NUMBER, Desk

RECORDING = f"{CALL}-1"


async def test_a_whole_call(desk: Desk) -> None:
    opened = await desk.records()
    assert (opened.left, opened.right, opened.recipient) == (CALLER, AGENT, "age1fake1")
    assert opened.path == str(desk.folder / f"{RECORDING}.wav.age")
    await desk.ends()
    kinds = desk.log.kinds(CALL)
    assert kinds[0] == "call.arrived" and kinds[-1] == "call.ended"
    assert desk.facts("call.ended")[0]["entries"] == len(kinds)
    assert (await desk.registry.call(CALL)).verdict == "granted"
    assert (await desk.registry.recording(RECORDING)).state == "closed"
    assert desk.vault.asked == [(opened.path, "AGE-SECRET-KEY-1FAKE1")]
    assert desk.facts("recording.closed")[0]["checked"] == "sample-exact"
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_a_no_is_connected_and_leaves_no_recording(desk: Desk) -> None:
    dialled = await desk.dials("2")
    assert ("X-Consent-Verdict", "refused") in dialled.headers
    assert (dialled.from_number, dialled.from_name, dialled.beside) == (NUMBER, NAME, CALLER)
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.ends()
    assert not desk.sent(media.RecordOpen) and not desk.registry.all_recordings and not desk.keys.made


async def test_nothing_opens_before_the_evidence_is_durable(desk: Desk) -> None:
    await desk.dials()
    desk.log.hold()
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.rest()
    assert not desk.sent(media.RecordOpen)
    desk.log.release()
    await desk.sends(media.RecordOpen)
    assert "recorder.command" in desk.log.kinds(CALL)


async def test_a_pause_does_not_wait_for_the_log(desk: Desk) -> None:
    await desk.records()
    desk.log.hold()
    desk.press("*71", AGENT)
    assert (await desk.sends(media.RecordPause)).recording == RECORDING
    desk.gate("paused")
    desk.press("*72", AGENT)
    await desk.rest()
    assert not desk.sent(media.RecordResume)
    desk.log.release()
    await desk.sends(media.RecordResume)


async def test_lost_evidence_leaves_the_call_unrecorded(desk: Desk) -> None:
    await desk.dials()
    await desk.rest()
    desk.log.fail_next()
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.rest()
    await desk.ends()
    assert not desk.sent(media.RecordOpen)
    assert desk.log.kinds(CALL)[-1] == "call.ended"


async def test_a_call_whose_first_entry_is_lost_leaves_none_and_is_connected_unrecorded(desk: Desk) -> None:
    """The log could take the others: they would be of a call that nobody can verify."""
    desk.log.fail_next()
    await desk.dials()
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.rest()
    await desk.ends()
    assert not desk.sent(media.RecordOpen)
    assert desk.log.kinds(CALL) == []


async def test_entries_wait_for_the_first_and_keep_their_order(desk: Desk) -> None:
    desk.log.hold()
    await desk.dials()
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    desk.log.release()
    await desk.sends(media.RecordOpen)
    entries = await desk.log.entries(CALL)
    assert entries[0].kind == "call.arrived" and [entry.seq for entry in entries] == list(range(len(entries)))
    kinds = [entry.kind for entry in entries]
    assert kinds.index("prompt.played") < kinds.index("answer.digit") < kinds.index("verdict")


async def test_lost_evidence_while_recording_closes_at_once(desk: Desk) -> None:
    await desk.records()
    desk.log.fail_next()
    desk.report(media.LegHeld, CALLER, True)
    assert (await desk.sends(media.RecordClose)).cause == "evidence unavailable"
    assert not desk.sent(media.HangUp)


async def test_a_registry_that_fails_leaves_the_call_unrecorded(desk: Desk) -> None:
    await desk.dials()
    desk.registry.fail_next()
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["failed"] == "the registry did not take the recording's key"
    assert not desk.sent(media.RecordOpen) and not desk.sent(media.HangUp)
    assert (await desk.board.pause(CALL, actor="x")).code == "not_recording"


async def test_a_call_the_registry_does_not_take_goes_on_unrecorded(desk: Desk) -> None:
    desk.registry.fail_next()
    await desk.talks()
    await desk.until(lambda: desk.facts("recording.closed"))
    await desk.rest()
    assert not desk.sent(media.RecordOpen)
    desk.report(media.LegEnded, CALLER, 200, "remote")
    desk.report(media.LegEnded, AGENT, 200, "local")
    await desk.over()


async def test_a_registry_that_misses_the_end_costs_nothing_else(desk: Desk) -> None:
    await desk.records()
    desk.registry.fail_next(9)
    await desk.ends()
    assert (await desk.registry.call(CALL)).state == "open"
    assert desk.log.kinds(CALL)[-1] == "call.ended"


async def test_a_missing_prompt_is_not_heard(desk: Desk) -> None:
    desk.prompts.missing = {"ask", "ask_again", "refused"}
    await desk.asks()
    await desk.sends(media.Dial)
    await desk.until(lambda: desk.facts("verdict"))
    played = desk.facts("prompt.played")
    assert [(p["played_ms"], p["text"], p["sha256"]) for p in played] == [(0, "", "")] * 2
    assert desk.facts("verdict")[0]["verdict"] == "unanswered"


async def test_a_prompt_is_written_down_with_its_hash(desk: Desk) -> None:
    await desk.dials()
    played = desk.facts("prompt.played")[0]
    assert (played["text"], played["sha256"], played["language"]) == ("text of ask", "sha of ask", "en")


async def test_timers_fire_and_are_forgotten(desk: Desk) -> None:
    desk.board.services.policy.rules = Rules(answer_timeout_ms=20, attempts=1)  # type: ignore[attr-defined]
    await desk.asks()
    await desk.hears("ask")
    await desk.hears("refused")
    await desk.sends(media.Dial)
    assert desk.facts("verdict")[0]["verdict"] == "unanswered"
    assert not desk.board.session(CALL).timers


async def test_no_personal_value_in_facts_or_views(desk: Desk) -> None:
    await desk.records()
    shown = repr([entry.facts for entry in desk.log.appended]) + repr(desk.board.views())
    for value in (NUMBER, NAME, "+4930999", "192.0.2.7", "sip-id@pbx"):
        assert value not in shown
    assert desk.log.personal[CALL, 0]["caller_number"][1] == NUMBER


# --- requests --------------------------------------------------------------------------------------------------------


async def test_a_pause_is_answered_when_it_was_seen(desk: Desk) -> None:
    await desk.records()
    asked = spawn(desk.board.pause(CALL, actor="anna"), name="request")
    await desk.sends(media.RecordPause)
    await desk.rest()
    assert not asked.done()
    desk.gate("paused")
    assert await asked == Outcome(True, "paused", True)
    assert await desk.board.pause(CALL, actor="anna") == Outcome(True, "already_paused", True)
    await desk.until(lambda: desk.board.views()[0]["recorder"]["observed"] == "paused")
    assert desk.board.views()[0]["holds"][0] == {"reason": "agent_key", "actor": "anna", "expires_in_ms": 180_000}


async def test_a_pause_that_is_not_seen_says_so(desk: Desk) -> None:
    await desk.records()
    session = desk.board.session(CALL)
    from gateway.domain import events as ev
    from gateway.domain.recording import RecorderState

    outcome = await session.request(
        lambda request: ev.PauseRequested(at_ns=0, reason="card_entry", actor="x", request=request),
        RecorderState.PAUSED,
        wait_ms=20,
    )
    assert outcome == Outcome(True, "paused", False, "the recorder did not confirm in time")


async def test_a_pause_before_the_recorder_runs_is_a_hold(desk: Desk) -> None:
    await desk.asks()
    outcome = await desk.board.pause(CALL, actor="anna")
    assert outcome == Outcome(True, "paused", False, "nothing is being recorded yet; the hold is set")


async def test_a_resume_with_other_holds_says_so(desk: Desk) -> None:
    await desk.asks()
    await desk.board.pause(CALL, actor="anna")
    await desk.board.pause(CALL, actor="boss", reason="supervisor")
    assert await desk.board.resume(CALL, actor="anna") == Outcome(True, "still_paused", False, "other holds remain")
    assert await desk.board.resume(CALL, actor="anna") == Outcome(True, "still_paused", False, "other holds remain")
    await desk.board.resume(CALL, actor="boss", reason="supervisor")
    assert (await desk.board.resume(CALL, actor="anna")).code == "not_paused"


async def test_a_pause_is_not_answered_with_what_was_seen_before_it(desk: Desk) -> None:
    """Pause, resume and pause again within a frame: the first pause was seen, the second was not yet."""
    await desk.records()
    desk.press("*71", AGENT)
    await desk.sends(media.RecordPause)
    desk.gate("paused")
    desk.press("*72", AGENT)
    await desk.sends(media.RecordResume)
    asked = spawn(desk.board.pause(CALL, actor="anna"), name="request")
    await desk.sends(media.RecordPause, 2)
    await desk.rest()
    assert not asked.done()
    desk.gate("on")
    await desk.rest()
    assert not asked.done()
    desk.gate("paused")
    assert await asked == Outcome(True, "paused", True)


async def test_a_recording_sealed_late_is_in_the_evidence_all_the_same(desk: Desk) -> None:
    await desk.records()
    desk.report(media.LegEnded, CALLER, 200, "remote")
    await desk.sends(media.RecordClose)
    timer = desk.board.session(CALL).timers[f"observe:{RECORDING}"]
    loop = asyncio.get_running_loop()
    assert timer.when() - loop.time() > 200, "longer than a slow disk may take"
    desk.report(media.LegEnded, AGENT, 200, "local")
    desk.closed()
    await desk.until(lambda: "call.ended" in desk.log.kinds(CALL))
    assert [facts["sha256"] for facts in desk.facts("recording.closed")] == ["ab" * 32]


async def test_a_recording_sealed_after_its_calls_end_is_in_the_registry(desk: Desk) -> None:
    await desk.records()
    session = desk.board.session(CALL)
    desk.report(media.LegEnded, CALLER, 200, "remote")
    desk.report(media.LegEnded, AGENT, 200, "local")
    await desk.sends(media.RecordClose)
    from gateway.domain import events as ev

    session.post(ev.TimerFired(at_ns=session.now_ns(), timer=f"observe:{RECORDING}"))
    await desk.until(lambda: CALL not in desk.board.sessions)
    desk.closed()
    await desk.rest()
    row = await desk.registry.recording(RECORDING)
    assert (row.state, row.sha256) == ("closed", "ab" * 32)


async def test_a_resume_is_answered_when_it_was_seen(desk: Desk) -> None:
    await desk.records()
    desk.press("*71", AGENT)
    await desk.sends(media.RecordPause)
    desk.gate("paused")
    asked = spawn(desk.board.resume(CALL, actor="anna"), name="request")
    await desk.sends(media.RecordResume)
    desk.gate("on")
    assert await asked == Outcome(True, "resumed", True)


async def test_withdrawal_by_request_closes_and_purges(desk: Desk) -> None:
    desk.board.services.policy.rules = Rules(purge_on_withdrawal=True)  # type: ignore[attr-defined]
    await desk.records()
    asked = spawn(desk.board.withdraw(CALL, actor="anna"), name="request")
    assert (await desk.sends(media.RecordClose)).purge
    desk.closed(sha256="", purged=True)
    assert await asked == Outcome(True, "withdrawn", True)
    await desk.until(lambda: desk.facts("recording.destroyed"))
    assert (await desk.registry.recording(RECORDING)).state == "destroyed"
    assert desk.facts("recording.destroyed") == [{"recording": RECORDING, "cause": "caller withdrawn"}]
    assert (await desk.board.reconsent(CALL, actor="anna")).code == "asking"


async def test_who_is_asked_in_the_conversation_hears_nothing_else_until_he_has_answered(desk: Desk) -> None:
    """The wish comes before the prompt, or the peer could be heard, and echoed, at its beginning."""
    await desk.talks("2")
    assert not desk.sent(media.Isolate)
    await desk.board.reconsent(CALL, actor="anna")
    await desk.sends(media.Play, 3)
    asking = [command for command in desk.server.sent if isinstance(command, media.Isolate | media.Play)][-2:]
    assert asking[0] == media.Isolate(CALLER, True)
    assert isinstance(asking[1], media.Play)
    await desk.hears("ask", 2)
    desk.press("7")
    await desk.hears("ask_again")
    assert desk.sent(media.Isolate) == [media.Isolate(CALLER, True)]
    desk.press("1")
    await desk.sends(media.RecordOpen)
    assert desk.sent(media.Isolate) == [media.Isolate(CALLER, True), media.Isolate(CALLER, False)]


@pytest.mark.parametrize("end", ["withdrawn", "refused"])
async def test_whoever_says_no_in_the_conversation_hears_his_peer_again(desk: Desk, end: str) -> None:
    await desk.talks("2")
    await desk.board.reconsent(CALL, actor="anna")
    await desk.hears("ask", 2)
    if end == "withdrawn":
        await desk.board.withdraw(CALL, actor="anna")
    else:
        desk.press("2")
    assert await desk.sends(media.Isolate, 2) == media.Isolate(CALLER, False)


async def test_nobody_is_isolated_before_there_is_a_peer(desk: Desk) -> None:
    await desk.records()
    await desk.ends()
    assert not desk.sent(media.Isolate)


async def test_requests_to_calls_that_are_not_there(desk: Desk) -> None:
    for ask in (desk.board.pause, desk.board.resume, desk.board.withdraw, desk.board.reconsent):
        with pytest.raises(NoSuchCall):
            await ask("CALL9", actor="anna")
    with pytest.raises(NoSuchCall):
        desk.board.agents_call("anna")
    await desk.asks()
    session = desk.board.session(CALL)
    await desk.ends()
    outcome = await session.request(lambda request: pytest.fail("posted"), None)
    assert outcome == Outcome(False, "call_ended", because="the call is over")


async def test_a_request_that_meets_the_end_is_answered(desk: Desk) -> None:
    await desk.records()
    desk.log.hold()
    desk.report(media.LegEnded, CALLER, 200, "remote")
    desk.report(media.LegEnded, AGENT, 200, "local")
    await desk.sends(media.RecordClose)
    session = desk.board.session(CALL)
    asked = spawn(desk.board.pause(CALL, actor="anna"), name="request")
    desk.closed()
    assert (await asked).code == "not_recording"
    desk.log.release()
    await desk.over()
    assert session.over.is_set()


async def test_the_agents_call_is_found_while_he_talks(desk: Desk) -> None:
    await desk.dials()
    with pytest.raises(NoSuchCall):
        desk.board.agents_call("anna")
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.RecordOpen)
    assert desk.board.agents_call("anna") is desk.board.session(CALL)


# --- recordings ------------------------------------------------------------------------------------------------------


async def test_a_recording_that_does_not_match_its_timeline_is_reported(desk: Desk) -> None:
    desk.vault.wrong = "frames 3 to 9 are not silent"
    await desk.records()
    await desk.ends()
    facts = desk.facts("recording.closed")[0]
    assert (facts["checked"], facts["failed"]) == ("frames 3 to 9 are not silent", "does not match its timeline")


async def test_a_recording_whose_key_cannot_be_unwrapped_is_reported(desk: Desk) -> None:
    await desk.records()
    desk.keys.name = "another store"
    await desk.ends()
    assert desk.facts("recording.closed")[0]["checked"] == "its key cannot be unwrapped"
    with pytest.raises(KeyDestroyed):
        desk.keys.unwrap("x", b"")


async def test_a_recording_that_fails_keeps_its_reason(desk: Desk) -> None:
    await desk.records()
    desk.closed(failed="disk full")
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["failed"] == "disk full"


async def test_a_recorder_nobody_opened_is_closed(desk: Desk) -> None:
    await desk.talks("2")
    desk.gate("on", f"{CALL}-7")
    assert (await desk.sends(media.RecordClose)).recording == f"{CALL}-7"


async def test_a_lost_worker_ends_its_calls_and_recordings(desk: Desk) -> None:
    opened = await desk.records()
    (desk.folder / f"{RECORDING}.wav.age").write_bytes(b"what the disk has")
    desk.report(media.WorkerLost, (CALLER, AGENT, "nobody"), (opened.recording, "other-1"))
    await desk.over()
    facts = desk.facts("recording.closed")[0]
    assert (facts["failed"], facts["size"], facts["checked"]) == ("media process lost", 17, "media process lost")
    assert desk.facts("call.ended")[0]["cause"] == "caller media"
    assert desk.board.totals["worker_lost"] == 1
    assert (await desk.registry.recording(RECORDING)).size == 17


async def test_a_worker_lost_while_asking_is_unanswered(desk: Desk) -> None:
    await desk.asks()
    desk.report(media.WorkerLost, (CALLER,), ())
    await desk.over()
    assert (await desk.registry.call(CALL)).verdict == "unanswered"
    assert desk.board.totals["verdict_unanswered"] == 1


# --- the door to the recorder ----------------------------------------------------------------------------------------

VERDICT = Receipt(1, b"", CALL, "verdict", 0)
OPEN: dict[str, Any] = {
    "call_id": CALL,
    "recording": RECORDING,
    "left": "a",
    "right": "b",
    "path": "p",
    "recipient": "r",
    "look_behind_ms": 0,
    "paused_fill": "silence",
    "cause": "c",
}


@pytest.mark.parametrize("receipt", [None, replace(VERDICT, kind="ask"), replace(VERDICT, call_id="other")])
def test_no_recorder_without_the_receipt_of_this_calls_verdict(receipt: Receipt | None) -> None:
    sent: list[media.MediaCommand] = []
    with pytest.raises(NoDurableVerdict):
        open_recorder(sent.append, receipt, **OPEN)
    with pytest.raises(NoDurableVerdict):
        resume_recorder(sent.append, receipt, call_id=CALL, recording=RECORDING, cause="c")
    assert not sent


def test_a_recorder_with_the_receipt_of_this_calls_verdict() -> None:
    sent: list[media.MediaCommand] = []
    open_recorder(sent.append, VERDICT, **OPEN)
    resume_recorder(sent.append, VERDICT, call_id=CALL, recording=RECORDING, cause="c")
    assert sent == [
        media.RecordOpen(RECORDING, "a", "b", "p", "r", 0, "silence", False, "c"),
        media.RecordResume(RECORDING, "c"),
    ]


# --- life ------------------------------------------------------------------------------------------------------------


async def test_a_draining_gateway_takes_no_call(desk: Desk) -> None:
    await desk.records()
    drained = spawn(desk.board.drain(cause="shutdown"), name="request")
    await desk.sends(media.RecordClose)
    desk.incoming("leg-2")
    assert desk.sent(media.Reject) == [media.Reject("leg-2", 503, "Service Unavailable")]
    desk.closed()
    desk.report(media.LegEnded, CALLER, 200, "local")
    desk.report(media.LegEnded, AGENT, 200, "local")
    await drained
    assert desk.facts("call.ended")[0]["cause"] == "shutdown"
    assert [change.kind async for change in desk.board.feed.follow(desk.board.feed.number - 1)] == ["call"]


async def test_a_drain_does_not_wait_for_ever(desk: Desk) -> None:
    await desk.asks()
    await desk.board.drain(cause="shutdown", wait_s=0.02)
    assert desk.board.sessions


async def test_a_session_that_breaks_lets_everything_go(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.records()
    session = desk.board.session(CALL)

    def breaks(event: object) -> list[object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(session.call, "handle", breaks)
    waiting = spawn(desk.board.pause(CALL, actor="anna"), name="request")
    assert (await waiting).code == "call_ended"
    await desk.over()
    assert {hang_up.leg for hang_up in desk.sent(media.HangUp)} == {CALLER, AGENT}
    assert desk.sent(media.RecordClose)[-1].cause == "session ended"
    assert not [timer for timer in session.timers.values() if not timer.cancelled()]


async def test_calls_do_not_share_anything(desk: Desk) -> None:
    await desk.asks()
    desk.incoming("leg-2")
    await desk.sends(media.Answer, 2)
    desk.report(media.LegEnded, "leg-2", 200, "remote")
    await desk.until(lambda: len(desk.board.sessions) == 1)
    assert desk.board.session(CALL).call.phase == "asking"
    assert [view["call_id"] for view in desk.board.views()] == [CALL]


async def test_events_of_nobodys_legs_are_dropped(desk: Desk) -> None:
    await desk.asks()
    desk.report(media.LegEnded, "leg-9", 200, "remote")
    desk.report(media.Digit, f"{CALL}:ghost", "1", "info")
    desk.report(media.DigitEnded, CALLER, "1", 80)
    desk.gate("on", "nobody-1")
    await desk.rest()
    assert desk.log.kinds(CALL) == ["call.arrived", "leg.answered"]
    assert sessions.NOTHING_DUE


async def test_a_duty_to_record_refuses_the_call(tmp_path: Any) -> None:
    desk = await Desk(tmp_path, Rules(fail_mode=FailMode.REFUSE_CALL)).open()
    await desk.asks()
    await desk.hears("ask")
    desk.press("2")
    await desk.hears("refused")
    assert (await desk.sends(media.HangUp)).leg == CALLER
    assert not desk.sent(media.Dial)


async def test_a_prompt_whose_end_is_never_told_does_not_hold_the_call_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PLAY_GRACE_MS", -4_990)
    await desk.asks()
    dialled = await desk.sends(media.Dial)
    assert ("X-Consent-Verdict", "unanswered") in dialled.headers
    plays = desk.sent(media.Play)
    assert [play.path for play in plays] == ["/prompts/ask.wav", "/prompts/ask_again.wav", "/prompts/refused.wav"]
    assert [stop.play for stop in desk.sent(media.StopPlay)] == [play.play for play in plays]
    assert [entry["played_ms"] for entry in desk.facts("prompt.played")][:2] == [0, 0]


async def test_the_end_of_a_prompt_that_was_told_is_waited_for_no_more(desk: Desk) -> None:
    await desk.asks()
    await desk.hears("ask")
    await desk.until(lambda: "prompt.played" in desk.log.kinds(CALL))
    assert desk.board.session(CALL).plays == {}


# --- who may do what --------------------------------------------------------------------------------------------------

DECLINED = """
[[person]]
agent = "anna"
kind = "outsourcer"
organisation = "Helpdesk Ltd"
recorded = false
since = 2026-10-01
"""


def may(*acts: str, **names: Any) -> Authority:
    return Authority((Grant.model_validate({"may": acts, **names}),))


async def test_what_the_policy_does_not_let_an_agent_do_by_his_key_he_does_not(desk: Desk) -> None:
    desk.policies.who_may = may("pause")
    await desk.records()
    desk.press("*71", AGENT)
    await desk.sends(media.RecordPause)
    desk.gate("paused")
    desk.press("*72", AGENT)
    await desk.until(lambda: desk.facts("control.refused"))
    assert not desk.sent(media.RecordResume)
    (refused,) = desk.facts("control.refused")
    assert refused == {
        "act": "resume",
        "actor": "agent",
        "because": "the policy does not let an agent resume on this call",
    }


@pytest.mark.parametrize("kind", ["employee", "contractor"])
async def test_what_an_agent_may_depends_on_what_kind_of_colleague_he_is(desk: Desk, kind: str) -> None:
    desk.staff = f'[[person]]\nagent = "anna"\nkind = "{kind}"\norganisation = "x"\n'
    desk.policies.who_may = may("pause", kinds=("employee",))
    await desk.records()
    assert desk.facts("call.arrived")[0]["parties"][1] == {"role": "agent", "kind": kind}
    desk.press("*71", AGENT)
    await desk.until(lambda: desk.facts("hold.set") or desk.facts("control.refused"))
    assert bool(desk.facts("hold.set")) is (kind == "employee")


async def test_with_an_agent_who_declined_nothing_is_recorded(desk: Desk) -> None:
    desk.staff = DECLINED
    dialled = await desk.dials()
    assert ("X-Consent-Verdict", "granted") in dialled.headers
    desk.report(media.LegAnswered, AGENT, "x", "PCMU")
    await desk.sends(media.Bridge)
    await desk.rest()
    assert not desk.sent(media.RecordOpen)
    assert desk.facts("call.arrived")[0]["parties"][1] == {"role": "agent", "kind": "outsourcer", "declined": True}
    verdicts = [(facts["party"], facts["verdict"], facts["purposes"]) for facts in desk.facts("verdict")]
    assert verdicts == [("caller", "granted", {"recording": True}), ("agent", "refused", {"recording": False})]
    await desk.ends()
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_a_request_says_why_the_policy_does_not_allow_it(desk: Desk) -> None:
    desk.policies.who_may = may("pause", roles=("agent",))
    await desk.records()
    session = desk.board.session(CALL)
    assert not session.why_not(Act.PAUSE, "agent", "anna")
    why = session.why_not(Act.PAUSE, "supervisor", "")
    outcome = await desk.board.pause(CALL, actor="supervisor:9", reason="supervisor", barred=why)
    assert outcome == Outcome(False, "not_authorised", because=why) and "a supervisor pause" in why
    assert not desk.sent(media.RecordPause)


def test_the_core_calls_every_act_on_a_live_call_as_the_policy_does() -> None:
    """The core knows no policy: what it may not do comes by these names, and one that was another would bar nothing."""
    call = Call("call", Rules())
    call.handle(ev.AgentsKnown(at_ns=0, barred={str(act): "no" for act in Act}))
    wishes: list[ev.Event] = [
        *(ev.PauseRequested(at_ns=0, reason=reason, actor="agent") for reason in ("agent_key", "private_call")),
        ev.ResumeRequested(at_ns=0, reason="agent_key", actor="agent"),
        ev.WithdrawRequested(at_ns=0, party="caller", actor="agent"),
        ev.ReconsentRequested(at_ns=0, party="caller", actor="agent"),
    ]
    asked = [command for wish in wishes for command in call.handle(wish)]
    assert {entry.facts["act"] for entry in asked if isinstance(entry, do.AppendEvidence)} == set(LIVE)
