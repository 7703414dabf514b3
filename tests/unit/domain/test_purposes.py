"""Purposes that are asked for one by one, and whatever would do something for them."""

from typing import Any

import pytest

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, MOST_SINKS, NOTES_CAP, Phase
from gateway.domain.pbx_call import CHANNEL
from gateway.domain.rules import FailMode
from gateway.domain.spoken import Hearing, Hypothesis
from tests.unit.domain.playbook import (
    ASK,
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
    keys,
    listening,
    opens,
    pause,
    pauses,
    reconsent,
    recording,
    resume,
    resumes,
    says,
    seen,
    starts,
    verdict,
    withdraw,
)
from tests.unit.domain.test_pbx_call import AGAIN, RETURNED, PbxBook, asked

TWO: dict[str, Any] = {
    "one_by_one": True,
    "purposes": ("recording", "analysis", "sharing"),
    "minimum_also_ms": (("analysis", 2_000), ("sharing", 3_000)),
}
ASK_2, ASK_3 = "caller:ask:2", "caller:ask:3"


def purposes(*granted: str, asked: str = "", answer: str = "") -> Any:
    facts: dict[str, Any] = {"purposes": {name: name in granted for name in TWO["purposes"]}}
    if asked:
        facts |= {"asked": asked, "answer": answer}
    return entry("verdict", party=CALLER, verdict="granted", **facts)


def further(**rules: Any) -> Playbook:
    """A caller who agreed to be recorded is asked for more."""
    book = listening(**TWO | rules) >> key("1", 6_000) << verdict("granted")
    return book << do.PlayPrompt(CALLER, "also_analysis", ASK_2) >> starts(ASK_2)


def heard_and_says(book: Playbook, play: str, value: str) -> Playbook:
    """He hears the question that is played, and answers."""
    return book >> ends(play) >> key(value, 6_000)


def talks(first: str, second: str) -> Playbook:
    """A recorded call whose caller gave these answers."""
    book = heard_and_says(further(), ASK_2, first) << says("also_sharing") >> starts(ASK_3)
    book = heard_and_says(book, ASK_3, second) << says("granted") >> hears(TOLD)
    book << do.ConnectAgent(AGENT, recorded=True) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT) << opens()
    return book >> seen("on")


def test_each_purpose_has_a_question_and_an_answer_of_its_own() -> None:
    book = further() >> ends(ASK_2) >> key("2", 6_000)
    book << purposes("recording", asked="analysis", answer="refused")
    book << do.PlayPrompt(CALLER, "also_sharing", ASK_3) >> starts(ASK_3) >> ends(ASK_3) >> key("1", 6_000)
    book << purposes("recording", "sharing", asked="sharing", answer="granted") << says("granted")
    book.end()
    assert book.call.phase is Phase.TELLING
    played = [e.facts["prompt"] for e in book.entries("prompt.played")]
    assert played == ["ask", "also_analysis", "also_sharing"]


@pytest.mark.parametrize(
    ("answer", "granted"), [("11", {"analysis", "sharing"}), ("12", {"analysis"}), ("21", {"sharing"}), ("22", set())]
)
def test_what_may_be_done_now_is_what_was_granted_while_nothing_is_paused(answer: str, granted: set[str]) -> None:
    book = talks(*answer)
    wanted = {name: name in {"recording", *granted} for name in TWO["purposes"]}
    assert book.call.purposes == wanted
    book >> pause() << pauses() >> seen("paused") << says("paused", AGENT)
    assert not any(book.call.purposes.values())
    book >> resume() << resumes() >> seen("on") << says("resumed", AGENT)
    assert book.call.purposes == wanted
    book >> withdraw() << closes() << says("withdrawn")
    assert not any(book.call.purposes.values())


def test_before_the_parties_talk_nothing_may_be_done() -> None:
    assert not any(further().call.purposes.values())


def test_a_no_to_recording_is_a_no_to_everything_and_asks_no_more() -> None:
    book = listening(**TWO) >> key("2", 6_000) << verdict("refused") << says("refused")
    book.end()
    assert book.entries("verdict")[0].facts["purposes"] == dict.fromkeys(TWO["purposes"], False)


@pytest.mark.parametrize(("value", "answer"), [("9", "unclear"), ("", "unanswered")])
def test_silence_and_wrong_keys_grant_no_further_purpose(value: str, answer: str) -> None:
    book = further(attempts=1) >> ends(ASK_2)
    book >> (key(value, 6_000) if value else fires("answer:caller:2"))
    book << purposes("recording", asked="analysis", answer=answer) << says("also_sharing")
    book.end()


def test_a_key_before_the_question_was_heard_does_not_count() -> None:
    book = further() >> key("1", 1_999) << digit("pressed before the asking sentence was heard")
    book.end()
    book >> key("1", 2_001) << do.StopPrompt(CALLER, ASK_2) >> ends(ASK_2, 2_001)
    book << purposes("recording", "analysis", asked="analysis", answer="granted") << says("also_sharing")


def test_a_question_is_asked_again_as_often_as_the_first() -> None:
    book = (
        further(attempts=2) >> ends(ASK_2) >> fires("answer:caller:2") << do.PlayPrompt(CALLER, "also_analysis", ASK_3)
    )
    book >> starts(ASK_3) >> ends(ASK_3) >> fires("answer:caller:3")
    book << purposes("recording", asked="analysis", answer="unanswered") << says("also_sharing")


def test_a_question_without_a_prompt_is_unanswered() -> None:
    book = further(attempts=1) >> ends(ASK_2, 0) << purposes("recording", asked="analysis", answer="unanswered")
    book << says("also_sharing")


def test_what_is_said_is_no_answer_to_it() -> None:
    book = Playbook(by_voice=True, **TWO) >> ev.CallArrived(at_ns=0) << do.AnswerCall(CALLER) >> answers(CALLER)
    book << says("ask_spoken") >> hears(ASK) >> key("1", 6_000) << says("also_analysis") >> hears(ASK_2)
    yes = Hearing(8_000, 0.01, (Hypothesis("Yes, I agree.", -0.1),))
    spoken = ev.AnswerSpoken(
        at_ns=9_000_000_000, leg=CALLER, began_ns=8_000_000_000, hearings=(yes,), facts={"number": 0}
    )
    (book >> spoken).end()
    assert book.call.parties[CALLER].verdict == "granted" and not book.entries("verdict")[1:]


def test_keys_of_the_agents_line_are_no_answer_either() -> None:
    book = PbxBook(**TWO)
    assert book.call.handle(ev.DigitPressed(at_ns=0, leg=AGENT, value="1")) == []


def test_withdrawing_while_more_is_asked_takes_everything_back() -> None:
    book = (
        further() >> keys("*9", ms=3_000) << do.StopPrompt(CALLER, ASK_2) << verdict("withdrawn") << says("withdrawn")
    )
    book >> ends(ASK_2, 2_500) >> key("1", 6_000)
    assert book.entries("verdict")[-1].facts["purposes"] == dict.fromkeys(TWO["purposes"], False)
    assert not any(say.prompt == "also_sharing" for say in book.commands(do.PlayPrompt))  # type: ignore[attr-defined]


def test_hanging_up_while_more_is_asked_ends_the_call() -> None:
    book = further() >> gone(CALLER) << entry("call.ended", cause="caller hung up") << do.CallOver("caller hung up")
    book.end()


def test_a_caller_who_changes_his_mind_while_he_is_told_refuses_everything() -> None:
    book = heard_and_says(further(purposes=("recording", "analysis")), ASK_2, "1") << says("granted") >> key("2", 9_000)
    book << verdict("refused")
    assert set(book.entries("verdict")[-1].facts["purposes"].values()) == {False}


def test_consent_anew_in_the_call_is_consent_to_recording() -> None:
    book = talks("1", "1") >> keys("*9") << closes() << verdict("withdrawn") << says("withdrawn") >> closed()
    book >> hears("caller:notice:2") >> keys("*1") << do.PlayPrompt(CALLER, "ask", "caller:ask:4")
    book >> starts("caller:ask:4") >> ends("caller:ask:4") >> key("1", 60_000) << purposes("recording")
    book << says("granted") << opens("call-2")
    book.end()
    assert book.call.purposes == {"recording": True, "analysis": False, "sharing": False}


def test_together_one_answer_is_for_all() -> None:
    book = recording(**TWO | {"one_by_one": False})
    assert book.call.purposes == dict.fromkeys(TWO["purposes"], True)


def test_who_is_told_and_not_asked_is_asked_nothing() -> None:
    book = Playbook(**TWO | {"ask": False, "announce": True, "fail_mode": FailMode.CONNECT_UNRECORDED})
    book >> ev.CallArrived(at_ns=0) << do.AnswerCall(CALLER) >> answers(CALLER) << says("announced_may_object")
    book >> hears(ASK) << verdict("not_required") << do.ConnectAgent(AGENT, recorded=True)
    book.end()


def test_a_caller_of_a_pbx_is_given_back_after_the_last_answer() -> None:
    book = asked(**TWO) >> ends(ASK) >> key("1", 6_000) << says("also_analysis") >> starts(ASK_2)
    book >> ends(ASK_2) >> key("1", 6_000) << says("also_sharing") >> starts(ASK_3)
    book >> ends(ASK_3) >> key("2", 6_000) << says("granted") >> hears(TOLD) << opens()
    assert book.entries("verdict")[-2].facts["purposes"] == {"recording": True, "analysis": True, "sharing": False}


def test_a_caller_whom_a_pbx_sends_again_is_asked_for_everything_again() -> None:
    book = asked(**TWO) >> ends(ASK) >> key("2", 6_000) << says("refused") >> hears(TOLD)
    book << do.ReturnCall(CALLER, "refused") >> RETURNED >> gone(CALLER) >> AGAIN << do.AnswerCall(CALLER)
    book >> answers(CALLER) << do.PlayPrompt(CALLER, "ask", ASK_2) >> starts(ASK_2) >> ends(ASK_2)
    book >> key("1", 6_000) << purposes("recording") << do.PlayPrompt(CALLER, "also_analysis", ASK_3)


def test_a_caller_whose_leg_ends_while_more_is_asked_is_not_recorded_in_a_pbx() -> None:
    book = asked(**TWO) >> ends(ASK) >> key("1", 6_000) << says("also_analysis") >> starts(ASK_2) >> gone(CALLER)
    book.end()
    assert book.call.phase is Phase.TALKING and book.call.desired == "off"
    book >> gone(CHANNEL) << do.CallOver("caller hung up")


# --- sinks -----------------------------------------------------------------------------------------------------------


def sink(name: str = "scribe", purpose: str = "analysis", request: str = "r") -> ev.SinkRequested:
    return ev.SinkRequested(at_ns=0, sink=name, purpose=purpose, actor="sink:7", request=request)


GRANTED = do.Reply("r", True, "granted")


def test_a_sink_may_what_was_granted_and_that_is_written_down_once() -> None:
    book = talks("1", "2") >> sink() << entry("sink.allowed", sink="scribe", purpose="analysis", actor="sink:7")
    book << GRANTED >> sink() << GRANTED
    assert len(book.entries("sink.allowed")) == 1


@pytest.mark.parametrize(
    ("purpose", "because"), [("sharing", "not granted"), ("transcription", "not among the call's purposes")]
)
def test_a_sink_without_a_grant_is_refused_and_that_is_written_down(purpose: str, because: str) -> None:
    book = talks("1", "2") >> sink(purpose=purpose)
    book << entry("sink.refused", sink="scribe", purpose=purpose, actor="sink:7", because=because)
    (book << do.Reply("r", False, "purpose_not_granted", because)).end()


def test_refused_sinks_do_not_fill_the_log() -> None:
    book = talks("2", "2")
    for _ in range(NOTES_CAP + 5):
        book >> sink() << do.Reply("r", False, "purpose_not_granted", "not granted")
    assert len(book.entries("sink.refused")) == NOTES_CAP


def test_a_call_has_a_limit_of_sinks() -> None:
    book = talks("1", "1")
    for number in range(MOST_SINKS):
        book >> sink(f"s{number}") << GRANTED
    (book >> sink("one-more") << do.Reply("r", False, "too_many_sinks")).end()
    book >> sink("s3") << GRANTED


def test_a_withdrawal_ends_every_sink() -> None:
    book = talks("1", "1") >> sink() << GRANTED >> sink(purpose="sharing") << GRANTED >> keys("*9") << closes()
    book << says("withdrawn")
    book << entry("sink.ended", sink="scribe", purpose="analysis") << entry("sink.ended", purpose="sharing")
    book >> closed() >> sink() << do.Reply("r", False, "purpose_not_granted", "not granted")


def test_lost_evidence_ends_every_sink_and_allows_none() -> None:
    book = talks("1", "1") >> sink() << GRANTED
    book.slow_log = True
    book >> ev.LegHeld(at_ns=0, leg=CALLER, held=True)
    (
        book.lose("leg.held")
        << closes()
        << do.RaiseAlarm("evidence_unavailable")
        << entry("sink.ended", purpose="analysis")
    )
    assert not any(book.call.purposes.values())
    book >> sink("late") << do.Reply("r", False, "purpose_not_granted", "not granted")
    assert book.call.phase is Phase.TALKING and not book.entries("sink.allowed")[1:]


def test_at_the_end_of_a_call_no_sink_is_allowed() -> None:
    book = talks("1", "1") >> gone(AGENT) << closes() << do.HangUpLeg(CALLER) >> sink()
    book << do.Reply("r", False, "purpose_not_granted", "not granted")


def test_a_sink_for_recording_needs_the_grant_of_recording() -> None:
    book = recording() >> sink(purpose="recording") << GRANTED
    book.end()
    (recording() >> sink() << do.Reply("r", False, "purpose_not_granted", "not among the call's purposes")).end()


def test_a_refused_caller_asked_anew_has_no_sinks() -> None:
    book = talks("1", "1") >> keys("*9") << closes() << says("withdrawn") >> closed() >> hears("caller:notice:2")
    book >> reconsent() << says("ask") >> sink() << do.Reply("r", False, "purpose_not_granted", "not granted")
