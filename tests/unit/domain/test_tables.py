"""The tables are the code, so every row must be used: by a call where one can reach it, by a value where none can."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import commands as do
from gateway.domain import consent as consents
from gateway.domain import events as ev
from gateway.domain.codes import match_code
from gateway.domain.consent import COVERED, DIALOGUE, TRANSITIONS, UNCOVERED, Consent, State, Verdict, step
from gateway.domain.recording import (
    AWAITED,
    LIVE,
    MAY_WRITE,
    RECONCILIATION,
    WHEN_DURABLE,
    WHEN_OBSERVED,
    Act,
    Hold,
    Recorder,
    RecorderState,
    Stage,
    desired_state,
)
from gateway.domain.rules import Rules
from gateway.domain.spoken import Hearing, Hypothesis

RULES = Rules()
OFF, ON, PAUSED = RecorderState.OFF, RecorderState.ON, RecorderState.PAUSED
PARTY = Consent("caller", attempt=1, plays=1, started_ns=0, heard_ms=5_000)
SPENT = replace(PARTY, attempt=2, repeats=3)


def press(value: str, ms: int = 6_000) -> ev.DigitPressed:
    return ev.DigitPressed(at_ns=ms * 1_000_000, leg="caller", value=value)


def played(ms: int, *, completed: bool = False, play: str = "caller:ask:1") -> ev.PromptFinished:
    return ev.PromptFinished(at_ns=0, play=play, played_ms=ms, length_ms=5_000, completed=completed)


def waiting(value: str, party: Consent = PARTY) -> Consent:
    return replace(party, state=State.DECIDING, answer=press(value))


def at(state: State, party: Consent = PARTY) -> Consent:
    return replace(party, state=state)


ASKED = ev.AskStarted(at_ns=0)
LEFT = ev.PartyLeft(at_ns=0)
BEGAN = ev.PromptStarted(at_ns=9, play="caller:ask:1")
RANG = ev.TimerFired(at_ns=0, timer="answer:caller:1")
TAKEN_BACK = ev.WithdrawRequested(at_ns=0, party="caller", actor="caller")
ANEW = ev.ReconsentRequested(at_ns=0, party="caller", actor="caller")

STEPS: list[tuple[Consent, ev.Event, State]] = [
    (at(State.NOT_ASKED), ASKED, State.ASKING),
    (at(State.NOT_ASKED), press("1"), State.NOT_ASKED),
    (at(State.NOT_ASKED), LEFT, State.UNANSWERED),
    (at(State.ASKING), BEGAN, State.ASKING),
    (at(State.ASKING), press("1", 2_999), State.ASKING),
    (at(State.ASKING), press("1", 3_000), State.DECIDING),
    (at(State.ASKING), press("7"), State.ASKING),
    (at(State.ASKING), played(5_000, completed=True), State.LISTENING),
    (at(State.ASKING), played(4_999), State.ASKING),
    (at(State.ASKING, SPENT), played(4_999), State.UNANSWERED),
    (at(State.ASKING), TAKEN_BACK, State.WITHDRAWN),
    (at(State.ASKING), LEFT, State.UNANSWERED),
    (waiting("1"), press("2"), State.DECIDING),
    (waiting("1"), played(3_000), State.GRANTED),
    (waiting("2"), played(3_000), State.REFUSED),
    (waiting("3"), played(3_000), State.ASKING),
    (waiting("1"), played(2_999), State.ASKING),
    (waiting("1", SPENT), played(2_999), State.UNANSWERED),
    (waiting("1"), TAKEN_BACK, State.WITHDRAWN),
    (waiting("1"), LEFT, State.UNANSWERED),
    (at(State.LISTENING), press("1"), State.GRANTED),
    (at(State.LISTENING), press("2"), State.REFUSED),
    (at(State.LISTENING), press("3"), State.ASKING),
    (at(State.LISTENING), press("7"), State.ASKING),
    (at(State.LISTENING, SPENT), press("7"), State.UNCLEAR),
    (at(State.LISTENING), RANG, State.ASKING),
    (at(State.LISTENING, replace(SPENT, wrong_keys=1)), RANG, State.UNCLEAR),
    (at(State.LISTENING, SPENT), RANG, State.UNANSWERED),
    (at(State.LISTENING), TAKEN_BACK, State.WITHDRAWN),
    (at(State.LISTENING), LEFT, State.UNANSWERED),
    (at(State.GRANTED), press("2"), State.REFUSED),
    (at(State.GRANTED), press("1"), State.GRANTED),
    (at(State.GRANTED), TAKEN_BACK, State.WITHDRAWN),
    (at(State.NOT_REQUIRED), TAKEN_BACK, State.WITHDRAWN),
    (at(State.NOT_REQUIRED), press("1"), State.NOT_REQUIRED),
    *((at(state), ANEW, State.ASKING) for state in UNCOVERED),
    *((at(state), press("1"), state) for state in UNCOVERED),
]

STANDS_STILL: list[tuple[Consent, ev.Event]] = [
    (at(State.ASKING), played(5_000, completed=True, play="caller:ask:0")),
    (at(State.ASKING), ev.PromptStarted(at_ns=9, play="caller:ask:0")),
    (waiting("1"), played(5_000, play="caller:ask:0")),
    (at(State.LISTENING), ev.TimerFired(at_ns=0, timer="answer:caller:0")),
    (at(State.LISTENING, replace(SPENT, wrong_keys=1)), ev.TimerFired(at_ns=0, timer="answer:caller:0")),
    (at(State.LISTENING), played(5_000, completed=True)),
    (at(State.GRANTED), ANEW),
    (at(State.NOT_REQUIRED), ANEW),
    (at(State.GRANTED), LEFT),
    (at(State.REFUSED), TAKEN_BACK),
    (at(State.WITHDRAWN), LEFT),
]


TELLS = replace(RULES, ask=False, announce=True)
TOLD: list[tuple[Consent, ev.Event, State]] = [
    (at(State.NOT_ASKED), ASKED, State.ANNOUNCING),
    (at(State.ANNOUNCING), played(5_000, completed=True), State.NOT_REQUIRED),
    (at(State.ANNOUNCING), played(4_999), State.ANNOUNCING),
    (at(State.ANNOUNCING, SPENT), played(4_999), State.UNANSWERED),
    (at(State.ANNOUNCING), press("1"), State.ANNOUNCING),
    (at(State.ANNOUNCING), TAKEN_BACK, State.WITHDRAWN),
    (at(State.ANNOUNCING), LEFT, State.UNANSWERED),
]


@pytest.mark.parametrize(("before", "event", "target"), TOLD)
def test_each_row_of_telling_leads_where_it_should(before: Consent, event: ev.Event, target: State) -> None:
    assert step(before, event, TELLS)[0].state is target


@pytest.mark.parametrize("finished", [played(5_000, completed=True, play="caller:ask:0"), played(1, play="x")])
def test_the_end_of_another_prompt_tells_nobody_anything(finished: ev.PromptFinished) -> None:
    for party in (at(State.ANNOUNCING), at(State.ANNOUNCING, SPENT)):
        assert step(party, finished, TELLS) == (party, [])


@pytest.mark.parametrize("may_withdraw", [True, False])
def test_the_announcement_offers_a_way_out_where_there_is_one(may_withdraw: bool) -> None:
    rules = replace(TELLS, may_withdraw=may_withdraw)
    prompt = "announced_may_object" if may_withdraw else "announced"
    told, commands = step(Consent("caller"), ASKED, rules)
    assert commands == [do.PlayPrompt("caller", prompt, "caller:ask:1")] and told.attempt == 1
    _, (logged,) = step(told, played(5_000, completed=True), rules)
    assert isinstance(logged, do.AppendEvidence) and logged.facts["prompt"] == prompt
    assert (step(told, TAKEN_BACK, rules)[0].state is State.WITHDRAWN) is may_withdraw


VOICE = replace(RULES, by_voice=True, minimum_heard_spoken_ms=4_000, minimum_heard_confirm_ms=1_000)
ASKED_BY_VOICE = replace(PARTY, by_voice=True)
ASKED_BACK = replace(ASKED_BY_VOICE, confirming=True, utterances=1)
YES = ("Yes, I agree.",)


def said(
    *passes: str, ms: int = 6_000, over_prompt: bool = False, failed: bool = False, score: float = -0.1
) -> ev.AnswerSpoken:
    hearings = tuple(Hearing(8_000, 0.01, (Hypothesis(text, score),)) for text in passes)
    return ev.AnswerSpoken(
        at_ns=(ms + 2_000) * 1_000_000,
        leg="caller",
        began_ns=ms * 1_000_000,
        hearings=None if failed else hearings,
        over_prompt=over_prompt,
    )


def kept(*passes: str, party: Consent = ASKED_BY_VOICE, over_prompt: bool = False) -> Consent:
    return replace(party, state=State.DECIDING, answer=said(*passes, over_prompt=over_prompt))


BEGAN_TO_SPEAK = ev.SpeechBegan(at_ns=0, leg="caller")
SPOKEN: list[tuple[Consent, ev.Event, State]] = [
    (at(State.ASKING), said(*YES), State.ASKING),
    (at(State.ASKING, ASKED_BY_VOICE), said(*YES, ms=3_999), State.ASKING),
    (at(State.ASKING, replace(ASKED_BY_VOICE, heard_ms=0)), said(*YES, ms=4_000), State.DECIDING),
    (at(State.ASKING, ASKED_BY_VOICE), said("No."), State.DECIDING),
    (at(State.ASKING, ASKED_BY_VOICE), said("Okay."), State.DECIDING),
    (at(State.ASKING, ASKED_BY_VOICE), said("What was that?"), State.ASKING),
    (at(State.ASKING, ASKED_BY_VOICE), said(), State.ASKING),
    (at(State.ASKING, ASKED_BY_VOICE), said(failed=True), State.ASKING),
    (kept(*YES), played(4_000), State.GRANTED),
    (kept(*YES, over_prompt=True), played(4_000), State.ASKING),
    (kept("No."), played(4_000), State.REFUSED),
    (kept("Okay."), played(4_000), State.ASKING),
    (kept(*YES), played(3_999), State.ASKING),
    (kept(*YES, party=replace(SPENT, by_voice=True)), played(2_999), State.UNANSWERED),
    (kept(*YES), said("No."), State.DECIDING),
    (at(State.LISTENING, ASKED_BY_VOICE), BEGAN_TO_SPEAK, State.LISTENING),
    (at(State.LISTENING, ASKED_BY_VOICE), said(*YES, ms=3_999), State.LISTENING),
    (at(State.LISTENING), said(*YES), State.LISTENING),
    (at(State.LISTENING, ASKED_BY_VOICE), said(*YES), State.GRANTED),
    (at(State.LISTENING, ASKED_BY_VOICE), said("No."), State.REFUSED),
    (at(State.LISTENING, ASKED_BY_VOICE), said("Okay."), State.ASKING),
    (at(State.LISTENING, ASKED_BY_VOICE), said(*YES, over_prompt=True), State.ASKING),
    (at(State.LISTENING, ASKED_BY_VOICE), said("Yes, but not the recording."), State.ASKING),
    (at(State.LISTENING, replace(SPENT, by_voice=True)), said("What?"), State.ASKING),
    (at(State.LISTENING, ASKED_BACK), said("Okay.", "Okay."), State.GRANTED),
    (at(State.LISTENING, ASKED_BACK), said("Okay."), State.ASKING),
    (at(State.LISTENING, ASKED_BACK), said("No."), State.REFUSED),
    (at(State.LISTENING, ASKED_BACK), said(*YES, over_prompt=True), State.ASKING),
    (at(State.LISTENING, replace(SPENT, by_voice=True, utterances=1)), RANG, State.UNCLEAR),
    (at(State.GRANTED, ASKED_BY_VOICE), said("No."), State.REFUSED),
]


@pytest.mark.parametrize(("before", "event", "target"), SPOKEN)
def test_each_row_of_a_spoken_answer_leads_where_it_should(before: Consent, event: ev.Event, target: State) -> None:
    assert step(before, event, VOICE)[0].state is target


@pytest.mark.parametrize(("before", "event", "target"), STEPS)
def test_each_row_leads_where_it_should(before: Consent, event: ev.Event, target: State) -> None:
    assert step(before, event, RULES)[0].state is target


@pytest.mark.parametrize(("before", "event"), STANDS_STILL)
def test_what_no_row_names_changes_nothing(before: Consent, event: ev.Event) -> None:
    assert step(before, event, RULES) == (before, [])


def test_the_steps_above_use_every_row() -> None:
    used = set()
    for rules, before, event, _ in [
        *((RULES, *s) for s in STEPS),
        *((TELLS, *s) for s in TOLD),
        *((VOICE, *s) for s in SPOKEN),
    ]:
        rows = (r for r in TRANSITIONS if r.state is before.state and isinstance(event, r.event))
        used.add(TRANSITIONS.index(next(row for row in rows if row.guard(before, event, rules))))
    assert used == set(range(len(TRANSITIONS)))


@given(st.sampled_from(State), st.sampled_from([event for _, event, _ in STEPS]), st.integers(0, 6_000))
def test_only_an_accept_key_leads_to_granted(state: State, event: ev.Event, heard_ms: int) -> None:
    before = replace(PARTY, state=state, heard_ms=heard_ms, answer=press("2") if state is State.DECIDING else None)
    after, _ = step(before, event, RULES)
    if after.state is State.GRANTED and state is not State.GRANTED:
        assert state is State.LISTENING and heard_ms >= RULES.minimum_heard_ms
        assert isinstance(event, ev.DigitPressed) and event.value in RULES.accept_keys


def test_an_accept_key_needs_enough_heard_in_the_answer_window() -> None:
    """No call reaches this: the window opens only after enough was heard. The guard asks again, and this holds it."""
    short = at(State.LISTENING, replace(PARTY, heard_ms=2_999))
    assert step(short, press("1"), RULES)[0].state is State.ASKING


def test_a_spoken_yes_needs_enough_heard_in_the_answer_window() -> None:
    short = at(State.LISTENING, replace(ASKED_BY_VOICE, heard_ms=3_999))
    assert step(short, said(*YES), VOICE)[0].state is State.ASKING


def test_every_state_has_one_verdict() -> None:
    assert {state for state in State if state.verdict is Verdict.PENDING} == DIALOGUE
    assert {state.verdict for state in State} == set(Verdict)
    assert {state.verdict for state in UNCOVERED} == set(Verdict) - COVERED - {Verdict.PENDING}
    assert {Verdict.GRANTED, Verdict.NOT_REQUIRED} == COVERED


def test_every_guard_and_action_explains_itself() -> None:
    for row in TRANSITIONS:
        assert row.guard.__doc__ and all(action.__doc__ for action in row.actions)
    assert consents.always(PARTY, LEFT, RULES)


# --- the recorder ----------------------------------------------------------------------------------------------------

WANTED = {
    (Stage.IDLE, ON): (Stage.OPEN_WAITS, Act.LOG_OPEN),
    (Stage.OPEN_WAITS, OFF): (Stage.IDLE, Act.NOTHING),
    (Stage.OPEN_WAITS, PAUSED): (Stage.IDLE, Act.NOTHING),
    (Stage.OPENING, PAUSED): (Stage.PAUSING, Act.PAUSE),
    (Stage.ON, PAUSED): (Stage.PAUSING, Act.PAUSE),
    (Stage.RESUMING, PAUSED): (Stage.PAUSING, Act.PAUSE),
    (Stage.RESUME_WAITS, PAUSED): (Stage.PAUSED, Act.NOTHING),
    (Stage.PAUSED, ON): (Stage.RESUME_WAITS, Act.LOG_RESUME),
    **{
        (stage, OFF): (Stage.CLOSING, Act.CLOSE)
        for stage in (Stage.OPENING, Stage.ON, Stage.PAUSING, Stage.PAUSED, Stage.RESUME_WAITS, Stage.RESUMING)
    },
}
MEANS = {
    (Stage.OPENING, ON): Stage.ON,
    (Stage.RESUMING, ON): Stage.ON,
    (Stage.PAUSING, PAUSED): Stage.PAUSED,
}
EXPECTED_LATE = {
    (Stage.PAUSING, ON),
    (Stage.CLOSING, ON),
    (Stage.CLOSING, PAUSED),
    (Stage.RESUMING, PAUSED),
    (Stage.RESUME_WAITS, PAUSED),
    (Stage.ON, ON),
    (Stage.PAUSED, PAUSED),
}


@pytest.mark.parametrize(("stage", "desired"), [*product(Stage, RecorderState)])
def test_reconciliation_does_this_and_nothing_else(stage: Stage, desired: RecorderState) -> None:
    after, act = Recorder(stage, ON, 4).reconcile(desired)
    wanted = WANTED.get((stage, desired), (stage, Act.NOTHING))
    assert (after.stage, act) == wanted
    assert after.ordinal == (5 if act is Act.LOG_OPEN else 4)
    assert after.observed is ON


@pytest.mark.parametrize("stage", Stage)
def test_only_what_waits_acts_on_durability(stage: Stage) -> None:
    after, act = Recorder(stage).durable()
    waits = {Stage.OPEN_WAITS: (Stage.OPENING, Act.OPEN), Stage.RESUME_WAITS: (Stage.RESUMING, Act.RESUME)}
    assert (after.stage, act) == waits.get(stage, (stage, Act.NOTHING))


@pytest.mark.parametrize(("stage", "state"), [*product(Stage, RecorderState)])
def test_an_observation_confirms_or_is_late_or_contradicts(stage: Stage, state: RecorderState) -> None:
    after, contradiction = Recorder(stage).observe(state)
    assert after.observed is state
    assert after.stage is MEANS.get((stage, state), stage)
    assert contradiction is not ((stage, state) in MEANS or (stage, state) in EXPECTED_LATE)


def test_the_tables_hold_nothing_else() -> None:
    assert dict(RECONCILIATION) == WANTED
    assert set(WHEN_DURABLE) == {Stage.OPEN_WAITS, Stage.RESUME_WAITS}
    assert set(WHEN_OBSERVED) <= set(MEANS) | EXPECTED_LATE
    assert MAY_WRITE < LIVE and LIVE.isdisjoint({Stage.IDLE, Stage.OPEN_WAITS, Stage.CLOSING, Stage.FAILED})
    assert {Stage.OPENING, Stage.PAUSING, Stage.RESUMING, Stage.CLOSING} == AWAITED


@given(st.lists(st.sampled_from(Verdict)), st.lists(st.builds(Hold, st.text(), st.text(), st.integers())))
def test_desired_state_is_on_only_for_covered_parties_without_a_hold(
    verdicts: list[Verdict], holds: list[Hold]
) -> None:
    covered = bool(verdicts) and set(verdicts) <= COVERED
    assert desired_state(iter(verdicts), iter(holds)) is ((PAUSED if holds else ON) if covered else OFF)


# --- codes -----------------------------------------------------------------------------------------------------------

CODES = st.lists(st.text("12*#", min_size=1, max_size=4), max_size=4)
TYPED = st.text("12*#9", max_size=12)


def typed(text: str, codes: list[str]) -> tuple[list[str], str, str]:
    """Feed *text* digit by digit: (codes found, digits passed on, still pending)."""
    found, passed, pending = [], "", ""
    for value in text:
        match = match_code(pending, value, codes)
        passed, pending = passed + match.passed, match.pending
        found += [match.code] if match.code else []
    return found, passed, pending


@given(TYPED, CODES)
def test_no_digit_is_lost_or_invented(text: str, codes: list[str]) -> None:
    found, passed, pending = typed(text, codes)
    assert sorted("".join(found) + passed + pending) == sorted(text)
    assert set(found) <= set(codes)


@given(TYPED, CODES)
def test_what_is_pending_may_still_become_a_code(text: str, codes: list[str]) -> None:
    _, _, pending = typed(text, codes)
    assert pending == "" or any(code.startswith(pending) and code != pending for code in codes)
    assert text.endswith(pending)


@given(TYPED, CODES.filter(bool), st.data())
def test_a_code_is_found_behind_anything_that_is_no_code(text: str, codes: list[str], data: st.DataObject) -> None:
    """A code whose first key stands in it once, typed behind digits that cannot begin any."""
    code = data.draw(st.sampled_from([*codes, "#12"]))
    alone = [code] if code[0] not in code[1:] else ["*9"]
    lead = "".join(value for value in text if value not in alone[0])
    assert typed(lead + alone[0], alone) == (alone, lead, "")


@given(TYPED)
def test_without_codes_every_digit_passes_at_once(text: str) -> None:
    assert typed(text, []) == ([], text, "")
    assert typed(text, [""]) == ([], text, "")
