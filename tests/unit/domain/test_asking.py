"""The question and its answers, as calls."""

from typing import Any

import pytest

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, NOTES_CAP
from gateway.domain.rules import FailMode
from tests.unit.domain.playbook import (
    ARRIVES,
    ASK,
    ASK_2,
    TOLD,
    Playbook,
    answers,
    asked,
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
    says,
    starts,
    verdict,
    withdraw,
)

CUT = do.StopPrompt(CALLER, ASK)


def test_yes_is_told_and_connected() -> None:
    (
        Playbook()
        >> ARRIVES
        << entry("call.arrived")
        << do.AnswerCall(CALLER)
        >> answers(CALLER)
        << entry("leg.answered", leg=CALLER, codec="PCMU")
        << do.PlayPrompt(CALLER, "ask", ASK)
        >> starts(ASK)
        >> ends(ASK)
        << entry("prompt.played", party=CALLER, prompt="ask", attempt=1, played_ms=5_000, length_ms=5_000)
        << do.StartTimer("answer:caller:1", 6_000)
        >> key("1", 7_000)
        << do.StopTimer("answer:caller:1")
        << digit("answer", counted=True, key="1", leg=CALLER)
        << verdict("granted")
        << do.PlayPrompt(CALLER, "granted", TOLD)
        >> starts(TOLD)
        >> ends(TOLD)
        << do.ConnectAgent(AGENT, recorded=True)
        >> answers(AGENT)
        << verdict("not_required", AGENT)
        << do.BridgeLegs(CALLER, AGENT)
        << entry("recorder.command", command="open")
        << opens()
    ).end()


def test_personal_values_go_where_they_can_be_erased() -> None:
    number = {"caller_number": "+4930"}
    book = Playbook() >> ev.CallArrived(at_ns=0, facts={"path": "inline"}, personal=number) << do.AnswerCall(CALLER)
    (arrived,) = book.entries("call.arrived")
    assert (arrived.facts, arrived.personal) == ({"path": "inline"}, number)
    assert "+4930" not in repr(book.seen)


def test_no_is_connected_unrecorded() -> None:
    (
        listening()
        >> key("2", 7_000)
        << digit("answer", counted=True, key="2")
        << verdict("refused")
        << says("refused")
        >> hears(TOLD)
        << do.ConnectAgent(AGENT, recorded=False)
        >> answers(AGENT)
        << do.BridgeLegs(CALLER, AGENT)
    ).end()


def test_a_verdict_entry_says_what_it_allows() -> None:
    yes, no = dialling("1", purposes=("recording", "analysis")), dialling("2", purposes=("recording", "analysis"))
    facts = {"party": CALLER, "verdict": "granted", "basis": "consent"}
    assert yes.entries("verdict")[0].facts == facts | {"purposes": {"recording": True, "analysis": True}}
    assert no.entries("verdict")[0].facts["purposes"] == {"recording": False, "analysis": False}


def test_silence_is_asked_again_and_then_unanswered() -> None:
    (
        listening()
        >> fires("answer:caller:1")
        << do.PlayPrompt(CALLER, "ask_again", ASK_2)
        >> hears(ASK_2)
        << entry("prompt.played", prompt="ask_again", attempt=2)
        << do.StartTimer("answer:caller:2", 6_000)
        >> fires("answer:caller:2")
        << verdict("unanswered")
        << says("refused")
        >> hears(TOLD)
        << do.ConnectAgent(AGENT, recorded=False)
    ).end()


def test_the_timer_of_an_earlier_attempt_ends_nothing() -> None:
    book = listening() >> fires("answer:caller:1") << says("ask_again") >> hears(ASK_2)
    (book >> fires("answer:caller:1") >> fires("answer:agent:2") >> key("1", 9_000) << says("granted")).end()


def test_a_wrong_key_is_asked_again_and_then_unclear() -> None:
    (
        listening()
        >> key("7", 6_000)
        << do.StopTimer("answer:caller:1")
        << digit("not a key the prompt offers")
        << says("ask_again")
        >> hears(ASK_2)
        >> key("8", 13_000)
        << verdict("unclear")
        << says("refused")
    ).end()


def test_wrong_keys_during_the_last_prompt_and_then_silence_is_unclear() -> None:
    (
        asked(attempts=1)
        >> key("7", 4_000)
        << digit("not a key the prompt offers")
        >> ends(ASK)
        >> fires("answer:caller:1")
        << verdict("unclear")
        << says("refused")
    ).end()


def test_a_wrong_key_of_an_earlier_attempt_is_forgotten() -> None:
    (
        asked()
        >> key("7", 4_000)
        >> ends(ASK)
        >> fires("answer:caller:1")
        << says("ask_again")
        >> hears(ASK_2)
        >> fires("answer:caller:2")
        << verdict("unanswered")
        << says("refused")
    ).end()


@pytest.mark.parametrize("value", "127")
def test_an_early_key_does_not_count(value: str) -> None:
    (
        asked()
        >> key(value, 2_999)
        << digit("pressed before the asking sentence was heard")
        >> ends(ASK)
        >> key("2", 6_000)
        << verdict("refused")
        << says("refused")
    ).end()


def test_a_key_before_the_prompt_began_does_not_count() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    (book >> key("1", 9_000) << digit("pressed before the asking sentence was heard")).end()


def test_a_digit_that_does_not_count_is_not_written_down() -> None:
    book = asked() >> key("7", 100) >> key("7", 4_000)
    assert [("key" in e.facts, e.facts["counted"]) for e in book.entries("answer.digit")] == [(False, False)] * 2


def test_a_key_in_the_prompt_counts_once_the_prompt_was_heard_long_enough() -> None:
    (
        asked()
        >> key("1", 3_000)
        << CUT
        >> ends(ASK, 3_000)
        << entry("prompt.played", played_ms=3_000, completed=False)
        << digit("answer", counted=True, key="1")
        << verdict("granted")
        << says("granted")
    ).end()


@pytest.mark.parametrize("value", "123")
def test_a_key_in_the_prompt_does_not_count_when_less_was_heard_than_it_seemed(value: str) -> None:
    (
        asked()
        >> key(value, 3_500)
        << CUT
        >> ends(ASK, 2_999)
        << digit("too little of the prompt was heard")
        << says("ask_again")
    ).end()


def test_too_little_heard_in_the_last_attempt_is_unanswered() -> None:
    (
        asked(attempts=1)
        >> key("1", 3_500)
        << CUT
        >> ends(ASK, 2_999)
        << digit("too little of the prompt was heard")
        << verdict("unanswered")
        << says("refused")
    ).end()


def test_refusal_in_the_prompt() -> None:
    (asked() >> key("2", 3_500) << CUT >> ends(ASK, 3_600) << verdict("refused") << says("refused")).end()


def test_a_second_key_while_the_first_is_decided_does_not_count() -> None:
    (
        asked()
        >> key("2", 3_500)
        << CUT
        >> key("1", 3_550)
        << digit("an answer is being decided")
        >> ends(ASK, 3_600)
        << verdict("refused")
        << says("refused")
    ).end()


def test_the_end_of_another_prompt_decides_nothing() -> None:
    book = asked() >> ends("caller:ask:0") >> starts("agent:ask:1") >> ends("agent:ask:1")
    (
        book
        >> key("1", 3_500)
        << CUT
        >> ends("caller:ask:7", 4_000)
        >> ends(ASK, 3_500)
        << verdict("granted")
        << says("granted")
    ).end()


def test_the_beginning_of_another_prompt_moves_no_clock() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask")
    (book >> starts("caller:ask:9") >> key("1", 4_000) << digit("pressed before the asking sentence was heard")).end()


def test_repeat_in_the_window_uses_no_attempt() -> None:
    book = listening(attempts=1, repeats=2) >> key("3", 6_000) << digit("answer", counted=True, key="3")
    book << do.PlayPrompt(CALLER, "ask", ASK_2) >> hears(ASK_2) >> key("3", 13_000)
    book << do.PlayPrompt(CALLER, "ask", "caller:ask:3") >> hears("caller:ask:3")
    (book >> key("3", 20_000) << digit("not a key the prompt offers") << verdict("unclear") << says("refused")).end()


def test_repeat_in_the_prompt() -> None:
    book = asked(repeats=1) >> key("3", 4_000) << CUT >> ends(ASK, 4_000)
    book << do.PlayPrompt(CALLER, "ask", ASK_2) >> starts(ASK_2)
    (
        book
        >> key("3", 4_000)
        << digit("not a key the prompt offers")
        >> ends(ASK_2)
        << do.StartTimer("answer:caller:2", 6_000)
    ).end()


def test_the_clock_starts_anew_with_every_prompt() -> None:
    book = asked() >> key("3", 4_000) << CUT >> ends(ASK, 4_000) << says("ask")
    (book >> key("1", 9_000) << digit("pressed before the asking sentence was heard")).end()


def test_a_prompt_that_fails_is_tried_again_and_then_given_up() -> None:
    (
        asked()
        >> ends(ASK, 0, 0, completed=False)
        << entry("prompt.played", played_ms=0, completed=False)
        << says("ask_again")
        >> ends(ASK_2, 0, 0, completed=False)
        << verdict("unanswered")
        << says("refused")
        >> ends(TOLD, 0, 0, completed=False)
        << do.ConnectAgent(AGENT, recorded=False)
    ).end()


@pytest.mark.parametrize("length_ms", [2_999, 0])
def test_a_prompt_shorter_than_the_minimum_asks_nothing(length_ms: int) -> None:
    (asked() >> ends(ASK, length_ms, length_ms) << says("ask_again")).end()


def test_a_prompt_as_long_as_the_minimum_was_heard() -> None:
    (asked() >> ends(ASK, 3_000, 3_000) >> key("1", 4_000) << verdict("granted") << says("granted")).end()


@pytest.mark.parametrize(("first", "again"), [(3_000, 1_000), (1_000, 3_000)])
def test_each_asking_prompt_has_its_own_minimum(first: int, again: int) -> None:
    early = "pressed before the asking sentence was heard"
    book = asked(minimum_heard_ms=first, minimum_heard_again_ms=again) >> key("1", first - 1) << digit(early)
    book >> ends(ASK) >> fires("answer:caller:1") << says("ask_again") >> starts(ASK_2) >> key("1", again - 1)
    book << digit(early) >> key("1", again) << do.StopPrompt(CALLER, ASK_2) >> ends(ASK_2, again)
    (book << verdict("granted") << says("granted")).end()


def test_a_prompt_cut_short_late_was_not_heard_to_its_end() -> None:
    (asked() >> ends(ASK, 4_900) << says("ask_again")).end()


def test_a_changed_mind_counts_until_the_conversation() -> None:
    (
        dialling()
        >> key("2", 12_000)
        << digit("answer", counted=True, key="2")
        << verdict("refused")
        >> answers(AGENT)
        << do.BridgeLegs(CALLER, AGENT)
    ).end()


def test_a_changed_mind_while_being_told_is_told_instead() -> None:
    book = listening() >> key("1", 6_000) << says("granted") >> key("2", 6_500) << verdict("refused")
    book << do.PlayPrompt(CALLER, "refused", "caller:notice:2") >> ends(TOLD, 500)
    (book >> hears("caller:notice:2") << do.ConnectAgent(AGENT, recorded=False)).end()


def test_a_late_yes_does_not_count() -> None:
    (
        dialling("2")
        >> key("1", 12_000)
        << digit("pressed outside the question")
        >> answers(AGENT)
        << do.BridgeLegs(CALLER, AGENT)
    ).end()


@pytest.mark.parametrize("value", "9*")
def test_a_key_without_meaning_outside_the_question_leaves_no_trace(value: str) -> None:
    book = dialling() >> key(value, 12_000)
    assert len(book.entries("answer.digit")) == 1


def test_withdrawal_during_the_question_ends_it() -> None:
    book = asked() >> keys("*9") << digit("withdrawn", counted=True, key="*9") << CUT << verdict("withdrawn")
    (book << says("withdrawn") >> ends(ASK, 900) >> hears(TOLD) << do.ConnectAgent(AGENT, recorded=False)).end()


def test_withdrawal_while_a_key_is_decided() -> None:
    book = asked() >> key("1", 3_500) << CUT >> withdraw(request="r") << verdict("withdrawn") << says("withdrawn")
    (book << do.Reply("r", True, "withdrawn") >> ends(ASK, 3_600)).end()


def test_withdrawal_in_the_answer_window() -> None:
    book = listening() >> withdraw(request="r") << do.StopTimer("answer:caller:1") << verdict("withdrawn")
    (book << says("withdrawn") << do.Reply("r", True, "withdrawn") >> key("1", 7_000)).end()


def test_a_fresh_yes_or_no_is_not_taken_from_a_code() -> None:
    """`*1` is a code of its own: its 1 is no answer."""
    (asked() >> keys("*1", ms=4_000)).end()


def test_a_key_behind_a_broken_code_counts() -> None:
    (
        listening()
        >> key("*", 6_000)
        << do.StartTimer("code:caller", 3_000)
        >> key("2", 6_500)
        << verdict("refused")
        << says("refused")
    ).end()


def test_not_asked_is_not_required() -> None:
    book = Playbook(ask=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << verdict("not_required")
    book << do.ConnectAgent(AGENT, recorded=True) >> key("2", 100) << digit("pressed outside the question")
    (book >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens()).end()


def test_not_asked_may_object() -> None:
    book = Playbook(ask=False) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << do.ConnectAgent(AGENT, True)
    book >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens() >> keys("*9")
    (book << closes() << verdict("withdrawn") << says("withdrawn")).end()


def test_an_announcement_that_ends_while_the_call_is_ended_connects_nobody() -> None:
    book = Playbook(ask=False, announce=True) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    (
        book
        << says("announced_may_object")
        >> starts(ASK)
        >> ev.HangUpRequested(at_ns=0, cause="shutdown")
        << do.HangUpLeg(CALLER)
    )
    (book >> ends(ASK) << verdict("not_required") >> gone(CALLER, by="local") << do.CallOver("shutdown")).end()


@pytest.mark.parametrize("value", "127")
def test_refusal_under_a_duty_to_record_ends_the_call(value: str) -> None:
    answer = {"1": "granted", "2": "refused", "7": "unclear"}[value]
    book = listening(fail_mode=FailMode.REFUSE_CALL, attempts=1) >> key(value, 6_000) << verdict(answer)
    book << says("granted" if value == "1" else "refused") >> hears(TOLD)
    (book << (do.ConnectAgent(AGENT, True) if value == "1" else do.HangUpLeg(CALLER))).end()


def test_a_changed_mind_under_a_duty_to_record_ends_the_call() -> None:
    book = dialling(fail_mode=FailMode.REFUSE_CALL) >> key("2", 9_000) << verdict("refused")
    (
        book
        << do.HangUpLeg(CALLER)
        << do.HangUpLeg(AGENT)
        >> gone(AGENT, by="local")
        >> gone(CALLER, by="local")
        << entry("call.ended", cause="recording refused")
        << do.CallOver("recording refused")
    ).end()


@pytest.mark.parametrize("begin", [asked, listening])
def test_the_callers_end_while_asked_is_unanswered(begin: Any) -> None:
    (
        begin()
        >> gone(CALLER)
        << entry("leg.ended", leg=CALLER, code=200, by="remote")
        << verdict("unanswered")
        << entry("call.ended", cause="caller hung up")
        << do.CallOver("caller hung up")
    ).end()


def test_the_callers_end_while_a_key_is_decided_is_unanswered() -> None:
    book = asked() >> key("1", 4_000) << CUT >> gone(CALLER) << verdict("unanswered") << do.CallOver("caller hung up")
    (book >> ends(ASK, 4_000) >> key("1", 5_000)).end()


def test_a_caller_who_is_gone_before_the_answer_is_unanswered() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> gone(CALLER, by="media") << verdict("unanswered")
    (book << entry("call.ended", cause="caller media") << do.CallOver("caller media")).end()


def test_a_caller_cannot_fill_the_log_by_typing() -> None:
    book = asked() >> [key("7", 100)] * (NOTES_CAP + 30)
    assert len(book.entries("answer.digit")) == NOTES_CAP
    (
        book >> ends(ASK) >> key("1", 6_000) << digit("answer", counted=True) << verdict("granted") << says("granted")
    ).end()


def test_a_key_of_a_leg_that_is_not_up_is_nothing() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> key("1", 5_000) >> key("1", 5_000, AGENT)
    assert not book.entries("answer.digit")
