"""What the policy does not let somebody do to a call: refused, told and written down; and the agent's own affairs."""

import pytest

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, NOTES_CAP
from gateway.domain.rules import FailMode
from tests.unit.domain.playbook import (
    ARRIVES,
    ASK_2,
    TOLD,
    Playbook,
    answers,
    closes,
    entry,
    gone,
    hears,
    keys,
    pause,
    paused,
    pauses,
    recording,
    refused,
    resume,
    resumes,
    says,
    seen,
    verdict,
)

WHY = "the policy does not let a supervisor"


def known(*, declined: bool = False, **barred: str) -> ev.AgentsKnown:
    return ev.AgentsKnown(at_ns=0, barred=barred, declined=declined)


def asks(kind: type[ev.Event], barred: str = WHY, request: str = "r", **fields: str) -> ev.Event:
    return kind(at_ns=0, actor="supervisor:9", request=request, barred=barred, **fields)  # type: ignore[call-arg]


REFUSAL = do.Reply("r", False, "not_authorised", WHY)


@pytest.mark.parametrize(
    ("book", "event", "act"),
    [
        (recording, asks(ev.PauseRequested, reason="supervisor"), "pause"),
        (paused, asks(ev.ResumeRequested, reason="agent_key"), "resume"),
        (recording, asks(ev.WithdrawRequested, party=CALLER), "withdraw"),
        (refused, asks(ev.ReconsentRequested, party=CALLER), "record"),
        (recording, asks(ev.PauseRequested, reason="private_call"), "private"),
        (refused, asks(ev.PauseRequested, reason="supervisor"), "pause"),
    ],
    ids=["pause", "resume", "withdraw", "record", "private", "nothing to pause"],
)
def test_a_request_that_the_policy_bars_changes_nothing_and_is_written_down(
    book: type[Playbook], event: ev.Event, act: str
) -> None:
    call = book() >> event << entry("control.refused", act=act, actor="supervisor:9", because=WHY) << REFUSAL
    call.end()


def test_a_request_that_is_not_barred_is_not_refused() -> None:
    book = recording() >> known(resume="no", record="no", withdraw="no", private="no", pause="no")
    book >> asks(ev.PauseRequested, "", reason="supervisor") << pauses()
    book << entry("hold.set") << do.Reply("r", True, "paused")
    assert not book.entries("control.refused")


def test_an_agent_who_may_not_resume_pauses_for_good() -> None:
    book = recording() >> known(resume="learn first") >> keys("*71", AGENT) << pauses() >> seen("paused")
    book << says("paused", AGENT) >> keys("*72", AGENT)
    book << entry("control.refused", act="resume", actor=AGENT, because="learn first")
    book.end()
    assert "agent_key" in book.call.holds


def test_an_agent_who_may_not_pause_does_not() -> None:
    book = recording() >> known(pause="a statute") >> keys("*71", AGENT) << entry("control.refused", act="pause")
    book.end()
    assert not book.call.holds


def test_what_bars_the_agents_keys_bars_nobody_elses_request() -> None:
    book = recording() >> known(pause="no") >> pause(request="p") << pauses() << do.Reply("p", True, "paused")
    assert not book.entries("control.refused")


def test_another_agent_is_asked_for_anew() -> None:
    book = recording() >> known(pause="no") >> known() >> keys("*71", AGENT) << pauses()
    assert not book.entries("control.refused")


def test_a_caller_is_never_kept_from_what_is_his() -> None:
    book = recording() >> known(withdraw="no", record="no") >> keys("*9") << closes() << says("withdrawn")
    book >> ev.RecorderClosed(at_ns=0, recording="call-1") >> hears("caller:notice:2") >> keys("*1")
    book << do.PlayPrompt(CALLER, "ask", ASK_2)


def test_refusals_do_not_fill_the_log() -> None:
    book = recording() >> known(pause="no")
    for _ in range(NOTES_CAP + 5):
        book >> keys("*71", AGENT)
    assert len(book.entries("control.refused")) == NOTES_CAP


def test_what_a_call_is_not_asked_about_is_written_down_too() -> None:
    book = recording() >> ev.ActRefused(at_ns=0, act="export", actor="supervisor:9", because=WHY)
    (book << entry("control.refused", act="export", actor="supervisor:9", because=WHY)).end()


# --- an agent who declined to be recorded ----------------------------------------------------------------------------


def test_with_an_agent_who_declined_nothing_is_recorded() -> None:
    book = Playbook() >> ARRIVES << do.AnswerCall(CALLER) >> known(declined=True) >> answers(CALLER) << says("ask")
    book >> hears("caller:ask:1") >> keys("1", ms=6_000) << says("granted") >> hears(TOLD)
    book << do.ConnectAgent(AGENT, recorded=False) >> answers(AGENT) << verdict("refused", AGENT)
    book << do.BridgeLegs(CALLER, AGENT) >> pause(request="p") << do.Reply("p", False, "not_recording")
    book.end()
    assert book.call.desired == "off"


@pytest.mark.parametrize("rules", [{"announce": True}, {}], ids=["told", "not told"])
def test_a_call_that_has_to_be_recorded_does_not_reach_an_agent_who_declined(rules: dict[str, bool]) -> None:
    book = Playbook(ask=False, fail_mode=FailMode.REFUSE_CALL, **rules) >> ARRIVES << do.AnswerCall(CALLER)
    book >> known(declined=True) >> answers(CALLER)
    if rules:
        book << says("announced_may_object") >> hears("caller:ask:1")
    book << do.HangUpLeg(CALLER) >> gone(CALLER)
    (
        book
        << entry("call.ended", cause="agent declined to be recorded")
        << do.CallOver("agent declined to be recorded")
    ).end()


def test_who_is_there_already_does_not_decline_any_more() -> None:
    """His call is recorded: to say that it cannot be paused would be a lie."""
    book = recording() >> known(declined=True) >> pause(request="p") << pauses() << do.Reply("p", True, "paused")
    book.end()


# --- an agent's own affair -------------------------------------------------------------------------------------------


def private(**rules: object) -> Playbook:
    """A recorded call that its agent has made his own affair."""
    book = recording(private_code="*70", **rules) >> keys("*70", AGENT) << pauses()
    book << entry("hold.set", hold="private_call", reason="private_call", actor=AGENT, expires_in_ms=0)
    return book >> seen("paused") << says("paused", AGENT)


def test_a_private_call_is_paused_without_a_limit_until_its_agent_ends_it() -> None:
    book = private(pause_limit_ms=60_000)
    assert not any(timer.timer.startswith("hold:") for timer in book.commands(do.StartTimer))  # type: ignore[attr-defined]
    book >> resume(request="r") << do.Reply("r", True, "still_paused") >> keys("*72", AGENT)
    book.end()
    book >> keys("*70", AGENT) << entry("hold.cleared", hold="private_call") << resumes()


def test_a_private_call_and_a_pause_are_two_reasons() -> None:
    book = private() >> keys("*71", AGENT) << entry("hold.set", hold="agent_key") >> keys("*70", AGENT)
    book.end()
    book >> keys("*72", AGENT) << resumes()


def test_a_private_call_may_be_barred() -> None:
    book = recording(private_code="*70") >> known(private="a duty to record") >> keys("*70", AGENT)
    (book << entry("control.refused", act="private", actor=AGENT, because="a duty to record")).end()


def test_without_a_key_for_it_there_is_no_private_call() -> None:
    (recording() >> keys("*70", AGENT) << do.RelayDigits(CALLER, "*70")).end()


def test_the_callers_line_has_no_key_for_a_private_call() -> None:
    book = recording(private_code="*70") >> keys("*70", CALLER) << do.RelayDigits(AGENT, "*7")
    (book << do.RelayDigits(AGENT, "0")).end()


def test_a_private_call_of_an_agent_who_is_gone_holds_nothing_up() -> None:
    book = private() >> gone(AGENT) << closes() << do.HangUpLeg(CALLER)
    assert book.call.holds
