"""One party's consent: events in, commands out.

The rules
---------
1. Only a key of the party's own leg can answer for the party (the aggregate routes digits by leg).
2. A key pressed before the asking sentence was heard (`minimum_heard_ms`) is noted and does not count. What was heard
   is taken from the media process when the prompt ended, never from a wish.
3. Silence is `unanswered`, only wrong keys is `unclear`; both are "not recorded".
4. An answer stands until the party changes it: withdrawal by its code at any time, refusal by the refuse key until
   the conversation begins. A late accept key is noted and does not count; consent later in the call is asked for anew.
5. Nothing else leads to `granted`.
6. Who is told instead of asked (`announce`) may be recorded once he has heard all of it, and not before.

`TRANSITIONS` *is* the machine: the first row whose state, event and guard match is taken. `docs/states.md` is drawn
from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.domain.commands import AppendEvidence, Command, PlayPrompt, StartTimer, StopPrompt, StopTimer
from gateway.domain.events import (
    AskStarted,
    DigitPressed,
    Event,
    PartyLeft,
    PromptFinished,
    PromptStarted,
    ReconsentRequested,
    TimerFired,
    WithdrawRequested,
)
from gateway.domain.rules import Rules


class Verdict(StrEnum):
    """What one party's consent amounts to."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    UNCLEAR = "unclear"
    WITHDRAWN = "withdrawn"
    NOT_REQUIRED = "not_required"


COVERED = frozenset({Verdict.GRANTED, Verdict.NOT_REQUIRED})
"""The verdicts under which a party may be recorded."""


class State(StrEnum):
    """Where the dialogue with one party stands."""

    NOT_ASKED = "not_asked"
    ASKING = "asking"
    ANNOUNCING = "announcing"
    DECIDING = "deciding"
    LISTENING = "listening"
    GRANTED = "granted"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    UNCLEAR = "unclear"
    WITHDRAWN = "withdrawn"
    NOT_REQUIRED = "not_required"

    @property
    def verdict(self) -> Verdict:
        """The verdict this state stands for; every state of an open dialogue is pending."""
        return Verdict.PENDING if self in DIALOGUE else Verdict(self.value)


DIALOGUE = frozenset({State.NOT_ASKED, State.ANNOUNCING, State.ASKING, State.DECIDING, State.LISTENING})
UNCOVERED = (State.REFUSED, State.UNANSWERED, State.UNCLEAR, State.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Consent:
    """One party's machine; a value, replaced by `step`."""

    party: str
    state: State = State.NOT_ASKED
    attempt: int = 0
    repeats: int = 0
    plays: int = 0
    started_ns: int | None = None
    answer: DigitPressed | None = None
    wrong_keys: int = 0
    heard_ms: int = 0
    asked: int = 0
    in_conversation: bool = False

    @property
    def verdict(self) -> Verdict:
        return self.state.verdict

    @property
    def play(self) -> str:
        """The id of the prompt played last for this dialogue."""
        return f"{self.party}:ask:{self.plays}"

    @property
    def timer(self) -> str:
        """The answer timer of the prompt played last: a late one of an earlier prompt cannot be mistaken for it."""
        return f"answer:{self.party}:{self.plays}"


# --- guards: (consent, event, rules) -> bool ---

Guard = Callable[[Consent, Event, Rules], bool]


def _digit(event: Event) -> str:
    assert isinstance(event, DigitPressed)
    return event.value


def always(consent: Consent, event: Event, rules: Rules) -> bool:
    """Every event of that type."""
    return True


def minimum_ms(consent: Consent, rules: Rules) -> int:
    """How much of the present prompt must have been heard: the second prompt has a length of its own."""
    return rules.minimum_heard_ms if consent.attempt <= 1 else rules.minimum_heard_again_ms


def too_early(consent: Consent, event: Event, rules: Rules) -> bool:
    """The asking sentence cannot have been heard yet."""
    heard_ms = 0 if consent.started_ns is None else (event.at_ns - consent.started_ns) // 1_000_000
    return heard_ms < minimum_ms(consent, rules)


def known_key(consent: Consent, event: Event, rules: Rules) -> bool:
    """A key the prompt offers."""
    return _digit(event) in rules.accept_keys | rules.refuse_keys | _repeat_keys(consent, rules)


def accept_key(consent: Consent, event: Event, rules: Rules) -> bool:
    """The accept key, pressed in the answer window after enough was heard."""
    return _digit(event) in rules.accept_keys and consent.heard_ms >= minimum_ms(consent, rules)


def refuse_key(consent: Consent, event: Event, rules: Rules) -> bool:
    """The refuse key."""
    return _digit(event) in rules.refuse_keys


def repeat_key(consent: Consent, event: Event, rules: Rules) -> bool:
    """The repeat key, while repeats are left."""
    return _digit(event) in _repeat_keys(consent, rules)


def _repeat_keys(consent: Consent, rules: Rules) -> frozenset[str]:
    return rules.repeat_keys if consent.repeats < rules.repeats else frozenset()


def attempts_left(consent: Consent, event: Event, rules: Rules) -> bool:
    """The party may be asked once more."""
    return consent.attempt < rules.attempts


def changed_mind(consent: Consent, event: Event, rules: Rules) -> bool:
    """The refuse key before the conversation began."""
    return _digit(event) in rules.refuse_keys and not consent.in_conversation


def may_withdraw(consent: Consent, event: Event, rules: Rules) -> bool:
    """The policy offers withdrawal (or objection) under this basis."""
    return rules.may_withdraw


def announces(consent: Consent, event: Event, rules: Rules) -> bool:
    """The policy tells, and does not ask."""
    return rules.announce


def current_prompt(consent: Consent, event: Event, rules: Rules) -> bool:
    """The event is about the prompt that is playing."""
    assert isinstance(event, PromptStarted | PromptFinished)
    return event.play == consent.play


def current_timer(consent: Consent, event: Event, rules: Rules) -> bool:
    """The answer timer of the present attempt."""
    assert isinstance(event, TimerFired)
    return event.timer == consent.timer


def completed(consent: Consent, event: Event, rules: Rules) -> bool:
    """The prompt was heard to its end, and long enough."""
    assert isinstance(event, PromptFinished)
    return event.completed and event.played_ms >= minimum_ms(consent, rules)


def heard_whole(consent: Consent, event: Event, rules: Rules) -> bool:
    """The announcement that is playing was heard to its end."""
    assert isinstance(event, PromptFinished)
    return event.play == consent.play and event.completed


def heard_and(key: Guard) -> Guard:
    """The media process confirms that enough was heard before the key waiting for a decision."""

    def guard(consent: Consent, event: Event, rules: Rules) -> bool:
        assert isinstance(event, PromptFinished) and consent.answer is not None
        enough = event.played_ms >= minimum_ms(consent, rules)
        return enough and key(replace(consent, heard_ms=event.played_ms), consent.answer, rules)

    guard.__name__ = f"heard_and_{key.__name__}"
    guard.__doc__ = f"Enough was heard, and it was: {(key.__doc__ or '').rstrip('.').lower()}."
    return guard


def both(first: Guard, second: Guard) -> Guard:
    """Both guards hold."""

    def guard(consent: Consent, event: Event, rules: Rules) -> bool:
        return first(consent, event, rules) and second(consent, event, rules)

    guard.__name__ = f"{first.__name__}_and_{second.__name__}"
    guard.__doc__ = f"{(first.__doc__ or '').rstrip('.')}; {(second.__doc__ or '').rstrip('.').lower()}."
    return guard


def only_wrong_keys(consent: Consent, event: Event, rules: Rules) -> bool:
    """Keys were pressed, but none that the prompt offers."""
    return current_timer(consent, event, rules) and consent.wrong_keys > 0


# --- actions: (consent, event, rules) -> (consent, commands) ---

Action = Callable[[Consent, Event, Rules], tuple[Consent, list[Command]]]


def _entry(kind: str, **facts: object) -> AppendEvidence:
    """An entry without its token: the aggregate numbers it."""
    return AppendEvidence(kind=kind, facts=facts, token=0)


def play(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the asking prompt."""
    prompt = "ask" if consent.attempt <= 1 else "ask_again"
    consent = replace(consent, plays=consent.plays + 1, started_ns=None, answer=None, heard_ms=0)
    return consent, [PlayPrompt(consent.party, prompt, consent.play)]


def begin(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Begin a dialogue: first attempt."""
    return play(replace(consent, attempt=1, repeats=0, wrong_keys=0, asked=consent.asked + 1), event, rules)


def announce(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the announcement."""
    consent = replace(consent, attempt=consent.attempt + 1, plays=consent.plays + 1)
    return consent, [PlayPrompt(consent.party, announcement(rules), consent.play)]


def announcement(rules: Rules) -> str:
    """The prompt that tells: it offers the way out where there is one."""
    return "announced_may_object" if rules.may_withdraw else "announced"


def ask_again(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Ask once more: next attempt."""
    return play(replace(consent, attempt=consent.attempt + 1, wrong_keys=0), event, rules)


def repeat(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the prompt again without using up an attempt."""
    return play(replace(consent, repeats=consent.repeats + 1), event, rules)


def mark_start(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Remember when the prompt began."""
    return replace(consent, started_ns=event.at_ns), []


def log_prompt(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down what was heard."""
    assert isinstance(event, PromptFinished)
    prompt = announcement(rules) if rules.announce else "ask" if consent.attempt <= 1 else "ask_again"
    entry = _entry(
        "prompt.played",
        party=consent.party,
        prompt=prompt,
        attempt=consent.attempt,
        played_ms=event.played_ms,
        length_ms=event.length_ms,
        completed=event.completed,
    )
    return replace(consent, heard_ms=event.played_ms), [entry]


def listen(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Open the answer window."""
    return consent, [StartTimer(consent.timer, rules.answer_timeout_ms)]


def stop_prompt(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Cut the prompt short."""
    return consent, [StopPrompt(consent.party, consent.play)]


def stop_timer(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Close the answer window."""
    return consent, [StopTimer(consent.timer)]


def keep_answer(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Keep the key until it is known how much was heard."""
    assert isinstance(event, DigitPressed)
    return replace(consent, answer=event), []


def count_wrong_key(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Remember that a key without meaning was pressed."""
    return replace(consent, wrong_keys=consent.wrong_keys + 1), []


def digit_entry(digit: DigitPressed, counted: bool, because: str) -> AppendEvidence:
    """The entry for one key press. A digit that did not count may be part of a card number: it is not written."""
    facts: dict[str, object] = {"leg": digit.leg, "transport": digit.transport, "counted": counted, "because": because}
    if counted:
        facts["key"] = digit.value
    return AppendEvidence(kind="answer.digit", facts=facts, token=0)


def note(because: str) -> Action:
    """Write down a key that does not count, and why."""

    def action(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
        assert isinstance(event, DigitPressed)
        return consent, [digit_entry(event, False, because)]

    action.__doc__ = f"Note the key: {because}."
    return action


def count_digit(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down the key that counts."""
    digit = event if isinstance(event, DigitPressed) else consent.answer
    assert digit is not None
    return replace(consent, answer=None), [digit_entry(digit, True, "answer")]


def discard_answer(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down that the kept key does not count after all."""
    assert consent.answer is not None
    return replace(consent, answer=None), [digit_entry(consent.answer, False, "too little of the prompt was heard")]


# --- the table ---


@dataclass(frozen=True, slots=True)
class Transition:
    """In *state*, when *event* comes and *guard* holds: do *actions* in order and go to *target*."""

    state: State
    event: type[Event]
    guard: Guard
    target: State
    actions: tuple[Action, ...] = ()


def _rows() -> Iterable[Transition]:
    t, s = Transition, State
    early = note("pressed before the asking sentence was heard")
    wrong = note("not a key the prompt offers")
    late = note("pressed outside the question")
    busy = note("an answer is being decided")
    again = both(current_prompt, attempts_left)

    yield t(s.NOT_ASKED, AskStarted, announces, s.ANNOUNCING, (announce,))
    yield t(s.NOT_ASKED, AskStarted, always, s.ASKING, (begin,))
    yield t(s.NOT_ASKED, DigitPressed, always, s.NOT_ASKED, (early,))
    yield t(s.NOT_ASKED, PartyLeft, always, s.UNANSWERED)

    yield t(s.ANNOUNCING, PromptFinished, heard_whole, s.NOT_REQUIRED, (log_prompt,))
    yield t(s.ANNOUNCING, PromptFinished, again, s.ANNOUNCING, (log_prompt, announce))
    yield t(s.ANNOUNCING, PromptFinished, current_prompt, s.UNANSWERED, (log_prompt,))
    yield t(s.ANNOUNCING, DigitPressed, always, s.ANNOUNCING, (late,))
    yield t(s.ANNOUNCING, WithdrawRequested, may_withdraw, s.WITHDRAWN, (stop_prompt,))
    yield t(s.ANNOUNCING, PartyLeft, always, s.UNANSWERED)

    yield t(s.ASKING, PromptStarted, current_prompt, s.ASKING, (mark_start,))
    yield t(s.ASKING, DigitPressed, too_early, s.ASKING, (early,))
    yield t(s.ASKING, DigitPressed, known_key, s.DECIDING, (keep_answer, stop_prompt))
    yield t(s.ASKING, DigitPressed, always, s.ASKING, (wrong, count_wrong_key))
    yield t(s.ASKING, PromptFinished, both(current_prompt, completed), s.LISTENING, (log_prompt, listen))
    yield t(s.ASKING, PromptFinished, again, s.ASKING, (log_prompt, ask_again))
    yield t(s.ASKING, PromptFinished, current_prompt, s.UNANSWERED, (log_prompt,))
    yield t(s.ASKING, WithdrawRequested, may_withdraw, s.WITHDRAWN, (stop_prompt,))
    yield t(s.ASKING, PartyLeft, always, s.UNANSWERED)

    yield t(s.DECIDING, DigitPressed, always, s.DECIDING, (busy,))
    for key, target, do in (
        (accept_key, s.GRANTED, (count_digit,)),
        (refuse_key, s.REFUSED, (count_digit,)),
        (repeat_key, s.ASKING, (count_digit, repeat)),
    ):
        yield t(s.DECIDING, PromptFinished, both(current_prompt, heard_and(key)), target, (log_prompt, *do))
    yield t(s.DECIDING, PromptFinished, again, s.ASKING, (log_prompt, discard_answer, ask_again))
    yield t(s.DECIDING, PromptFinished, current_prompt, s.UNANSWERED, (log_prompt, discard_answer))
    yield t(s.DECIDING, WithdrawRequested, may_withdraw, s.WITHDRAWN)
    yield t(s.DECIDING, PartyLeft, always, s.UNANSWERED)

    yield t(s.LISTENING, DigitPressed, accept_key, s.GRANTED, (stop_timer, count_digit))
    yield t(s.LISTENING, DigitPressed, refuse_key, s.REFUSED, (stop_timer, count_digit))
    yield t(s.LISTENING, DigitPressed, repeat_key, s.ASKING, (stop_timer, count_digit, repeat))
    yield t(s.LISTENING, DigitPressed, attempts_left, s.ASKING, (stop_timer, wrong, ask_again))
    yield t(s.LISTENING, DigitPressed, always, s.UNCLEAR, (stop_timer, wrong))
    yield t(s.LISTENING, TimerFired, both(current_timer, attempts_left), s.ASKING, (ask_again,))
    yield t(s.LISTENING, TimerFired, only_wrong_keys, s.UNCLEAR)
    yield t(s.LISTENING, TimerFired, current_timer, s.UNANSWERED)
    yield t(s.LISTENING, WithdrawRequested, may_withdraw, s.WITHDRAWN, (stop_timer,))
    yield t(s.LISTENING, PartyLeft, always, s.UNANSWERED, (stop_timer,))

    yield t(s.GRANTED, DigitPressed, changed_mind, s.REFUSED, (count_digit,))
    yield t(s.GRANTED, DigitPressed, always, s.GRANTED, (late,))
    yield t(s.GRANTED, WithdrawRequested, may_withdraw, s.WITHDRAWN)
    yield t(s.NOT_REQUIRED, WithdrawRequested, may_withdraw, s.WITHDRAWN)
    yield t(s.NOT_REQUIRED, DigitPressed, always, s.NOT_REQUIRED, (late,))
    for state in UNCOVERED:
        yield t(state, ReconsentRequested, always, s.ASKING, (begin,))
        yield t(state, DigitPressed, always, state, (late,))


TRANSITIONS: tuple[Transition, ...] = tuple(_rows())


def step(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Return the party's next value and what is to be done.

    Total: an event no row names changes nothing and asks for nothing. A change of verdict is written down by the
    aggregate (`verdict` entry), which alone knows the call's basis and purposes.
    """
    for row in TRANSITIONS:
        if row.state is consent.state and isinstance(event, row.event) and row.guard(consent, event, rules):
            commands: list[Command] = []
            after = consent
            for action in row.actions:
                after, more = action(after, event, rules)
                commands += more
            return replace(after, state=row.target), commands
    return consent, []
