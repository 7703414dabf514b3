"""Calls that stay in a PBX: given back with their verdict, recorded there, watched until their channel ends."""

from typing import Any, ClassVar

import pytest

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, Call, Phase
from gateway.domain.pbx_call import CHANNEL, PbxCall
from gateway.domain.recording import RecorderState, Stage
from gateway.domain.rules import FailMode, Joining
from tests.unit.domain.playbook import (
    ARRIVES,
    ASK,
    ASK_2,
    DURABLE,
    TOLD,
    Playbook,
    answers,
    closed,
    closes,
    digit,
    ends,
    entry,
    fires,
    gone,
    hears,
    key,
    ns,
    opens,
    pause,
    pauses,
    reconsent,
    resume,
    resumes,
    says,
    seen,
    starts,
    verdict,
    withdraw,
)

RETURNED = ev.CallReturned(at_ns=0)
AGAIN = ev.CallSentAgain(at_ns=0)
REFUSE = {"fail_mode": FailMode.REFUSE_CALL}


class PbxBook(Playbook):
    """A `Playbook` of a call in a PBX."""

    kind: ClassVar[type[Call]] = PbxCall


def asked(**rules: Any) -> Playbook:
    book = PbxBook(**rules) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    return book << do.PlayPrompt(CALLER, "ask", ASK) >> starts(ASK)


def answered(value: str = "1", **rules: Any) -> Playbook:
    """The caller answered, and hears what was decided."""
    return asked(**rules) >> ends(ASK) >> key(value, 6_000) << says("granted" if value == "1" else "refused")


def recorded(**rules: Any) -> Playbook:
    """Granted, given back, the recorder seen running, and the agent there."""
    return returned(**rules) >> joins("agent-1")


def returned(**rules: Any) -> Playbook:
    """Granted, given back, and the recorder seen running: nobody else is there yet."""
    return answered(**rules) >> hears(TOLD) << opens() >> RETURNED >> gone(CALLER, by="local") >> seen("on")


def refused(**rules: Any) -> Playbook:
    """Refused, and given back."""
    return answered("2", **rules) >> hears(TOLD) << do.ReturnCall(CALLER, "refused") >> RETURNED >> gone(CALLER)


def joins(party: str, *, covered: bool = True) -> ev.PartyJoined:
    return ev.PartyJoined(at_ns=0, party=party, covered=covered)


def leaves(party: str) -> ev.PartyGone:
    return ev.PartyGone(at_ns=0, party=party)


def ami(text: str, leg: str) -> list[ev.Event]:
    return [ev.DigitPressed(at_ns=ns(20_000), leg=leg, value=value, transport="ami") for value in text]


# --- given back ------------------------------------------------------------------------------------------------------


def test_a_yes_is_given_back_by_the_recorders_opening() -> None:
    book = answered() >> hears(TOLD) << verdict("not_required", AGENT)
    book << entry("recorder.command", command="open", cause="returned to the PBX") << opens()
    assert book.call.phase is Phase.RETURNING
    book >> RETURNED >> gone(CALLER, by="local") >> seen("on")
    assert book.call.phase is Phase.TALKING and book.call.recorder.stage is Stage.ON
    book >> gone(CHANNEL) << closes(cause="caller hung up") >> closed()
    (book << entry("call.ended", cause="caller hung up") << do.CallOver("caller hung up")).end()


def test_the_recorder_waits_for_the_evidence_and_so_does_the_call() -> None:
    book = PbxBook(slow_log=True) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    book >> hears(ASK) >> key("1", 6_000) << says("granted") >> hears(TOLD) >> DURABLE << opens()
    book.end()


@pytest.mark.parametrize(
    ("value", "told"), [("2", "refused"), ("7", "unanswered")], ids=["no", "nothing that is an answer"]
)
def test_anything_else_is_given_back_with_its_name(value: str, told: str) -> None:
    book = asked(attempts=1)
    if value == "2":
        book >> ends(ASK) >> key("2", 6_000)
    else:
        book >> ends(ASK) >> fires("answer:caller:1")
    book << says("refused") >> hears(TOLD) << do.ReturnCall(CALLER, told) >> RETURNED
    book >> gone(CALLER, by="local")
    assert book.call.desired is RecorderState.OFF and book.call.phase is Phase.TALKING
    (book >> gone(CHANNEL) << do.CallOver("caller hung up")).end()


def slow() -> Playbook:
    """The caller hears the question, and the log is slow."""
    book = PbxBook(slow_log=True) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    return book >> hears(ASK)


def test_a_refusal_waits_for_nothing() -> None:
    book = slow() >> key("2", 6_000) << says("refused") >> hears(TOLD) << do.ReturnCall(CALLER, "refused")
    (book >> RETURNED >> DURABLE).end()


def test_who_agreed_waits_for_his_evidence_and_not_for_ever() -> None:
    book = slow() >> key("1", 6_000) << says("granted") >> hears(TOLD) << do.StartTimer("return", 2_000)
    book >> fires("return") << do.ReturnCall(CALLER, "unknown") >> RETURNED >> DURABLE
    assert book.call.desired is RecorderState.OFF
    book.end()


def test_a_recorder_that_was_allowed_is_not_late() -> None:
    book = answered() >> hears(TOLD) << opens() >> fires("return") >> RETURNED >> seen("on")
    assert book.call.desired is RecorderState.ON
    (book >> fires("return")).end()


def test_the_limit_of_one_return_is_not_that_of_the_next() -> None:
    book = slow() >> key("1", 6_000) << says("granted") >> hears(TOLD) >> fires("return")
    book << do.ReturnCall(CALLER, "unknown") >> RETURNED >> gone(CALLER) >> DURABLE
    book >> AGAIN << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask") >> hears(ASK_2) >> key("1", 6_000)
    (book << says("granted") >> hears("caller:notice:2") >> DURABLE << opens("call-2")).end()


def test_a_yes_to_something_else_is_not_told() -> None:
    book = answered(purposes=("analysis",)) >> hears(TOLD) << do.ReturnCall(CALLER, "unknown") >> RETURNED
    assert book.call.desired is RecorderState.OFF
    book.end()


def test_a_yes_without_evidence_is_not_told() -> None:
    book = slow() >> key("1", 6_000) << says("granted")
    book.lose("verdict") << do.RaiseAlarm("evidence_unavailable")
    (book >> hears(TOLD) << do.ReturnCall(CALLER, "unknown") >> DURABLE >> RETURNED).end()


def test_without_a_question_the_call_is_given_back_to_be_recorded() -> None:
    book = PbxBook(ask=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << verdict("not_required")
    (book << opens() >> RETURNED >> seen("on")).end()


def test_a_pbx_that_does_not_take_a_yes_gets_the_call_back_without_it() -> None:
    book = answered() >> hears(TOLD) << opens() >> closed(failed="the PBX did not take the verdict")
    book << do.RaiseAlarm("recording_failed") << do.ReturnCall(CALLER, "unknown") >> RETURNED
    assert book.call.desired is RecorderState.OFF
    (book >> gone(CALLER) >> gone(CHANNEL) << do.CallOver("caller hung up")).end()


def test_where_refusal_ends_the_call_its_channel_is_hung_up() -> None:
    book = answered("2", **REFUSE) >> hears(TOLD) << do.HangUpLeg(CALLER) << do.HangUpLeg(CHANNEL)
    (book >> gone(CALLER) >> gone(CHANNEL, by="local") << do.CallOver("recording refused")).end()


@pytest.mark.parametrize("heard", [False, True])
def test_who_is_gone_before_the_pbx_was_told_is_not_recorded(heard: bool) -> None:
    book = answered() if heard else asked()
    book >> gone(CALLER)
    assert book.call.phase is Phase.TALKING and book.call.verdict == ("granted" if heard else "unanswered")
    (book >> joins("agent-1") >> gone(CHANNEL) << do.CallOver("caller hung up")).end()


def test_who_is_gone_under_a_duty_to_record_is_hung_up() -> None:
    book = asked(**REFUSE) >> gone(CALLER) << do.HangUpLeg(CHANNEL)
    (book >> gone(CHANNEL, by="local") << do.CallOver("recording refused")).end()


def test_a_leg_that_never_came_up_is_the_end_here_and_not_of_the_callers_channel() -> None:
    book = PbxBook() >> ARRIVES << do.AnswerCall(CALLER) >> gone(CALLER, code=487)
    (book << do.CallOver("the caller's leg was never up")).end()


def test_a_leg_that_ends_while_the_pbx_is_told_is_not_recorded() -> None:
    book = answered() >> hears(TOLD) << opens() >> gone(CALLER) << closes() >> RETURNED >> closed()
    assert book.call.desired is RecorderState.OFF
    book.end()


def test_a_channel_that_is_lost_says_so() -> None:
    book = refused() >> gone(CHANNEL, by="lost")
    (book << entry("leg.ended", by="lost") << do.CallOver("caller lost")).end()


def test_legs_end_once_and_strange_ones_never() -> None:
    book = refused() >> gone(CALLER) >> gone("nobody") >> gone(AGENT)
    assert len(book.entries("leg.ended")) == 1
    book.end()


def test_the_channels_end_while_asking_ends_the_call() -> None:
    book = asked() >> gone(CHANNEL) << verdict("unanswered") << do.HangUpLeg(CALLER)
    (book >> gone(CALLER, by="local") << do.CallOver("caller hung up")).end()


def test_letting_go_leaves_the_channel_up_and_nothing_recording() -> None:
    book = recorded() >> ev.HangUpRequested(at_ns=0, cause="gateway stopped") << closes(cause="gateway stopped")
    (book >> closed() << do.CallOver("gateway stopped")).end()


@pytest.mark.parametrize("begin", [asked, answered])
def test_a_question_nobody_waits_for_ends(begin: Any) -> None:
    book = begin() >> ev.CallAbandoned(at_ns=0) << do.HangUpLeg(CALLER) >> gone(CALLER, by="local")
    (book >> gone(CHANNEL) << do.CallOver("caller hung up")).end()


def test_a_conversation_that_its_caller_left_is_the_pbxs() -> None:
    (recorded() >> ev.CallAbandoned(at_ns=0)).end()


def test_after_a_question_was_disturbed_no_key_answers_it() -> None:
    """Somebody else can be heard there: it may be his key."""
    book = asked() >> hears(ASK) >> ev.CallAbandoned(at_ns=0)
    book << verdict("unanswered") << do.HangUpLeg(CALLER) >> key("1", 9_000)
    assert book.call.verdict == "unanswered" and not book.call.covers
    (book >> gone(CALLER, by="local")).end()


def test_returned_twice_or_out_of_turn_is_nothing() -> None:
    (recorded() >> RETURNED).end()
    (asked() >> RETURNED >> key("1", 100)).end()


# --- pause -----------------------------------------------------------------------------------------------------------


def test_the_agent_pauses_and_resumes_on_his_own_channel() -> None:
    book = recorded() >> ami("*71", AGENT) << pauses() << entry("hold.set", hold="agent_key", actor=AGENT)
    book >> seen("paused") >> ami("*72", AGENT) << resumes() >> seen("on")
    (book >> ami("5", AGENT) >> ami("5", CALLER)).end()


def test_a_hold_from_before_pauses_the_recorder_as_soon_as_it_may_run() -> None:
    book = asked() >> pause("supervisor") >> ends(ASK) >> key("1", 6_000) << says("granted") >> hears(TOLD) << opens()
    (book >> RETURNED << pauses() >> seen("paused") >> resume("supervisor") << resumes()).end()


def test_keys_while_being_asked_count_once() -> None:
    """The PBX tells of the same keys that come on the caller's leg."""
    book = asked() >> ami("2", CALLER) >> ami("*71", AGENT)
    assert not book.entries("answer.digit") and not book.call.holds
    book.end()


def test_an_agent_who_is_not_there_has_no_keys() -> None:
    book = asked() >> gone(CALLER) >> ami("*71", AGENT)
    assert not book.call.holds
    book.end()


# --- withdrawal and asking again -------------------------------------------------------------------------------------


def test_the_caller_withdraws_by_key() -> None:
    book = recorded() >> ami("*9", CALLER) << closes(cause="caller withdrawn")
    book << digit("withdrawn", counted=True, leg=CALLER, key="*9") << verdict("withdrawn")
    (book >> closed() << entry("recording.closed")).end()


def test_a_recorder_that_the_dialplan_stopped_after_a_withdrawal_is_no_failure() -> None:
    (recorded() >> withdraw() << closes() << verdict("withdrawn") >> closed()).end()


def test_a_recorder_that_stops_by_itself_is_an_alarm() -> None:
    (
        recorded() >> closed() << do.RaiseAlarm("recording_failed") >> gone(CHANNEL) << do.CallOver("caller hung up")
    ).end()


def test_a_no_may_become_a_yes() -> None:
    book = refused() >> reconsent(request="r") << do.AskAgain() << do.Reply("r", True, "asking")
    book >> AGAIN << entry("ask.again", party=CALLER) << do.AnswerCall(CALLER) >> answers(CALLER)
    book << do.PlayPrompt(CALLER, "ask", ASK_2) >> hears(ASK_2) >> key("1", 6_000) << verdict("granted")
    book << says("granted") >> hears("caller:notice:2") << opens() >> RETURNED >> gone(CALLER) >> seen("on")
    assert len([e for e in book.entries("verdict") if e.facts["party"] == AGENT]) == 1
    book.end()


def test_a_no_may_stay_a_no() -> None:
    book = refused() >> AGAIN << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask") >> hears(ASK_2)
    book >> key("2", 6_000) << says("refused") >> hears("caller:notice:2") << do.ReturnCall(CALLER, "refused")
    (book >> RETURNED).end()


def test_there_is_nothing_to_ask_again_after_a_yes() -> None:
    (recorded() >> reconsent(request="r") << do.Reply("r", False, "nothing_to_ask")).end()
    (asked() >> reconsent(request="r") << do.Reply("r", False, "not_connected")).end()


def test_a_recorded_caller_who_is_sent_again_is_not_recorded_until_he_agrees_again() -> None:
    book = recorded() >> AGAIN << closes() << do.AnswerCall(CALLER) >> closed()
    book >> answers(CALLER) << says("ask") >> starts(ASK_2) >> gone(CALLER) << verdict("unanswered")
    assert book.call.desired is RecorderState.OFF and book.call.phase is Phase.TALKING
    book.end()


def test_who_is_sent_again_and_never_arrives_was_asked_and_gave_no_answer() -> None:
    book = refused() >> AGAIN << do.AnswerCall(CALLER) >> gone(CALLER, code=487) << verdict("unanswered")
    assert book.call.phase is Phase.TALKING
    (book >> reconsent(request="r") << do.AskAgain() << do.Reply("r", True, "asking")).end()


def test_a_recorder_that_the_dialplan_stops_to_ask_again_has_not_failed() -> None:
    book = recorded() >> ev.CallTakenBack(at_ns=0) << closes(cause="to be asked again") >> closed() >> AGAIN
    book << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask") >> hears(ASK_2) >> key("1", 6_000)
    (book << says("granted") >> hears("caller:notice:2") << opens("call-2") >> RETURNED >> seen("on", "call-2")).end()


def test_taken_back_out_of_turn_is_nothing() -> None:
    book = answered() >> hears(TOLD) << opens() >> ev.CallTakenBack(at_ns=0) >> RETURNED >> seen("on")
    assert book.call.desired is RecorderState.ON
    book.end()


def test_sent_again_out_of_turn_is_nothing() -> None:
    book = asked() >> AGAIN
    assert not book.entries("ask.again")
    book.end()


def test_a_late_refuse_key_does_not_change_a_conversation() -> None:
    book = recorded() >> ami("2", CALLER)
    assert book.call.verdict == "granted"
    book.end()


# --- who is there ----------------------------------------------------------------------------------------------------


def test_a_stranger_pauses_until_he_is_gone() -> None:
    book = recorded() >> joins("7", covered=False) << pauses() << entry("party.joined", party="7", covered=False)
    book << entry("hold.set", hold="uncovered_party:7", reason="uncovered_party", actor="policy", expires_in_ms=0)
    book << entry("recorder.command", command="pause", cause="uncovered_party")
    book >> seen("paused") >> joins("8", covered=False) >> joins("8", covered=False) >> leaves("7")
    book << entry("party.gone", party="7") << entry("hold.cleared", hold="uncovered_party:7", actor="policy")
    book >> leaves("7") >> leaves("8") << entry("hold.cleared", hold="uncovered_party:8") << resumes() >> seen("on")
    assert [len(book.entries(kind)) for kind in ("party.joined", "party.gone", "hold.set")] == [3, 2, 2]
    book.end()


def test_a_caller_whom_everybody_covered_has_left_is_paused_until_one_comes() -> None:
    book = recorded() >> joins("agent-2") >> leaves("agent-1") >> leaves("agent-2") << pauses()
    book << entry("hold.set", hold="nobody_covered", reason="nobody_covered", actor="policy")
    book << entry("recorder.command", cause="nobody_covered") >> seen("paused") >> joins("7", covered=False)
    book >> joins("agent-3") << entry("hold.cleared", hold="nobody_covered", actor="policy") >> leaves("7")
    (book << resumes() >> seen("on")).end()


def test_a_caller_with_a_stranger_alone_is_paused_whoever_comes_next() -> None:
    """Between the stranger's leaving and his coming back nobody knows who will be the first to speak."""
    book = returned() >> joins("7", covered=False) << pauses() >> seen("paused") >> leaves("7")
    book << entry("hold.set", hold="nobody_covered") << entry("hold.cleared", hold="uncovered_party:7")
    assert list(book.call.holds) == ["nobody_covered"]
    (book >> joins("7", covered=True) << resumes() >> seen("on")).end()


def test_that_nobody_covers_him_is_written_down_once() -> None:
    book = with_a_stranger() >> leaves("7")
    assert [one.facts["hold"] for one in book.entries("hold.set")] == ["uncovered_party:7", "nobody_covered"]
    book.end()


def with_a_stranger(**rules: Any) -> Playbook:
    """The agent gave the caller to somebody nobody asked, and has left."""
    return recorded(**rules) >> joins("7", covered=False) << pauses() >> seen("paused") >> leaves("agent-1")


def askable(*parties: str) -> ev.Event:
    return ev.PartiesAskable(at_ns=0, parties=frozenset(parties))


@pytest.mark.parametrize("joining", [Joining.ASK, Joining.ANNOUNCE])
def test_a_stranger_who_can_be_asked_is_asked_once(joining: Joining) -> None:
    book = with_a_stranger(joining=joining) >> askable("7") << entry("ask.joined", party="7", how=joining)
    book << do.AskParty("7")
    book >> askable("7") >> leaves("7") >> joins("7", covered=False) >> askable("7")
    assert book.commands(do.AskParty) == [do.AskParty("7")]
    book.end()


def test_who_joined_is_given_back_as_such_and_has_no_recorder() -> None:
    book = answered(records=False) >> hears(TOLD) << do.ReturnCall(CALLER, "joined") >> RETURNED
    assert book.call.covers and AGENT not in book.call.parties and not book.entries("recorder.command")
    book >> gone(CALLER, by="local") >> withdraw()
    assert not book.call.covers
    (book >> gone(CHANNEL) << do.CallOver("caller hung up")).end()


def test_nobody_is_covered_before_his_verdict_is_on_the_disk_and_he_is_back() -> None:
    book = answered(records=False)
    assert book.call.verdict == "granted" and not book.call.covers
    book = PbxBook(slow_log=True, records=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    book >> hears(ASK) >> key("1", 6_000) << says("granted") >> hears(TOLD) << do.ReturnCall(CALLER, "joined")
    book >> RETURNED
    assert not book.call.covers
    book >> DURABLE
    assert book.call.covers
    book.end()


def test_who_joined_has_no_recorder_to_pause() -> None:
    book = answered(records=False) >> hears(TOLD) << do.ReturnCall(CALLER, "joined") >> RETURNED
    book >> pause(request="r") << do.Reply("r", False, "not_recording")
    assert not book.call.holds
    book.end()


def test_nobody_is_covered_whose_evidence_was_lost() -> None:
    book = PbxBook(slow_log=True, records=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    book >> hears(ASK) >> key("1", 6_000) << says("granted") >> hears(TOLD) << do.ReturnCall(CALLER, "joined")
    book = book.lose("verdict") << do.RaiseAlarm("evidence_unavailable")
    book >> DURABLE >> RETURNED
    assert not book.call.covers
    book.end()


def test_who_refused_covers_nobody() -> None:
    book = answered("2", records=False) >> hears(TOLD) << do.ReturnCall(CALLER, "refused") >> RETURNED
    assert not book.call.covers
    book.end()


def two_strangers() -> Playbook:
    """Two whom nobody asked, and the agent, with the caller."""
    book = recorded() >> joins("7", covered=False) << pauses() >> seen("paused")
    return book >> joins("8", covered=False)


def test_strangers_are_asked_one_after_the_other() -> None:
    book = two_strangers() >> askable("7", "8") << do.AskParty("7")
    book >> askable("8") << do.AskParty("8") >> askable("7") >> askable("7", "8")
    assert len(book.commands(do.AskParty)) == 2
    book.end()


def test_nobody_is_asked_on_old_news() -> None:
    """Who was taken out of the conversation changes who else can be."""
    book = two_strangers() >> askable("7", "8") << do.AskParty("7") >> leaves("7")
    assert len(book.commands(do.AskParty)) == 1
    (book >> askable("8") << do.AskParty("8")).end()


def test_who_was_not_asked_after_all_is_asked_when_the_conversation_has_changed() -> None:
    book = with_a_stranger() >> askable("7") << do.AskParty("7")
    book >> ev.PartyNotAsked(at_ns=0, party="7") << entry("ask.joined", party="7", how="not possible")
    assert len(book.commands(do.AskParty)) == 1
    book >> askable() >> askable("7") << do.AskParty("7")
    book.end()


def test_who_cannot_be_asked_keeps_nobody_else_from_it_and_is_not_tried_for_ever() -> None:
    fails = ev.PartyNotAsked(at_ns=0, party="7")
    book = two_strangers() >> askable("7", "8") << do.AskParty("7") >> fails
    book >> askable("7", "8") << do.AskParty("8") >> askable("7") << do.AskParty("7") >> fails
    book >> askable("7") << do.AskParty("7") >> fails >> askable("7") >> askable("7", "8")
    assert len(book.commands(do.AskParty)) == 4
    book.end()


def test_who_has_left_is_not_asked() -> None:
    book = two_strangers() >> leaves("8") >> askable("8")
    assert not book.commands(do.AskParty)
    book.end()


def test_a_stranger_who_is_being_called_is_not_asked() -> None:
    book = with_a_stranger()
    assert not book.commands(do.AskParty)
    (book >> askable("8")).end()


@pytest.mark.parametrize("why", ["keep out", "not recorded", "withdrawn", "failed", "covered"])
def test_nobody_is_asked_for_nothing(why: str) -> None:
    if why == "keep out":
        book = with_a_stranger(joining=Joining.KEEP_OUT)
    elif why == "not recorded":
        book = refused() >> joins("7", covered=False)
    elif why == "withdrawn":
        book = with_a_stranger() >> withdraw() << closes() >> closed()
    elif why == "failed":
        book = with_a_stranger() >> closed(failed="disk full") << do.RaiseAlarm("recording_failed")
    else:
        book = recorded() >> leaves("agent-1") << pauses() >> seen("paused") >> joins("7") << resumes() >> seen("on")
    book >> askable("7")
    assert not book.commands(do.AskParty)
    book.end()


# --- whether the PBX can be seen -------------------------------------------------------------------------------------


LOST, BACK = (ev.SightChanged(at_ns=0, clear=clear) for clear in (False, True))


def test_what_cannot_be_seen_is_not_confirmed() -> None:
    book = recorded()
    assert book.call.confirmed
    book >> LOST << entry("recorder.sight", clear=False) >> LOST
    assert not book.call.confirmed and len(book.entries("recorder.sight")) == 1
    book >> fires("sight") << do.RaiseAlarm("recorder_out_of_sight") >> BACK << entry("recorder.sight", clear=True)
    assert book.call.confirmed
    book.end()


def test_a_loss_of_sight_waits_anew_for_a_recorder_that_is_closing_and_for_no_other() -> None:
    def waits(book: Playbook) -> list[int]:
        timers = book.commands(do.StartTimer)
        return [t.after_ms for t in timers if isinstance(t, do.StartTimer) and t.timer.startswith("observe:")]

    book = recorded()
    before = len(waits(book))
    book >> LOST >> BACK
    assert len(waits(book)) == before
    book >> gone(CHANNEL) << closes() >> LOST
    assert waits(book)[before:] == [300_000, 300_000]
    book.end()


def test_a_short_loss_or_one_without_a_recorder_raises_no_alarm() -> None:
    (recorded() >> LOST >> BACK << do.StopTimer("sight")).end()
    book = refused() >> LOST >> fires("sight")
    assert not book.commands(do.RaiseAlarm)
    book.end()


STOPS = ev.HangUpRequested(at_ns=0, cause="gateway stopped")
SOON, LATE = (do.StartTimer("observe:call-1", ms) for ms in (2_000, 300_000))
"""How long the end of a recorder is waited for that cannot be seen, and of one that can."""


@pytest.mark.parametrize(
    "book",
    [
        recorded() >> LOST >> STOPS << closes(cause="gateway stopped"),
        recorded() >> STOPS << closes(cause="gateway stopped") << LATE >> LOST,
        recorded() >> withdraw() << closes(cause="caller withdrawn") << LATE >> LOST >> STOPS,
    ],
    ids=["lost, stopped", "stopped, lost", "closing, lost, stopped"],
)
def test_a_call_that_is_given_up_unseen_does_not_wait_for_its_recorders_end(book: Playbook) -> None:
    book << SOON >> fires("observe:call-1")
    book << entry("recording.closed", failed="the end was never observed") << do.RaiseAlarm("recorder_unclosed")
    (book << entry("call.ended", cause="gateway stopped") << do.CallOver("gateway stopped")).end()


def test_the_recording_of_a_call_that_was_lost_has_all_its_time() -> None:
    book = recorded() >> LOST >> gone(CHANNEL, by="lost") << closes(cause="caller lost") << LATE >> closed()
    (book << do.CallOver("caller lost")).end()


def test_a_recorder_in_doubt_is_not_confirmed() -> None:
    book = recorded() >> pause() << pauses()
    assert not book.call.confirmed
    book >> seen("paused")
    assert book.call.confirmed
    book.end()


def test_an_unconfirmed_pause_is_only_told_where_the_policy_says_so() -> None:
    book = recorded(stop_unconfirmed=False) >> pause() << pauses() >> fires("observe:call-1")
    book << entry("recorder.unconfirmed", recording="call-1", commanded="pausing")
    book << do.RaiseAlarm("recorder_unobserved")
    assert not book.call.confirmed and book.call.recorder.stage is Stage.PAUSING
    (book >> seen("paused")).end()
    assert book.call.confirmed


def test_nobodys_resume_lifts_a_strangers_hold() -> None:
    book = recorded() >> joins("7", covered=False) << pauses() >> seen("paused")
    (book >> resume(request="r") << do.Reply("r", True, "still_paused") >> ami("*72", AGENT)).end()


def test_a_colleague_changes_nothing() -> None:
    book = recorded() >> joins("agent-2") << entry("party.joined", covered=True) >> leaves("agent-1")
    assert not book.call.holds and not book.entries("hold.cleared")
    book.end()


def test_who_joins_when_it_is_over_changes_nothing() -> None:
    book = recorded() >> gone(CHANNEL) << closes() >> joins("7", covered=False)
    assert not book.call.holds
    (book >> closed() << do.CallOver("caller hung up")).end()


def test_who_may_be_recorded_for_no_purpose_covers_nothing_in_the_call_he_joined() -> None:
    book = PbxBook(ask=False, records=False, purposes=()) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    book << verdict("not_required") << do.ReturnCall(CALLER, "joined") >> RETURNED >> gone(CALLER, by="local")
    assert isinstance(book.call, PbxCall)
    assert book.call.phase is Phase.TALKING and not book.call.covers
    book = PbxBook(ask=False, records=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    book << verdict("not_required") << do.ReturnCall(CALLER, "joined") >> RETURNED >> gone(CALLER, by="local")
    assert isinstance(book.call, PbxCall) and book.call.covers
