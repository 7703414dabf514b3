"""One party's consent: events in, commands out.

The rules
---------
1. Only a key of the party's own leg, or words on it (7), can answer for the party (the aggregate routes both by leg).
2. A key pressed before the asking sentence was heard (`minimum_heard_ms`) is noted and does not count. What was heard
   is taken from the media process when the prompt ended, never from a wish.
3. Silence is `unanswered`, only wrong keys is `unclear`; both are "not recorded".
4. An answer stands until the party changes it: withdrawal by its code at any time, refusal by the refuse key until
   the conversation begins. A late accept key is noted and does not count; consent later in the call is asked for anew.
5. Nothing else leads to `granted`: not silence, not a noise, not somebody else's key.
6. Who is told instead of asked (`announce`) may be recorded once he has heard all of it, and not before.
7. What is said counts as a key does: begun after the asking sentence was heard, and only where the question was put so
   that it may be answered by voice (`by_voice`). What it means is `spoken.decide`'s. A yes that was said over our own
   prompt, which has the words in it, is asked back; one over the prompt that asks back does not count. What is unclear
   stops no prompt; unclear for the last time, the party is asked for a key and listened to no more.

`TRANSITIONS` *is* the machine: the first row whose state, event and guard match is taken. `docs/states.md` is drawn
from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.domain.commands import AppendEvidence, Command, PlayPrompt, StartTimer, StopPrompt, StopTimer
from gateway.domain.events import (
    AnswerSpoken,
    AskStarted,
    DigitPressed,
    Event,
    PartyLeft,
    PromptFinished,
    PromptStarted,
    ReconsentRequested,
    SpeechBegan,
    TimerFired,
    WithdrawRequested,
)
from gateway.domain.rules import Rules
from gateway.domain.spoken import Decision, Meaning, Question, Ruling, decide


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


MOST_EXTENSIONS = 3
FINISH_MS = 6_000
"""The longest answer, the silence that ends it, and a recogniser's deadline."""

DIALOGUE = frozenset({State.NOT_ASKED, State.ANNOUNCING, State.ASKING, State.DECIDING, State.LISTENING})
UNCOVERED = (State.REFUSED, State.UNANSWERED, State.UNCLEAR, State.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Consent:
    """One party's machine; a value, replaced by `step`."""

    party: str
    state: State = State.NOT_ASKED
    topic: str = ""
    """The purpose this dialogue is about, where it has a question of its own; empty: recording, and all that is asked
    for together with it."""
    attempt: int = 0
    repeats: int = 0
    plays: int = 0
    started_ns: int | None = None
    answer: DigitPressed | AnswerSpoken | None = None
    wrong_keys: int = 0
    by_voice: bool = False
    """The present question may be answered by voice."""
    confirming: bool = False
    """The present question is whether the yes was meant."""
    extensions: int = 0
    """How often the present answer window was opened anew for somebody who seemed to speak."""
    utterances: int = 0
    """What was said in answer to this dialogue's questions, and counted."""
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


def question(consent: Consent) -> str:
    """The prompt that asks the present question."""
    if consent.topic:
        return f"also_{consent.topic}"
    if consent.confirming:
        return "confirm_spoken"
    return ("ask" if consent.attempt <= 1 else "ask_again") + ("_spoken" if consent.by_voice else "")


def minimum_ms(consent: Consent, rules: Rules) -> int:
    """How much of the present prompt must have been heard: each has a length of its own."""
    if consent.topic:
        return dict(rules.minimum_also_ms).get(consent.topic, rules.minimum_heard_ms)
    return {
        "ask": rules.minimum_heard_ms,
        "ask_again": rules.minimum_heard_again_ms,
        "ask_spoken": rules.minimum_heard_spoken_ms,
        "ask_again_spoken": rules.minimum_heard_again_spoken_ms,
        "confirm_spoken": rules.minimum_heard_confirm_ms,
    }[question(consent)]


def too_early(consent: Consent, event: Event, rules: Rules) -> bool:
    """The asking sentence cannot have been heard yet."""
    heard_ms = 0 if consent.started_ns is None else (event.at_ns - consent.started_ns) // 1_000_000
    return heard_ms < minimum_ms(consent, rules)


def said_early(consent: Consent, event: Event, rules: Rules) -> bool:
    """It was begun before the asking sentence can have been heard."""
    assert isinstance(event, AnswerSpoken)
    heard_ms = -1 if consent.started_ns is None else (event.began_ns - consent.started_ns) // 1_000_000
    return not consent.by_voice or heard_ms < minimum_ms(consent, rules)


def may_finish(consent: Consent, event: Event, rules: Rules) -> bool:
    """The question may be answered by voice, and noises have not kept the window open for long."""
    return consent.by_voice and consent.extensions < MOST_EXTENSIONS


def ruling(consent: Consent, spoken: AnswerSpoken, rules: Rules) -> Ruling:
    """What the party's words amount to, as an answer to the present question."""
    asked = Question.CONFIRM if consent.confirming else Question.ASK
    found = decide(spoken.hearings, rules.language, asked, consent.utterances + 1)
    if found.decision is not Decision.YES or not spoken.over_prompt:
        return found
    decision = Decision.REPEAT if consent.confirming else Decision.CONFIRM
    return Ruling(decision, Meaning.MAYBE, "over_our_own_prompt")


def says(*decisions: Decision) -> Guard:
    """What was said, after enough was heard, decides so."""

    def guard(consent: Consent, event: Event, rules: Rules) -> bool:
        assert isinstance(event, AnswerSpoken)
        return consent.heard_ms >= minimum_ms(consent, rules) and ruling(consent, event, rules).decision in decisions

    guard.__name__ = f"says_{'_or_'.join(decisions)}"
    guard.__doc__ = f"What was said amounts to: {' or '.join(decisions).replace('_', ' ')}."
    return guard


def answers(consent: Consent, event: Event, rules: Rules) -> bool:
    """What was said is an answer, or has to be asked back."""
    assert isinstance(event, AnswerSpoken)
    return ruling(consent, event, rules).decision in (Decision.YES, Decision.NO, Decision.CONFIRM)


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


def not_connected(consent: Consent, event: Event, rules: Rules) -> bool:
    """The conversation has not begun."""
    return not consent.in_conversation


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


def heard_and(key: Guard, kind: type[Event] = DigitPressed) -> Guard:
    """The media process confirms that enough was heard before the answer waiting for a decision."""

    def guard(consent: Consent, event: Event, rules: Rules) -> bool:
        assert isinstance(event, PromptFinished) and consent.answer is not None
        enough = event.played_ms >= minimum_ms(consent, rules)
        mine = isinstance(consent.answer, kind)
        return enough and mine and key(replace(consent, heard_ms=event.played_ms), consent.answer, rules)

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
    """Keys were pressed, but none that the prompt offers; or something was said that was no answer."""
    return current_timer(consent, event, rules) and consent.wrong_keys + consent.utterances > 0


# --- actions: (consent, event, rules) -> (consent, commands) ---

Action = Callable[[Consent, Event, Rules], tuple[Consent, list[Command]]]


def _entry(kind: str, **facts: object) -> AppendEvidence:
    """An entry without its token: the aggregate numbers it."""
    return AppendEvidence(kind=kind, facts=facts, token=0)


def play(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the asking prompt."""
    consent = replace(consent, plays=consent.plays + 1, started_ns=None, answer=None, heard_ms=0, extensions=0)
    return consent, [PlayPrompt(consent.party, question(consent), consent.play)]


def begin(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Begin a dialogue: first attempt."""
    fresh = Consent(
        consent.party, consent.state, consent.topic, plays=consent.plays, in_conversation=consent.in_conversation
    )
    by_voice = rules.by_voice and not consent.topic
    return play(replace(fresh, attempt=1, by_voice=by_voice, asked=consent.asked + 1), event, rules)


def announce(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the announcement."""
    consent = replace(consent, attempt=consent.attempt + 1, plays=consent.plays + 1)
    return consent, [PlayPrompt(consent.party, announcement(rules), consent.play)]


def announcement(rules: Rules) -> str:
    """The prompt that tells: it offers the way out where there is one."""
    return "announced_may_object" if rules.may_withdraw else "announced"


def ask_again(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Ask once more: next attempt."""
    return play(replace(consent, attempt=consent.attempt + 1, wrong_keys=0, confirming=False), event, rules)


def ask_back(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Ask whether the yes was meant."""
    return play(replace(consent, confirming=True), event, rules)


def ask_by_key(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Ask for a key, and listen no more."""
    by_key = replace(consent, attempt=consent.attempt + 1, confirming=False, by_voice=False)
    return play(by_key, event, rules)


def repeat(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Play the prompt again without using up an attempt."""
    return play(replace(consent, repeats=consent.repeats + 1), event, rules)


def mark_start(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Remember when the prompt began."""
    return replace(consent, started_ns=event.at_ns), []


def log_prompt(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down what was heard."""
    assert isinstance(event, PromptFinished)
    prompt = announcement(rules) if rules.announce else question(consent)
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


def extend(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Open the answer window anew: somebody has to be able to finish, and to be listened to."""
    extended = replace(consent, extensions=consent.extensions + 1)
    return extended, [StartTimer(consent.timer, max(rules.answer_timeout_ms, FINISH_MS))]


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
    """Keep the answer until it is known how much was heard."""
    assert isinstance(event, DigitPressed | AnswerSpoken)
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
    assert isinstance(digit, DigitPressed)
    return replace(consent, answer=None), [digit_entry(digit, True, "answer")]


def speech_entry(spoken: AnswerSpoken, counted: bool, because: str, **more: object) -> AppendEvidence:
    """The entry for something that was said."""
    facts = {"leg": spoken.leg, **spoken.facts, "counted": counted, "because": because, **more}
    return AppendEvidence(kind="answer.speech", facts=facts, token=0, personal=spoken.words)


def count_speech(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down what was said, and what it amounts to."""
    spoken = event if isinstance(event, AnswerSpoken) else consent.answer
    assert isinstance(spoken, AnswerSpoken)
    found = ruling(consent, spoken, rules)
    more = {
        "question": "confirm" if consent.confirming else "ask",
        "meaning": str(found.meaning),
        "decision": str(found.decision),
    }
    counted = replace(consent, answer=None, utterances=consent.utterances + 1)
    return counted, [speech_entry(spoken, True, found.because, **more)]


def uncounted(spoken: AnswerSpoken, because: str) -> AppendEvidence:
    """The entry for something said that does not count; what it was is nobody's business."""
    return speech_entry(replace(spoken, words={}), False, because)


def note_speech(because: str) -> Action:
    """Write down something said that does not count, and why."""

    def action(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
        assert isinstance(event, AnswerSpoken)
        return consent, [uncounted(event, because)]

    action.__doc__ = f"Note that something was said: {because}."
    return action


def discard_answer(consent: Consent, event: Event, rules: Rules) -> tuple[Consent, list[Command]]:
    """Write down that the kept answer does not count after all."""
    because, kept = "too little of the prompt was heard", consent.answer
    assert kept is not None
    entry = digit_entry(kept, False, because) if isinstance(kept, DigitPressed) else uncounted(kept, because)
    return replace(consent, answer=None), [entry]


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
    unheard = note_speech("said before the asking sentence was heard")
    over = note_speech("said over the prompt, and no answer")
    spoken = ((Decision.YES, s.GRANTED, ()), (Decision.NO, s.REFUSED, ()), (Decision.CONFIRM, s.ASKING, (ask_back,)))
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
    yield t(s.ASKING, AnswerSpoken, said_early, s.ASKING, (unheard,))
    yield t(s.ASKING, AnswerSpoken, answers, s.DECIDING, (keep_answer, stop_prompt))
    yield t(s.ASKING, AnswerSpoken, always, s.ASKING, (over,))
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
    for decision, target, then in spoken:
        heard = both(current_prompt, heard_and(says(decision), AnswerSpoken))
        yield t(s.DECIDING, PromptFinished, heard, target, (log_prompt, count_speech, *then))
    yield t(s.DECIDING, AnswerSpoken, always, s.DECIDING, (note_speech("an answer is being decided"),))
    yield t(s.DECIDING, PromptFinished, again, s.ASKING, (log_prompt, discard_answer, ask_again))
    yield t(s.DECIDING, PromptFinished, current_prompt, s.UNANSWERED, (log_prompt, discard_answer))
    yield t(s.DECIDING, WithdrawRequested, may_withdraw, s.WITHDRAWN)
    yield t(s.DECIDING, PartyLeft, always, s.UNANSWERED)

    yield t(s.LISTENING, DigitPressed, accept_key, s.GRANTED, (stop_timer, count_digit))
    yield t(s.LISTENING, DigitPressed, refuse_key, s.REFUSED, (stop_timer, count_digit))
    yield t(s.LISTENING, DigitPressed, repeat_key, s.ASKING, (stop_timer, count_digit, repeat))
    yield t(s.LISTENING, DigitPressed, attempts_left, s.ASKING, (stop_timer, wrong, ask_again))
    yield t(s.LISTENING, DigitPressed, always, s.UNCLEAR, (stop_timer, wrong))
    yield t(s.LISTENING, SpeechBegan, may_finish, s.LISTENING, (extend,))
    yield t(s.LISTENING, AnswerSpoken, said_early, s.LISTENING, (unheard,))
    for decision, target, then in spoken:
        yield t(s.LISTENING, AnswerSpoken, says(decision), target, (stop_timer, count_speech, *then))
    repeats = both(says(Decision.REPEAT), attempts_left)
    yield t(s.LISTENING, AnswerSpoken, repeats, s.ASKING, (stop_timer, count_speech, ask_again))
    yield t(s.LISTENING, AnswerSpoken, always, s.ASKING, (stop_timer, count_speech, ask_by_key))
    yield t(s.LISTENING, TimerFired, both(current_timer, attempts_left), s.ASKING, (ask_again,))
    yield t(s.LISTENING, TimerFired, only_wrong_keys, s.UNCLEAR)
    yield t(s.LISTENING, TimerFired, current_timer, s.UNANSWERED)
    yield t(s.LISTENING, WithdrawRequested, may_withdraw, s.WITHDRAWN, (stop_timer,))
    yield t(s.LISTENING, PartyLeft, always, s.UNANSWERED, (stop_timer,))

    yield t(s.GRANTED, DigitPressed, changed_mind, s.REFUSED, (count_digit,))
    yield t(s.GRANTED, DigitPressed, always, s.GRANTED, (late,))
    yield t(s.GRANTED, AnswerSpoken, both(not_connected, says(Decision.NO)), s.REFUSED, (count_speech,))
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
