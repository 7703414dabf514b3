"""The dialogue with a caller who may answer by voice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, NOTES_CAP
from gateway.domain.consent import FINISH_MS, MOST_EXTENSIONS
from gateway.domain.spoken import Hearing, Hypothesis
from tests.unit.domain.playbook import (
    Playbook,
    answers,
    entry,
    fires,
    hears,
    key,
    ns,
    opens,
    says,
    seen,
    starts,
    verdict,
)
from tests.unit.domain.playbook import ends as ended

ARRIVES = ev.CallArrived(at_ns=0)


def spoken(
    text: str | None,
    ms: int = 7_000,
    *,
    leg: str = CALLER,
    over_prompt: bool = False,
    failed: bool = False,
    looks: int = 1,
) -> ev.AnswerSpoken:
    """*text*, begun at *ms* and heard alike in so many looks; None: a monologue."""
    hearings = () if text is None else (Hearing(8_000, 0.01, (Hypothesis(text, -0.1),)),) * looks
    words = {} if text is None else {"heard_1": text}
    return ev.AnswerSpoken(
        at_ns=ns(ms + 1_500),
        leg=leg,
        began_ns=ns(ms),
        hearings=None if failed else hearings,
        over_prompt=over_prompt,
        facts={"engine": "x"},
        words=words,
    )


def asked(**rules: Any) -> Playbook:
    """A caller who hears the question."""
    book = Playbook(by_voice=True, **rules) >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER)
    return book << do.PlayPrompt(CALLER, "ask_spoken", "caller:ask:1") >> starts("caller:ask:1")


def heard(**rules: Any) -> Playbook:
    """A caller who has heard the question, and whose answer is waited for."""
    return asked(**rules) >> ended("caller:ask:1") << do.StartTimer("answer:caller:1", 6_000)


def speech(because: str, counted: bool = True, **facts: Any) -> Any:
    return entry("answer.speech", leg=CALLER, engine="x", because=because, counted=counted, **facts)


def test_a_phrase_that_says_yes_is_consent_and_written_down() -> None:
    book = heard() >> spoken("Yes, I agree.")
    book << do.StopTimer("answer:caller:1")
    book << speech("is_yes", question="ask", meaning="yes", decision="yes") << verdict("granted") << says("granted")
    (line,) = book.entries("answer.speech")
    assert line.personal == {"heard_1": "Yes, I agree."}, "words are personal, and in the evidence"
    book.end()


def test_no_is_no() -> None:
    book = heard() >> spoken("No, thank you.") << do.StopTimer("answer:caller:1")
    book << speech("has_no_word", decision="no") << verdict("refused") << says("refused")
    book.end()


@pytest.mark.parametrize("answer", [spoken("Yes, I agree."), key("1", 7_000)])
def test_a_no_counts_while_the_yes_is_told(answer: Any) -> None:
    """A key does, too. Of two things said in a row that are listened to at once, the second may be told second."""
    book = heard() >> answer << verdict("granted") << says("granted") >> spoken("No, wait.", 9_500)
    book << speech("has_no_word", decision="no") << verdict("refused")
    book << do.PlayPrompt(CALLER, "refused", "caller:notice:2")
    book >> ended("caller:notice:1", 500) >> hears("caller:notice:2") << do.ConnectAgent(AGENT, recorded=False)
    book.end()


@pytest.mark.parametrize("text", ["Yes.", "Hello?", "Thank you.", "No problem.", None])
def test_nothing_but_a_no_counts_while_the_yes_is_told(text: str | None) -> None:
    (heard() >> spoken("Yes, I agree.") << verdict("granted") << says("granted") >> spoken(text, 9_500)).end()


def test_a_no_in_the_conversation_is_said_to_the_agent() -> None:
    book = heard() >> spoken("Yes, I agree.") << says("granted") >> hears("caller:notice:1")
    book << do.ConnectAgent(AGENT, recorded=True) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)
    (book << opens() >> seen("on") >> spoken("No.", 15_000)).end()


def test_a_yes_after_a_no_changes_nothing() -> None:
    (heard() >> spoken("No.") << verdict("refused") << says("refused") >> spoken("Yes, I agree.", 9_500)).end()


def test_a_bare_yes_is_asked_back_and_then_counts() -> None:
    book = heard() >> spoken("Yes.", looks=2) << do.StopTimer("answer:caller:1")
    book << speech("is_weak_yes", decision="confirm", question="ask")
    book << do.PlayPrompt(CALLER, "confirm_spoken", "caller:ask:2") >> hears("caller:ask:2")
    book << entry("prompt.played", prompt="confirm_spoken") << do.StartTimer("answer:caller:2", 6_000)
    book >> spoken("Yes.", 12_000, looks=2) << do.StopTimer("answer:caller:2")
    book << speech("is_weak_yes", decision="yes", question="confirm") << verdict("granted") << says("granted")
    book.end()


def test_a_bare_yes_that_one_engine_heard_confirms_nothing() -> None:
    book = heard() >> spoken("Yes.") << do.StopTimer("answer:caller:1") << says("confirm_spoken")
    book >> hears("caller:ask:2") >> spoken("Yes.", 12_000) << do.StopTimer("answer:caller:2")
    book << speech("is_weak_yes", decision="give_up", question="confirm") << says("ask_again")
    book.end()


@pytest.mark.parametrize(("pressed", "outcome"), [("1", "granted"), ("2", "refused")])
def test_a_yes_that_is_asked_back_may_be_answered_by_key(pressed: str, outcome: str) -> None:
    book = heard() >> spoken("Yes.") << do.StopTimer("answer:caller:1")
    book << says("confirm_spoken") >> hears("caller:ask:2") >> key(pressed, 12_000)
    book << do.StopTimer("answer:caller:2") << verdict(outcome) << says(outcome)
    book.end()


def test_a_yes_that_is_asked_back_and_not_confirmed_is_none() -> None:
    book = heard() >> spoken("Yes.") << do.StopTimer("answer:caller:1") << says("confirm_spoken")
    book >> hears("caller:ask:2") >> fires("answer:caller:2") << says("ask_again_spoken")
    book >> hears("caller:ask:3") >> fires("answer:caller:3") << verdict("unclear") << says("refused")
    book.end()


def test_unclear_once_is_asked_again_and_unclear_twice_is_asked_by_key_and_listened_to_no_more() -> None:
    book = heard() >> spoken("What is this about?") << do.StopTimer("answer:caller:1")
    book << speech("is_question", decision="repeat") << do.PlayPrompt(CALLER, "ask_again_spoken", "caller:ask:2")
    book >> hears("caller:ask:2") >> spoken("I know.", 12_000) << do.StopTimer("answer:caller:2")
    book << speech("anything_else", decision="give_up") << do.PlayPrompt(CALLER, "ask_again", "caller:ask:3")
    assert not book.call.parties[CALLER].by_voice
    book >> hears("caller:ask:3") >> spoken("Yes, I agree.", 20_000)
    book << speech("said before the asking sentence was heard", False)
    book >> fires("answer:caller:3") << verdict("unclear") << says("refused")
    book.end()


def test_unclear_and_then_a_key() -> None:
    book = heard() >> spoken("What?") << says("ask_again_spoken") >> hears("caller:ask:2")
    book >> spoken("What?", 12_000) << says("ask_again") >> hears("caller:ask:3") >> key("1", 20_000)
    book << verdict("granted") << says("granted")
    book.end()


def test_where_nobody_could_listen_a_key_is_asked_for() -> None:
    book = heard() >> spoken("", failed=True) << do.StopTimer("answer:caller:1")
    book << speech("failed", decision="give_up", meaning="failed") << do.PlayPrompt(CALLER, "ask_again", "caller:ask:2")
    book >> hears("caller:ask:2") >> fires("answer:caller:2") << verdict("unclear") << says("refused")
    book.end()


def test_a_monologue_is_no_answer() -> None:
    book = heard() >> spoken(None) << do.StopTimer("answer:caller:1") << speech("no_text", decision="repeat")
    (book << says("ask_again_spoken")).end()


def test_an_answer_over_the_prompt_stops_it_and_counts_when_enough_was_heard() -> None:
    book = asked() >> spoken("No.", 4_000) << do.StopPrompt(CALLER, "caller:ask:1")
    book >> ended("caller:ask:1", 4_500) << entry("prompt.played", played_ms=4_500)
    book << speech("has_no_word", decision="no") << verdict("refused") << says("refused")
    book.end()


def test_an_answer_over_the_prompt_does_not_count_when_too_little_was_heard() -> None:
    book = asked() >> spoken("Yes, I agree.", 4_000) << do.StopPrompt(CALLER, "caller:ask:1")
    book >> ended("caller:ask:1", 2_999) << speech("too little of the prompt was heard", False)
    assert not book.entries("answer.speech")[0].personal
    (book << says("ask_again_spoken")).end()


def test_what_was_begun_before_the_question_was_heard_does_not_count() -> None:
    book = asked() >> spoken("Yes, I agree.", 2_999) << speech("said before the asking sentence was heard", False)
    assert not book.entries("answer.speech")[0].personal, "what it was is nobody's business"
    book.end()


def test_what_belongs_to_the_last_question_does_not_answer_this_one() -> None:
    book = heard() >> fires("answer:caller:1") << says("ask_again_spoken") >> starts("caller:ask:2", 10_000)
    book >> ended("caller:ask:2") >> spoken("Yes, I agree.", 9_000)
    (book << speech("said before the asking sentence was heard", False)).end()


def test_what_is_unclear_stops_no_prompt() -> None:
    book = asked() >> spoken("What?", 4_000) << speech("said over the prompt, and no answer", False)
    book >> ended("caller:ask:1") << do.StartTimer("answer:caller:1", 6_000)
    assert book.call.parties[CALLER].utterances == 0
    book.end()


def test_a_yes_over_our_own_prompt_is_asked_back() -> None:
    """The prompt says "yes, I agree" itself: what comes back of it must never be consent."""
    book = asked() >> spoken("Yes, I agree.", 4_000, over_prompt=True) << do.StopPrompt(CALLER, "caller:ask:1")
    book >> ended("caller:ask:1", 4_500) << speech("over_our_own_prompt", decision="confirm")
    book << says("confirm_spoken") >> starts("caller:ask:2", 6_000)
    book >> spoken("Yes, I agree.", 9_500, over_prompt=True) << speech("said over the prompt, and no answer", False)
    book >> ended("caller:ask:2") << do.StartTimer("answer:caller:2", 6_000)
    book >> spoken("Yes, I agree.", 13_000) << verdict("granted") << says("granted")
    book.end()


def test_a_no_over_our_own_prompt_is_no() -> None:
    book = heard() >> spoken("No.", over_prompt=True) << verdict("refused") << says("refused")
    book.end()


def test_a_key_wins_over_what_is_still_being_listened_to() -> None:
    book = heard() >> key("2", 7_000) << verdict("refused") << says("refused") >> spoken("Yes, I agree.")
    assert not book.entries("answer.speech")
    book.end()


def test_who_speaks_may_finish_and_noises_do_not_keep_the_window_open() -> None:
    book = heard()
    for _ in range(MOST_EXTENSIONS):
        book >> ev.SpeechBegan(at_ns=0, leg=CALLER) << do.StartTimer("answer:caller:1", 6_000)
    opened = len(book.commands(do.StartTimer))
    book >> ev.SpeechBegan(at_ns=0, leg=CALLER)
    assert len(book.commands(do.StartTimer)) == opened == MOST_EXTENSIONS + 1
    book >> fires("answer:caller:1") << says("ask_again_spoken")
    book >> hears("caller:ask:2") << do.StartTimer("answer:caller:2", 6_000)
    (book >> ev.SpeechBegan(at_ns=0, leg=CALLER) << do.StartTimer("answer:caller:2", 6_000)).end()


@pytest.mark.parametrize(("window_ms", "expected"), [(800, FINISH_MS), (9_000, 9_000)])
def test_a_short_answer_window_is_long_enough_for_who_speaks_in_it(window_ms: int, expected: int) -> None:
    book = asked(answer_timeout_ms=window_ms) >> ended("caller:ask:1") << do.StartTimer("answer:caller:1", window_ms)
    (book >> ev.SpeechBegan(at_ns=0, leg=CALLER) << do.StartTimer("answer:caller:1", expected)).end()


def test_nobody_but_the_caller_answers() -> None:
    book = heard() >> spoken("Yes, I agree.", leg=AGENT) >> ev.SpeechBegan(at_ns=0, leg=AGENT)
    assert not book.entries("answer.speech") and book.call.verdict == "pending"
    book.end()


def test_where_the_question_is_for_keys_nothing_said_counts() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << says("ask") >> hears("caller:ask:1")
    opened = len(book.commands(do.StartTimer))
    book >> ev.SpeechBegan(at_ns=0, leg=CALLER) >> spoken("Yes, I agree.")
    book << speech("said before the asking sentence was heard", False)
    assert book.call.verdict == "pending" and len(book.commands(do.StartTimer)) == opened
    book.end()


def test_notes_of_what_was_said_are_as_few_as_those_of_keys() -> None:
    book = asked()
    for _ in range(NOTES_CAP + 5):
        book >> spoken("What?", 1_000)
    assert len(book.entries("answer.speech")) == NOTES_CAP
    book.end()


@given(st.text(max_size=30), st.booleans(), st.integers(0, 20_000))
def test_no_words_but_those_of_the_list_are_consent(text: str, over_prompt: bool, ms: int) -> None:
    book = heard() >> spoken(text, ms, over_prompt=over_prompt)
    assert book.call.verdict != "granted"
