"""The conversation: recording, holds, withdrawal, consent anew, and every way it can end."""

from typing import Any

import pytest

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, NOTES_CAP, Call, IllegalPhase, Phase
from gateway.domain.recording import Hold, Recorder, RecorderState, Stage
from gateway.domain.rules import FailMode, PauseLimitAction, Rules
from tests.unit.domain.playbook import (
    ARRIVES,
    ASK,
    ASK_2,
    DURABLE,
    TOLD,
    Playbook,
    answers,
    asked,
    closed,
    closes,
    dialling,
    digit,
    ends,
    entry,
    fires,
    gone,
    hears,
    key,
    keys,
    listening,
    opens,
    pause,
    paused,
    pauses,
    reconsent,
    recording,
    refused,
    resume,
    resumes,
    says,
    seen,
    verdict,
    withdraw,
)

OBSERVE = do.StartTimer("observe:call-1", 2_000)
OBSERVE_THE_END = do.StartTimer("observe:call-1", 300_000)
REFUSE = {"fail_mode": FailMode.REFUSE_CALL}


def slow() -> Playbook:
    """Granted, connected; nothing of it durable yet."""
    book = Playbook(slow_log=True) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    book >> hears(ASK) >> key("1", 6_000) << says("granted") >> hears(TOLD)
    return book << do.ConnectAgent(AGENT, recorded=True) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)


# --- evidence before the act -----------------------------------------------------------------------------------------


def test_the_recorder_waits_for_every_entry() -> None:
    book = slow() << entry("recorder.command", command="open", recording="call-1", cause="conversation began")
    while len(book.pending) > 1:
        book >> ev.EvidenceDurable(at_ns=0, token=book.pending.pop())
    (book >> DURABLE << opens() << OBSERVE).end()


def test_a_yes_to_something_else_is_not_recorded() -> None:
    book = dialling(purposes=("analysis",)) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)
    (book >> pause(request="r") << do.Reply("r", False, "not_recording")).end()
    assert book.entries("verdict")[0].facts["purposes"] == {"analysis": True}


def test_the_recorder_is_opened_on_the_newest_verdict() -> None:
    book = recording()
    opened = next(command for command in book.seen if isinstance(command, do.OpenRecorder))
    assert opened.token == book.entries("verdict")[-1].token


def test_a_hold_while_the_evidence_is_on_its_way_keeps_the_recorder_shut() -> None:
    book = slow() >> pause(request="r") << do.Reply("r", True, "paused") >> DURABLE
    book >> resume() << entry("recorder.command", command="open") >> DURABLE << opens("call-2")
    book.end()


def test_a_withdrawal_while_the_evidence_is_on_its_way_keeps_the_recorder_shut() -> None:
    (slow() >> withdraw() << verdict("withdrawn") << says("withdrawn") >> DURABLE).end()


def test_a_resume_waits_for_its_evidence() -> None:
    book = recording(slow_log=True) >> DURABLE >> pause() << pauses() >> seen("paused") << says("paused", AGENT)
    book >> DURABLE >> resume() << entry("hold.cleared") << entry("recorder.command", command="resume")
    (book >> seen("paused") >> DURABLE << resumes() << OBSERVE).end()


def test_a_pause_waits_for_nothing() -> None:
    book = recording(slow_log=True) >> pause() << pauses()
    assert book.pending
    assert isinstance(book.seen[-1], do.StartTimer)


@pytest.mark.parametrize("kind", ["call.arrived", "verdict", "recorder.command"])
def test_lost_evidence_before_recording_means_no_recording(kind: str) -> None:
    book = slow().lose(kind) << do.RaiseAlarm("evidence_unavailable")
    (book >> DURABLE >> pause(request="r") << do.Reply("r", False, "not_recording")).end()


def test_lost_evidence_during_recording_stops_it() -> None:
    book = recording(slow_log=True) >> DURABLE >> pause() << pauses()
    book.lose("hold.set") << closes(cause="evidence unavailable") << do.RaiseAlarm("evidence_unavailable")
    book >> DURABLE >> resume(request="r") << do.Reply("r", False, "not_allowed") >> closed()
    (
        book
        >> gone(CALLER)
        << do.HangUpLeg(AGENT)
        >> gone(AGENT, by="local")
        >> DURABLE
        << entry("call.ended", cause="caller hung up")
        << do.CallOver("caller hung up")
    ).end()


def test_evidence_is_lost_once() -> None:
    book = slow().lose("verdict") << do.RaiseAlarm("evidence_unavailable")
    (book.lose("leg.answered") >> ev.EvidenceFailed(at_ns=0, token=99) >> DURABLE).end()


def test_lost_evidence_under_a_duty_to_record_ends_the_call() -> None:
    book = Playbook(slow_log=True, **REFUSE) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    book.lose("call.arrived") << do.RaiseAlarm("evidence_unavailable") << do.HangUpLeg(CALLER)
    book.end()


def test_a_lost_last_entry_ends_the_call_all_the_same() -> None:
    book = Playbook(slow_log=True) >> ARRIVES << do.AnswerCall(CALLER) >> gone(CALLER)
    while book.call._end_token == 0:
        book >> ev.EvidenceDurable(at_ns=0, token=book.pending.pop(0))
    (book.lose("call.ended") << do.CallOver("caller hung up")).end()


def test_the_last_entry_counts_the_durable_ones() -> None:
    book = slow().lose("verdict") << do.RaiseAlarm("evidence_unavailable") >> DURABLE
    book >> gone(CALLER) << do.HangUpLeg(AGENT) >> gone(AGENT) >> DURABLE << do.CallOver("caller hung up")
    kept = [c for c in book.seen if isinstance(c, do.AppendEvidence)]
    assert book.entries("call.ended")[0].facts["entries"] == len(kept) - 1
    assert kept[-1].kind == "call.ended"


def test_nothing_is_written_behind_the_last_entry() -> None:
    book = recording(slow_log=True, pause_limit_ms=60_000) >> pause() << pauses() >> gone(CALLER) << closes()
    book << do.HangUpLeg(AGENT) >> gone(AGENT) >> closed()
    while book.call._end_token == 0:
        book >> ev.EvidenceDurable(at_ns=0, token=book.pending.pop(0))
    count = len([c for c in book.seen if isinstance(c, do.AppendEvidence)])
    book >> ev.LegHeld(at_ns=0, leg=CALLER, held=True) >> fires("hold:agent_key") << do.RaiseAlarm("pause_limit")
    assert len([c for c in book.seen if isinstance(c, do.AppendEvidence)]) == count
    (book >> DURABLE << do.CallOver("caller hung up") >> pause(request="late") >> gone(CALLER)).end()


# --- what was observed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paused", "off", "nonsense"])
def test_an_opening_recorder_seen_otherwise_is_closed(state: str) -> None:
    book = dialling() >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens() >> seen(state)
    (
        book
        << closes(cause="recorder_contradicts")
        << do.RaiseAlarm("recorder_contradicts")
        << entry("recorder.command", command="close")
        << OBSERVE_THE_END
    ).end()


def test_a_paused_recorder_seen_running_is_closed() -> None:
    (
        paused()
        >> seen("on")
        << closes(cause="recorder_contradicts")
        << do.RaiseAlarm("recorder_contradicts")
        >> closed()
    ).end()


def test_a_state_nobody_knows_never_becomes_an_observation() -> None:
    book = recording() >> seen("nonsense") << closes() << do.RaiseAlarm("recorder_contradicts")
    assert [e.facts["state"] for e in book.entries("recorder.observed")] == ["on"]
    assert book.call.recorder.observed is RecorderState.ON


def test_what_is_seen_again_is_no_contradiction() -> None:
    (
        recording()
        >> seen("on")
        >> pause()
        << pauses()
        >> seen("on")
        >> seen("paused")
        << says("paused", AGENT)
        >> seen("paused")
        >> resume()
        << resumes()
        >> seen("paused")
        >> seen("on")
        << says("resumed", AGENT)
    ).end()


def test_a_pause_right_after_the_opening() -> None:
    book = dialling() >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens() >> keys("*71", AGENT) << pauses()
    (book >> seen("on") >> seen("paused") << says("paused", AGENT)).end()


def test_a_resume_waits_for_the_pause_to_be_seen() -> None:
    book = recording() >> pause() << pauses() >> resume() >> seen("paused") << says("paused", AGENT)
    (book << resumes() >> pause() << pauses() >> seen("on") >> seen("paused") << says("paused", AGENT)).end()


@pytest.mark.parametrize("late", [[], [pause()]])
def test_a_recorder_that_is_not_seen_is_closed(late: list[ev.Event]) -> None:
    book = dialling() >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens() << OBSERVE
    if late:
        book >> late << pauses() << OBSERVE
    book >> fires("observe:call-1") << closes(cause="recorder_unobserved") << do.RaiseAlarm("recorder_unobserved")
    book << OBSERVE_THE_END >> seen("on") >> seen("paused") >> fires("observe:call-1")
    (
        book
        << entry("recording.closed", failed="the end was never observed")
        << do.RaiseAlarm("recorder_unclosed")
        >> closed(sha256="00")
        << entry("recording.closed", sha256="00", failed="")
        >> closed(sha256="11")
        >> pause(request="r")
        << do.Reply("r", False, "not_recording")
    ).end()
    assert [e.facts.get("sha256") for e in book.entries("recording.closed")] == [None, "00"]


def test_the_end_of_a_recording_is_given_time_to_seal_and_check_it() -> None:
    book = recording() >> keys("*9") << closes() << says("withdrawn")
    assert OBSERVE_THE_END in book.seen and OBSERVE not in book.asked
    (book >> closed(sha256="00") << do.StopTimer("observe:call-1")).end()


def test_a_recording_given_up_and_purged_after_all_is_written_down_as_destroyed() -> None:
    book = recording(purge_on_withdrawal=True) >> keys("*9") << closes(purge=True) << says("withdrawn")
    book >> fires("observe:call-1") << do.RaiseAlarm("recorder_unclosed") >> closed(purged=True)
    (book << entry("recording.closed", purged=True) << entry("recording.destroyed", recording="call-1")).end()


def test_the_timer_of_a_recorder_that_was_seen_closes_nothing() -> None:
    (recording() >> fires("observe:call-1") >> fires("observe:call-0")).end()


def test_seeing_stops_the_timer_and_a_stray_sighting_does_not() -> None:
    book = recording() >> pause() << pauses() >> seen("on")
    assert do.StopTimer("observe:call-1") not in book.asked
    (book >> seen("paused") << do.StopTimer("observe:call-1") << says("paused", AGENT)).end()


@pytest.mark.parametrize("name", ["call-2", "call-1", "other-1"])
def test_a_recorder_that_nobody_opened_is_closed(name: str) -> None:
    book = refused() >> seen("on", name) << closes(name, cause="nobody opened it", purge=False)
    (book << entry("recorder.unexpected", recording=name, state="on") << do.RaiseAlarm("recorder_unexpected")).end()


def test_a_foreign_recording_does_not_touch_ours() -> None:
    book = recording() >> seen("on", "call-0") << closes("call-0") << do.RaiseAlarm("recorder_unexpected")
    (book >> closed("call-0") >> closed("call-2") >> pause() << pauses()).end()


def test_a_recording_that_fails_is_not_opened_again() -> None:
    book = recording() >> closed(failed="disk full") << entry("recording.closed", failed="disk full")
    (book << do.RaiseAlarm("recording_failed") >> pause(request="r") << do.Reply("r", False, "not_recording")).end()


def test_a_recording_that_ends_by_itself_is_not_opened_again() -> None:
    book = recording() >> closed() << do.StopTimer("observe:call-1") << do.RaiseAlarm("recording_failed")
    (book >> seen("on") << closes() << do.RaiseAlarm("recorder_unexpected") >> closed()).end()


def test_a_recording_that_fails_under_a_duty_to_record_ends_the_call() -> None:
    book = recording(**REFUSE) >> closed(failed="disk full") << do.RaiseAlarm("recording_failed")
    (book << do.HangUpLeg(CALLER) << do.HangUpLeg(AGENT)).end()


def test_the_end_of_a_failing_recording_is_an_alarm() -> None:
    book = recording() >> withdraw() << closes() << says("withdrawn") >> closed(failed="disk full")
    book << do.RaiseAlarm("recording_failed") >> reconsent() << says("ask") >> hears(ASK_2) >> key("1", 6_000)
    (book << verdict("granted") << says("granted")).end()


def test_a_recorder_that_contradicted_is_not_opened_again_in_this_call() -> None:
    book = recording() >> seen("paused") << closes(cause="recorder_contradicts")
    (book << do.RaiseAlarm("recorder_contradicts") >> closed()).end()


def test_a_recorder_that_contradicted_ends_a_call_under_a_duty_to_record() -> None:
    book = recording(**REFUSE) >> seen("paused") << closes(cause="recorder_contradicts")
    book << do.RaiseAlarm("recorder_contradicts") >> closed()
    (book << do.HangUpLeg(CALLER) << do.HangUpLeg(AGENT)).end()


# --- holds -----------------------------------------------------------------------------------------------------------


def test_the_agent_pauses_and_resumes_by_keys() -> None:
    (
        recording()
        >> keys("*71", AGENT)
        << pauses()
        << entry("hold.set", reason="agent_key", actor=AGENT, expires_in_ms=180_000)
        << do.StartTimer("hold:agent_key", 180_000)
        << do.StartTimer("reminder:agent_key", 165_000)
        << entry("recorder.command", command="pause", cause="agent_key")
        >> seen("paused")
        << entry("recorder.observed", state="paused")
        << says("paused", AGENT)
        >> keys("*72", AGENT)
        << entry("hold.cleared", reason="agent_key", actor=AGENT)
        << do.StopTimer("hold:agent_key")
        << do.StopTimer("reminder:agent_key")
        << entry("recorder.command", command="resume", cause="agent_key cleared")
        << resumes()
        >> seen("on")
        << says("resumed", AGENT)
    ).end()


def test_the_pause_stands_first_in_the_answer() -> None:
    book = recording()
    commands = book.call.handle(pause(request="r"))
    assert isinstance(commands[0], do.PauseRecorder)
    assert len([c for c in commands if isinstance(c, do.PauseRecorder)]) == 1


def test_the_close_stands_first_in_the_answer() -> None:
    commands = recording().call.handle(withdraw(request="r"))
    assert isinstance(commands[0], do.CloseRecorder)
    assert do.Reply("r", True, "withdrawn") in commands


def test_two_holds_are_both_needed() -> None:
    book = recording() >> pause("card_entry", "1") << pauses() << do.Reply("1", True, "paused") >> seen("paused")
    book << says("paused", AGENT) >> pause("agent_key", "2") << do.Reply("2", True, "paused")
    book >> resume("agent_key", "3") << do.Reply("3", True, "still_paused")
    book >> resume("agent_key", "5") << do.Reply("5", True, "still_paused")
    book >> resume("card_entry", "4") << do.Reply("4", True, "resumed") << resumes()
    book.end()


def test_nobody_lifts_a_supervisors_pause_but_that_supervisor() -> None:
    def ask(kind: Any, actor: str, request: str) -> ev.Event:
        event: ev.Event = kind(at_ns=20_000_000_000, reason="supervisor", actor=actor, request=request)
        return event

    pausing, resuming = ev.PauseRequested, ev.ResumeRequested
    book = recording() >> ask(pausing, "supervisor:a", "1") << pauses()
    book << entry("hold.set", hold="supervisor:a", reason="supervisor", actor="supervisor:a")
    book << do.StartTimer("hold:supervisor:a", 180_000) << do.Reply("1", True, "paused")
    book >> seen("paused") << says("paused", AGENT)
    book >> ask(pausing, "supervisor:b", "2") << entry("hold.set", hold="supervisor:b") << do.Reply("2", True, "paused")
    book >> keys("*71", AGENT) << entry("hold.set", hold="agent_key") >> keys("*72", AGENT) << entry("hold.cleared")
    book >> ask(resuming, "supervisor:b", "3") << entry("hold.cleared", hold="supervisor:b", reason="supervisor")
    book << do.Reply("3", True, "still_paused")
    book >> ev.TimerFired(at_ns=200_000_000_000, timer="hold:supervisor:a") << do.RaiseAlarm("pause_limit")
    book << entry("hold.overdue", hold="supervisor:a", reason="supervisor") << says("reminder", AGENT)
    book >> ask(resuming, "supervisor:a", "4") << do.StopTimer("hold:supervisor:a") << do.Reply("4", True, "resumed")
    (book << resumes()).end()


def test_requests_are_answered_with_what_is_so() -> None:
    book = recording() >> resume(request="1") << do.Reply("1", True, "not_paused") >> pause(request="2") << pauses()
    book << do.Reply("2", True, "paused") >> pause(request="3") << do.Reply("3", True, "already_paused")
    assert len(book.entries("hold.set")) == 1
    book.end()


def test_pausing_again_does_not_extend_the_pause() -> None:
    book = paused() >> pause(request="r") << do.Reply("r", True, "already_paused")
    assert not [c for c in book.asked if isinstance(c, do.StartTimer)]
    hold = book.call.holds["agent_key"]
    assert hold.expires_ns == hold.set_ns + 180_000_000_000


def test_a_hold_set_before_the_conversation_holds() -> None:
    book = (
        listening() >> pause("supervisor", "r") << do.Reply("r", True, "paused") >> key("1", 6_000) << says("granted")
    )
    book >> hears(TOLD) << do.ConnectAgent(AGENT, True) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)
    (book >> resume("supervisor") << opens()).end()


def test_there_is_nothing_to_pause_after_a_no() -> None:
    book = refused() >> pause(request="1") << do.Reply("1", False, "not_recording") >> resume(request="2")
    (book << do.Reply("2", False, "not_allowed") >> keys("*71", AGENT)).end()
    assert not book.entries("hold.set")


def test_there_is_nothing_to_pause_when_the_call_ends() -> None:
    book = paused() >> ev.HangUpRequested(at_ns=0, cause="shutdown") << closes() << do.HangUpLeg(CALLER)
    book << do.HangUpLeg(AGENT) >> pause("card_entry", "1") << do.Reply("1", False, "not_recording")
    (book >> resume("agent_key", "2") << do.Reply("2", False, "not_allowed")).end()


def test_a_forgotten_pause_stays_and_is_heard() -> None:
    book = paused(pause_limit_ms=60_000) >> fires("reminder:agent_key") << says("reminder", AGENT)
    book << do.StartTimer("reminder:agent_key", 15_000) >> fires("hold:agent_key") << do.RaiseAlarm("pause_limit")
    book << entry("hold.overdue", reason="agent_key") << says("reminder", AGENT)
    (
        book << do.StartTimer("reminder:agent_key", 15_000) >> fires("hold:card_entry") >> fires("reminder:card_entry")
    ).end()


def test_a_forgotten_pause_ends_when_the_policy_says_so() -> None:
    book = paused(pause_limit_action=PauseLimitAction.RESUME) >> fires("reminder:agent_key") << says("reminder", AGENT)
    assert not [c for c in book.asked if isinstance(c, do.StartTimer)]
    book >> fires("hold:agent_key") << do.RaiseAlarm("pause_limit") << entry("hold.cleared", actor="pause limit")
    (book << resumes() >> fires("hold:agent_key") >> fires("reminder:agent_key")).end()


def test_a_pause_ends_at_its_limit_and_not_before() -> None:
    book = paused() >> ev.TimerFired(at_ns=199_999_999_999, timer="hold:agent_key")
    (
        book
        >> ev.TimerFired(at_ns=200_000_000_000, timer="hold:agent_key")
        << do.RaiseAlarm("pause_limit")
        << says("reminder", AGENT)
    ).end()


def test_a_pause_without_a_limit_never_ends_by_a_timer() -> None:
    (paused(pause_limit_ms=0) >> ev.TimerFired(at_ns=10**15, timer="hold:agent_key")).end()


@pytest.mark.parametrize("reason", [CALLER, AGENT])
def test_a_reason_named_like_a_leg_is_a_reason(reason: str) -> None:
    book = recording() >> pause(reason) << pauses() >> seen("paused") << says("paused", AGENT)
    book >> ev.TimerFired(at_ns=200_000_000_000, timer=f"hold:{reason}") << do.RaiseAlarm("pause_limit")
    (book << says("reminder", AGENT)).end()


def test_a_reminder_without_an_agent_reminds_nobody() -> None:
    (asked() >> pause() >> fires("reminder:agent_key") << do.StartTimer("reminder:agent_key", 15_000)).end()


@pytest.mark.parametrize(("limit", "remind", "early"), [(60_000, 15_000, 45_000), (20_000, 15_000, 10_000)])
def test_the_reminder_comes_before_the_limit(limit: int, remind: int, early: int) -> None:
    book = recording(pause_limit_ms=limit, pause_reminder_ms=remind) >> pause() << pauses()
    assert do.StartTimer("reminder:agent_key", early) in book.seen


def test_a_pause_without_a_limit_has_no_timer() -> None:
    book = recording(pause_limit_ms=0) >> pause() << pauses()
    assert not [c for c in book.asked if isinstance(c, do.StartTimer) and not c.timer.startswith("observe")]
    assert book.call.holds["agent_key"] == Hold("agent_key", "desk", 20_000_000_000, None)


# --- withdrawal and consent anew -------------------------------------------------------------------------------------


def test_withdrawal_by_key_stops_the_recording_at_once() -> None:
    (
        recording()
        >> keys("*9")
        << closes(purge=False, cause="caller withdrawn")
        << digit("withdrawn", counted=True, key="*9")
        << verdict("withdrawn")
        << says("withdrawn")
        << entry("recorder.command", command="close")
        >> closed(sha256="00")
        << entry("recording.closed", sha256="00", failed="")
    ).end()


def test_withdrawal_purges_when_the_policy_says_so() -> None:
    book = recording(purge_on_withdrawal=True) >> keys("*9") << closes(purge=True) << says("withdrawn")
    (book >> closed(purged=True) << entry("recording.destroyed", recording="call-1")).end()


@pytest.mark.parametrize("rules", [{}, {"purge_on_withdrawal": True}])
def test_the_end_of_a_call_purges_nothing(rules: dict[str, Any]) -> None:
    book = recording(**rules) >> gone(CALLER) << closes(purge=False) << do.HangUpLeg(AGENT) >> closed(purged=False)
    assert not book.entries("recording.destroyed")


def test_withdrawal_of_a_paused_recording() -> None:
    (paused() >> keys("*9") << closes() << says("withdrawn") >> closed() >> keys("*72", AGENT)).end()


def test_withdrawal_where_the_law_gives_none() -> None:
    book = recording(may_withdraw=False) >> withdraw(request="r") << do.Reply("r", False, "withdrawal_not_offered")
    (book >> keys("*9") << digit("withdrawal not offered", leg=CALLER)).end()
    assert "key" not in book.entries("answer.digit")[-1].facts


@pytest.mark.parametrize("rules", [{"may_withdraw": False}, {}])
def test_codes_that_change_nothing_do_not_fill_the_log(rules: dict[str, Any]) -> None:
    book = recording(**rules) if rules else refused()
    before = len(book.entries("answer.digit"))
    for _ in range(NOTES_CAP + 5):
        book >> keys("*9")
    book.end()
    noted = book.entries("answer.digit")[before:]
    assert 0 < len(noted) <= NOTES_CAP and not any(e.facts["counted"] for e in noted)


def test_asking_again_when_there_is_nothing_to_ask_is_a_note() -> None:
    (recording() >> keys("*1") << digit("nothing to ask", leg=CALLER)).end()
    (asked() >> keys("*1") << digit("not connected", leg=CALLER)).end()


@pytest.mark.parametrize("begin", [asked, listening])
def test_no_withdrawal_from_the_question_where_the_law_gives_none(begin: Any) -> None:
    book = begin(may_withdraw=False) >> withdraw(request="r")
    (book << do.Reply("r", False, "withdrawal_not_offered")).end()


def test_no_withdrawal_from_a_decision_where_the_law_gives_none() -> None:
    book = asked(may_withdraw=False) >> key("1", 4_000) << do.StopPrompt(CALLER, ASK) >> withdraw()
    (book >> ends(ASK, 4_000) << verdict("granted") << says("granted")).end()


def test_not_asked_cannot_object_where_the_law_gives_no_objection() -> None:
    book = Playbook(ask=False, may_withdraw=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    book << do.ConnectAgent(AGENT, True) >> withdraw(request="r")
    (book << do.Reply("r", False, "withdrawal_not_offered")).end()


def test_withdrawal_is_answered_with_what_is_so() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> withdraw(request="1") << do.Reply("1", False, "not_asked")
    book >> withdraw("nobody", "2") << do.Reply("2", False, "not_asked")
    book.end()
    book = refused() >> withdraw(request="3") << do.Reply("3", True, "already_not_recorded")
    book >> gone(CALLER) << do.HangUpLeg(AGENT) >> withdraw(request="4") << do.Reply("4", False, "not_asked")
    book.end()


def test_the_agents_withdrawal_stops_the_recording_and_purges_nothing() -> None:
    book = recording(purge_on_withdrawal=True) >> withdraw(AGENT, "r") << closes(purge=False)
    (book << verdict("withdrawn", AGENT) << says("withdrawn", AGENT) << do.Reply("r", True, "withdrawn")).end()


def test_withdrawal_under_a_duty_to_record_ends_the_call() -> None:
    book = recording(**REFUSE) >> withdraw() << closes() << says("withdrawn") << do.HangUpLeg(CALLER)
    (book << do.HangUpLeg(AGENT)).end()


def test_consent_anew_records_in_a_new_file() -> None:
    (
        recording()
        >> keys("*9")
        << closes()
        << says("withdrawn")
        >> closed()
        >> keys("*1")
        << digit("asking", counted=True, key="*1")
        << entry("ask.again", party=CALLER, actor=CALLER)
        << do.PlayPrompt(CALLER, "ask", ASK_2)
        >> hears(ASK_2)
        >> key("1", 6_000)
        << verdict("granted")
        << says("granted")
        << opens("call-2")
    ).end()


def test_a_no_may_become_a_yes_by_being_asked_anew() -> None:
    book = refused() >> reconsent(request="r") << do.PlayPrompt(CALLER, "ask", ASK_2) << do.Reply("r", True, "asking")
    (book >> hears(ASK_2) >> key("1", 6_000) << verdict("granted") << says("granted") << opens()).end()


def test_a_late_yes_in_the_conversation_is_no_consent() -> None:
    (refused() >> key("1", 20_000) << digit("pressed outside the question") << do.RelayDigits(AGENT, "1")).end()


def test_a_late_no_in_the_conversation_is_a_digit_like_any_other() -> None:
    (recording() >> key("2", 20_000) << digit("pressed outside the question") << do.RelayDigits(AGENT, "2")).end()


def test_asking_anew_is_answered_with_what_is_so() -> None:
    book = listening() >> reconsent(request="1") << do.Reply("1", False, "not_connected")
    book.end()
    book = recording() >> reconsent(request="2") << do.Reply("2", False, "nothing_to_ask")
    book >> reconsent(AGENT, "3") << do.Reply("3", False, "not_connected")
    (book >> reconsent("nobody", "4") << do.Reply("4", False, "not_connected")).end()


def test_the_callers_end_while_asked_anew() -> None:
    book = refused() >> reconsent() << says("ask") >> gone(CALLER) << verdict("unanswered") << do.HangUpLeg(AGENT)
    (book >> gone(AGENT, by="local") << do.CallOver("caller hung up")).end()


# --- keys of the conversation ----------------------------------------------------------------------------------------


def test_an_agents_key_is_no_answer() -> None:
    book = refused() >> reconsent() << says("ask") >> hears(ASK_2) >> key("1", 6_000, AGENT)
    book << digit("key of the wrong leg", leg=AGENT)
    (book >> key("1", 7_000) << verdict("granted") << says("granted") << opens()).end()


def test_digits_are_not_relayed_while_the_caller_is_asked() -> None:
    book = refused() >> reconsent() << says("ask") >> key("*", 9, AGENT) >> fires("code:agent")
    (book >> key("4", 10) >> key("4", 11, AGENT) >> key("*", 12) >> fires("code:caller")).end()


def test_digits_pass_between_the_parties() -> None:
    book = recording() >> key("4") << do.RelayDigits(AGENT, "4") >> key("5", leg=AGENT) << do.RelayDigits(CALLER, "5")
    book >> key("*") << do.StartTimer("code:caller", 3_000) >> fires("code:caller") << do.RelayDigits(AGENT, "*")
    book >> fires("code:caller") >> key("*", leg=AGENT) >> key("7", leg=AGENT) >> fires("code:agent")
    (book << do.RelayDigits(CALLER, "*7") >> fires("code:nobody")).end()


def test_a_code_that_is_broken_off_is_passed_on_whole() -> None:
    book = recording() >> keys("*7", AGENT) >> key("5", leg=AGENT) << do.StopTimer("code:agent")
    (book << do.RelayDigits(CALLER, "*75")).end()


def test_an_agents_key_outside_the_question_is_not_written_down() -> None:
    book = recording() >> key("4", leg=AGENT) << do.RelayDigits(CALLER, "4")
    assert [e.facts["leg"] for e in book.entries("answer.digit")] == [CALLER]


def test_digits_are_not_relayed_before_the_conversation() -> None:
    (dialling() >> key("4", 9_000) >> key("*", 9_000) >> fires("code:caller")).end()


@pytest.mark.parametrize(("leg", "codes"), [(CALLER, ["*71", "*72"]), (AGENT, ["*9", "*1"])])
def test_codes_work_on_their_own_leg_only(leg: str, codes: list[str]) -> None:
    other = AGENT if leg == CALLER else CALLER
    for code in codes:
        book = recording() >> keys(code[:-1], leg)
        assert not [c for c in book.asked if isinstance(c, do.PauseRecorder | do.CloseRecorder)]
        book.asked.clear()
        book >> key(code[-1], 20_000, leg)
        assert any(isinstance(c, do.RelayDigits) and c.leg == other for c in book.seen)
        assert book.call.desired is RecorderState.ON


# --- the end, in every phase -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (486, "agent busy"),
        (600, "agent busy"),
        (603, "agent declined"),
        (408, "agent did not answer"),
        (480, "agent did not answer"),
        (487, "agent did not answer"),
        (500, "agent unreachable"),
    ],
)
def test_an_agent_who_cannot_be_reached_ends_the_call(code: int, cause: str) -> None:
    book = dialling() >> ev.LegRang(at_ns=0, leg=AGENT) >> gone(AGENT, code) << do.HangUpLeg(CALLER)
    book >> gone(CALLER, by="local") << entry("call.ended", cause=cause) << do.CallOver(cause)
    book.end()
    assert not [c for c in book.seen if isinstance(c, do.OpenRecorder)]


@pytest.mark.parametrize(("first", "second"), [(CALLER, AGENT), (AGENT, CALLER)])
def test_either_end_ends_both_and_the_recording(first: str, second: str) -> None:
    cause = f"{first} hung up"
    book = recording() >> gone(first) << closes(cause=cause) << entry("leg.ended") << do.HangUpLeg(second)
    book >> gone(second, by="local") >> gone(second) >> answers(second) >> closed(sha256="00")
    (book << entry("recording.closed") << entry("call.ended", cause=cause) << do.CallOver(cause)).end()
    assert [e.facts["leg"] for e in book.entries("leg.ended")] == [first, second]


def test_a_leg_ends_once() -> None:
    book = dialling() >> gone(AGENT, 486) << do.HangUpLeg(CALLER) >> gone(AGENT, 500)
    assert len(book.entries("leg.ended")) == 1


def test_a_wrong_key_while_the_gateway_shuts_down_asks_nothing() -> None:
    book = listening() >> ev.HangUpRequested(at_ns=0, cause="shutdown") << do.HangUpLeg(CALLER) >> key("7", 6_000)
    assert not book.entries("answer.digit")
    book.end()


def test_the_call_waits_for_its_recording_and_its_legs() -> None:
    book = recording() >> gone(CALLER) << closes() << do.HangUpLeg(AGENT) >> closed()
    assert not book.entries("call.ended")
    (book >> gone(AGENT) << do.CallOver("caller hung up")).end()


@pytest.mark.parametrize("begin", [asked, listening, dialling, recording, paused])
def test_a_shutdown_ends_every_call(begin: Any) -> None:
    book = begin() >> ev.HangUpRequested(at_ns=0, cause="shutdown")
    if begin in (recording, paused):
        book << closes()
    book << do.HangUpLeg(CALLER)
    if AGENT in book.call.legs:
        book << do.HangUpLeg(AGENT) >> gone(AGENT, by="local")
    if begin in (recording, paused):
        book >> closed()
    book >> ev.HangUpRequested(at_ns=0, cause="again") >> gone(CALLER, by="local")
    (book << entry("call.ended", cause="shutdown") << do.CallOver("shutdown")).end()


def test_the_callers_end_while_being_told() -> None:
    book = listening() >> key("1", 6_000) << says("granted") >> gone(CALLER) << do.CallOver("caller hung up")
    (book >> ends(TOLD) >> answers(CALLER)).end()


def test_the_end_of_another_notice_connects_nobody() -> None:
    book = listening() >> key("1", 6_000) << says("granted") >> ends("caller:notice:9") >> ends("")
    (book >> hears(TOLD) << do.ConnectAgent(AGENT, True) >> ends(TOLD)).end()


def test_an_agent_who_answers_as_the_call_ends_is_not_bridged() -> None:
    book = dialling() >> gone(CALLER) << do.HangUpLeg(AGENT) >> answers(AGENT) >> gone(AGENT, 487)
    (book << do.CallOver("caller hung up")).end()


def test_a_leg_nobody_knows_changes_nothing() -> None:
    held = ev.LegHeld(at_ns=0, leg="nobody", held=True)
    (asked() >> answers("nobody") >> gone("nobody") >> key("1", 9_000, "nobody") >> held >> answers(AGENT)).end()


def test_a_leg_answers_once() -> None:
    book = recording() >> answers(AGENT) >> answers(CALLER)
    assert len(book.entries("leg.answered")) == 2


def test_holding_the_line_is_written_down_once() -> None:
    held, back = (ev.LegHeld(at_ns=0, leg=CALLER, held=held) for held in (True, False))
    book = recording() >> back >> held >> held >> back
    assert [e.facts["held"] for e in book.entries("leg.held")] == [True, False]


# --- small machines --------------------------------------------------------------------------------------------------


def test_nothing_is_desired_before_and_after_the_conversation() -> None:
    call = Call("call", Rules())
    assert call.desired is RecorderState.OFF
    assert dialling().call.desired is RecorderState.OFF
    assert recording().call.desired is RecorderState.ON
    assert paused().call.desired is RecorderState.PAUSED
    assert refused().call.desired is RecorderState.OFF


def test_a_lost_entry_takes_the_desire_away() -> None:
    call = recording().call
    call.provable = False
    assert call.desired is RecorderState.OFF
    assert not call.evidence_is_durable


def test_evidence_is_durable_when_nothing_waits() -> None:
    book = slow()
    assert not book.call.evidence_is_durable
    book._durable()
    assert book.call.evidence_is_durable


def test_an_illegal_phase_raises_and_changes_nothing() -> None:
    call = Call("call", Rules())
    with pytest.raises(IllegalPhase, match="talking cannot follow arrived"):
        call._go(Phase.TALKING)
    assert call.phase is Phase.ARRIVED


@pytest.mark.parametrize(("failed", "stage"), [(True, Stage.FAILED), (False, Stage.IDLE)])
def test_a_closed_recorder(failed: bool, stage: Stage) -> None:
    ran = Recorder(Stage.CLOSING, RecorderState.ON, 3)
    assert ran.closed(failed=failed) == Recorder(stage, RecorderState.OFF, 3)


def test_a_timer_of_an_earlier_hold_does_not_end_the_next_one() -> None:
    """`StopTimer` cannot take back a `TimerFired` that is in the queue already: the new hold has its own limit."""
    call = paused(pause_limit_action=PauseLimitAction.RESUME).call
    limit_ns = call.holds["agent_key"].expires_ns
    assert limit_ns is not None
    call.handle(ev.ResumeRequested(at_ns=limit_ns - 2_000, reason="agent_key", actor=AGENT))
    call.handle(ev.PauseRequested(at_ns=limit_ns - 1_000, reason="agent_key", actor=AGENT))
    assert call.handle(ev.TimerFired(at_ns=limit_ns, timer="hold:agent_key")) == []
    assert "agent_key" in call.holds
