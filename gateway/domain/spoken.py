"""What a spoken answer amounts to.

The rules
---------
1. Yes is a *whole* text from a closed list, in the language of the prompt, believed by the recogniser. Everything
   else that is not a clear no is unclear: a question, "yes, but ...", "no problem", "I know", both words, a loop.
2. No text with a no-word is ever a yes. A no-word without a yes-word is a no, also where the speaker said more.
3. Weak words ("okay", "yeah") and whatever was doubtful on the way to a yes are put to the caller again: `CONFIRM`.
   There, a phrase of the list counts, and a weak word that two engines heard alike and were sure of.
4. An utterance is looked at once or twice, the second time by another engine where there is one. A yes that is close
   to being something else wants both. What one look calls yes and the other no is unclear; scores are never averaged,
   neither over looks nor over attempts.
5. Unclear for the last time, or no recogniser: keys only. Keys stay open before that, too, and one wins at once.

`READINGS` (what a text means), `AGREEMENT` (two looks), `ALONE` (one) and `DECISIONS` (what is done) *are* the machine.
Nothing here reads audio, clocks or files. Words are personal: no `repr` shows them, and `because` never quotes them.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Final

from gateway.domain.spoken_words import NO_WORDS, VOCABULARIES, Vocabulary

MINIMUM_SCORE: Final = -1.5
"""Average log-probability a token that a text must be over to be believed."""
MAXIMUM_NO_SPEECH: Final = 0.8
"""Probability of "no speech" that a pass must be under to be believed."""
CERTAIN_SCORE: Final = -0.7
"""Average log-probability that a yes must be over to count without a confirmation. Measured over the telephone, clean
to 10 dB: nine of ten phrases that were spoken are over it; "yesterday" taken for one is at -0.85."""
CERTAIN_NO_SPEECH: Final = 0.5
"""Probability of "no speech" that such a yes must be under. Measured: spoken phrases at most 0.39, that one 0.67."""
CLOSE: Final = 0.3
"""How much likelier a yes must be than the next text that is none, to need no second look. Measured at 10 dB: "Yes, I'm
Greek" taken for "Yes, I agree" is at most 0.27 over "Yes, I'm green"."""
MAXIMUM_REPETITIONS: Final = 3
"""How often an answer may be said in one breath. Recognisers loop on music and noise."""
ATTEMPTS: Final = 2
"""Unclear answers until keys are all that is left."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One text an engine offers. *score*: log-probabilities of its tokens and of its end, over their number."""

    text: str = field(repr=False)
    score: float


@dataclass(frozen=True, slots=True)
class Hearing:
    """One look of an engine at an utterance: texts, likeliest first; *no_speech*: probability that nobody spoke;
    *window_ms*: how much sound the engine looked at, the utterance and silence behind it."""

    window_ms: int
    no_speech: float
    hypotheses: tuple[Hypothesis, ...] = field(repr=False)


class Question(StrEnum):
    """What was asked: for consent, or whether the yes was meant."""

    ASK = "ask"
    CONFIRM = "confirm"


class Meaning(StrEnum):
    """What was heard. Of an utterance (`OUTCOMES`): `MAYBE`, a yes that has to be confirmed, and would confirm one;
    `FAINT`, one that would not; `UNCLEAR`, words that are no answer; `NOTHING`, no words that can be believed;
    `FAILED`, the recogniser did not answer. Of one look only: `CLOSE`, a yes that may be something else as well;
    `HINTS_YES` and `HINTS_NO`, words that are no answer but may have been one."""

    YES = "yes"
    CLOSE = "close"
    MAYBE = "maybe"
    FAINT = "faint"
    HINTS_YES = "hints_yes"
    NO = "no"
    HINTS_NO = "hints_no"
    UNCLEAR = "unclear"
    NOTHING = "nothing"
    FAILED = "failed"


class Decision(StrEnum):
    """What the dialogue does next. `GIVE_UP`: the caller is asked for a key, and listened to no longer."""

    YES = "yes"
    NO = "no"
    CONFIRM = "confirm"
    REPEAT = "repeat"
    GIVE_UP = "give_up"


# --- a text ---


@dataclass(frozen=True, slots=True)
class Said:
    """A text without case, punctuation, fillers and repetitions. *times*: how often the whole was repeated, or a word
    in it, whichever is more."""

    words: tuple[str, ...] = field(repr=False)
    question: bool
    times: int

    @property
    def phrase(self) -> str:
        return " ".join(self.words)

    def has(self, phrases: frozenset[str]) -> bool:
        """Whether any of *phrases* is in the text, in whole words."""
        padded = f" {self.phrase} "
        return any(f" {phrase} " in padded for phrase in phrases)


def said(text: str, vocabulary: Vocabulary) -> Said:
    """Return *text* as the lists have it.

    >>> said("Uh, yes. Yes, I agree!", VOCABULARIES["en"])
    Said(question=False, times=2)
    >>> said("Uh, yes. Yes, I agree!", VOCABULARIES["en"]).phrase
    'yes i agree'
    """
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'").replace("`", "'")
    letters = "".join(char if char.isalnum() or char == "'" else " " for char in plain)
    words = [word for part in letters.split() if (word := part.strip("'")) and word not in vocabulary.fillers]
    once = [word for word, _ in groupby(_root(words))]
    root = _root(once)
    longest = max((len(list(run)) for _, run in groupby(words)), default=0)
    times = max(longest, len(words) // len(root)) if root else 0
    return Said(tuple(root), any(mark in text for mark in "?？¿"), times)


def _root(words: list[str]) -> list[str]:
    """Return the shortest beginning of *words* that they are a repetition of.

    >>> _root(["yes", "please", "yes", "please"])
    ['yes', 'please']
    """
    count = len(words)
    return next((words[:n] for n in range(1, count) if words == words[:n] * (count // n)), words)


# --- what a text means: the first row that holds ---

Test = Callable[[Said, Vocabulary], bool]


def _negates(word: str, vocabulary: Vocabulary) -> bool:
    parts = word.endswith(vocabulary.no_endings) or word.startswith(vocabulary.no_beginnings)
    return word in vocabulary.no_words or parts


def is_empty(said: Said, vocabulary: Vocabulary) -> bool:
    """Nothing but fillers was said."""
    return not said.words


def is_question(said: Said, vocabulary: Vocabulary) -> bool:
    """It was a question."""
    return said.question


def is_noise(said: Said, vocabulary: Vocabulary) -> bool:
    """It is what recognisers write where nobody speaks."""
    return said.phrase in vocabulary.noise


def is_refusal(said: Said, vocabulary: Vocabulary) -> bool:
    """The whole is a refusal that has a yes-word in it, or no no-word."""
    return said.phrase in vocabulary.no


def hedges(said: Said, vocabulary: Vocabulary) -> bool:
    """A no-word that refuses nothing, or a doubt."""
    return said.has(vocabulary.hedges)


def has_both(said: Said, vocabulary: Vocabulary) -> bool:
    """A yes-word and a no-word."""
    return has_no_word(said, vocabulary) and said.has(vocabulary.yes_words)


def has_no_word(said: Said, vocabulary: Vocabulary) -> bool:
    """A no-word."""
    return any(_negates(word, vocabulary) for word in said.words)


def loops(said: Said, vocabulary: Vocabulary) -> bool:
    """It was repeated more often than people do."""
    return said.times > MAXIMUM_REPETITIONS


def is_yes(said: Said, vocabulary: Vocabulary) -> bool:
    """The whole is on the closed list."""
    return said.phrase in vocabulary.yes


def is_weak_yes(said: Said, vocabulary: Vocabulary) -> bool:
    """The whole is on the closed list of weak words."""
    return said.phrase in vocabulary.weak


def anything_else(said: Said, vocabulary: Vocabulary) -> bool:
    """It is no answer."""
    return True


READINGS: Final[tuple[tuple[Test, Meaning], ...]] = (
    (is_empty, Meaning.NOTHING),
    (is_question, Meaning.UNCLEAR),
    (is_noise, Meaning.NOTHING),
    (is_refusal, Meaning.NO),
    (hedges, Meaning.UNCLEAR),
    (has_both, Meaning.UNCLEAR),
    (has_no_word, Meaning.NO),
    (loops, Meaning.NOTHING),
    (is_yes, Meaning.YES),
    (is_weak_yes, Meaning.MAYBE),
    (anything_else, Meaning.UNCLEAR),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was meant, and which rule says so: a constant, for the evidence."""

    meaning: Meaning
    because: str


def _words(language: str) -> Vocabulary:
    return VOCABULARIES.get(language.partition("-")[0].lower(), NO_WORDS)


def read_text(text: str, language: str) -> Reading:
    """Return what *text* alone means as an answer in *language* ("en", "pt-BR").

    >>> read_text("Yes, but not the recording.", "en")
    Reading(meaning=<Meaning.UNCLEAR: 'unclear'>, because='has_both')
    """
    vocabulary = _words(language)
    if vocabulary is NO_WORDS:
        return Reading(Meaning.UNCLEAR, "no_vocabulary")
    heard = said(text, vocabulary)
    test, meaning = next(row for row in READINGS if row[0](heard, vocabulary))
    return Reading(meaning, test.__name__)


# --- one utterance ---

_SOME_YES: Final = (Meaning.YES, Meaning.MAYBE)


def read(hearing: Hearing, language: str) -> Reading:
    """Return what one look heard: the meaning of its likeliest text, as far as the scores and the other texts let it
    be believed."""
    if not hearing.hypotheses:
        return Reading(Meaning.NOTHING, "no_text")
    best = hearing.hypotheses[0]
    if not hearing.no_speech < MAXIMUM_NO_SPEECH:
        return Reading(Meaning.NOTHING, "no_speech")
    if not best.score > MINIMUM_SCORE:
        return Reading(Meaning.NOTHING, "low_score")
    reading = read_text(best.text, language)
    others = [other for other in hearing.hypotheses[1:] if other.score > MINIMUM_SCORE]
    meant = [read_text(other.text, language).meaning for other in others]
    if reading.meaning is Meaning.UNCLEAR:
        return _hinted(reading, meant)
    if reading.meaning not in _SOME_YES:
        return reading
    words = _words(language)
    if any(has_no_word(said(other.text, words), words) for other in others):
        return Reading(Meaning.UNCLEAR, "perhaps_no")
    if not (best.score > CERTAIN_SCORE and hearing.no_speech < CERTAIN_NO_SPEECH):
        return Reading(Meaning.FAINT, "uncertain")
    rivals = [other.score for other, means in zip(others, meant, strict=True) if means not in _SOME_YES]
    if reading.meaning is Meaning.YES and not all(best.score - rival >= CLOSE for rival in rivals):
        return Reading(Meaning.CLOSE, "close")
    return reading


def _hinted(reading: Reading, meant: Sequence[Meaning]) -> Reading:
    """Return an unclear reading with what its other texts hint at, if that is one thing."""
    yes, no = any(means in _SOME_YES for means in meant), Meaning.NO in meant
    if yes is no:
        return reading
    return Reading(Meaning.HINTS_YES if yes else Meaning.HINTS_NO, reading.because)


WORTH_A_LOOK: Final = frozenset(
    {Meaning.CLOSE, Meaning.MAYBE, Meaning.FAINT, Meaning.HINTS_YES, Meaning.HINTS_NO, Meaning.NOTHING}
)
"""What another engine may make clear."""


def wants_another_look(first: Hearing, language: str) -> bool:
    """Whether another engine should look at the same sound."""
    return read(first, language).meaning in WORTH_A_LOOK


def wants_another_pass(first: Hearing, language: str) -> bool:
    """Whether the same engine should look again, at more silence and more cost: nothing could be believed."""
    return read(first, language).meaning is Meaning.NOTHING


_ORDER: Final = (
    Meaning.YES,
    Meaning.CLOSE,
    Meaning.MAYBE,
    Meaning.FAINT,
    Meaning.HINTS_YES,
    Meaning.NO,
    Meaning.HINTS_NO,
    Meaning.UNCLEAR,
    Meaning.NOTHING,
)
_Y, _M, _F, _N, _U, _0 = (
    Meaning.YES,
    Meaning.MAYBE,
    Meaning.FAINT,
    Meaning.NO,
    Meaning.UNCLEAR,
    Meaning.NOTHING,
)
AGREEMENT: Final[Mapping[tuple[Meaning, Meaning], Meaning]] = {
    (one, other): meaning
    for one, row in zip(
        _ORDER,
        (
            # YES CLOSE MAYBE FAINT HINTS_YES NO HINTS_NO UNCLEAR NOTHING
            (_Y, _Y, _Y, _Y, _Y, _U, _U, _U, _M),
            (_Y, _Y, _M, _M, _F, _U, _U, _U, _F),
            (_Y, _M, _M, _F, _F, _U, _U, _U, _F),
            (_Y, _M, _F, _F, _F, _U, _U, _U, _F),
            (_Y, _F, _F, _F, _U, _U, _U, _U, _U),
            (_U, _U, _U, _U, _U, _N, _N, _U, _N),
            (_U, _U, _U, _U, _U, _N, _U, _U, _U),
            (_U, _U, _U, _U, _U, _U, _U, _U, _U),
            (_M, _F, _F, _F, _U, _N, _U, _U, _0),
        ),
        strict=True,
    )
    for other, meaning in zip(_ORDER, row, strict=True)
}
"""What two looks amount to, in either order. A yes that only one of them heard has to be confirmed."""
ALONE: Final[Mapping[Meaning, Meaning]] = {
    Meaning.YES: Meaning.YES,
    Meaning.CLOSE: Meaning.MAYBE,
    Meaning.MAYBE: Meaning.FAINT,
    Meaning.FAINT: Meaning.FAINT,
    Meaning.HINTS_YES: Meaning.UNCLEAR,
    Meaning.NO: Meaning.NO,
    Meaning.HINTS_NO: Meaning.UNCLEAR,
    Meaning.UNCLEAR: Meaning.UNCLEAR,
    Meaning.NOTHING: Meaning.NOTHING,
}
"""What one look amounts to."""
OUTCOMES: Final = frozenset(ALONE.values()) | frozenset(AGREEMENT.values()) | {Meaning.FAILED}


def interpret(hearings: Sequence[Hearing], language: str) -> Reading:
    """Return what one utterance means (`OUTCOMES`), from one look at it or two, in either order; none is `NOTHING`.

    Raises `ValueError` for more than two.
    """
    if not hearings:
        return Reading(Meaning.NOTHING, "no_text")
    if len(hearings) > 2:
        raise ValueError("an utterance is looked at twice at most")
    first, *others = [read(hearing, language) for hearing in hearings]
    if not others:
        return Reading(ALONE[first.meaning], first.because)
    [second] = others
    meaning = AGREEMENT[first.meaning, second.meaning]
    because = next((one.because for one in (second, first) if one.meaning is meaning), "looks_differ")
    return Reading(meaning, because)


# --- the dialogue ---

DECISIONS: Final[Mapping[tuple[Question, Meaning], tuple[Decision, Decision]]] = {
    (Question.ASK, Meaning.YES): (Decision.YES, Decision.YES),
    (Question.ASK, Meaning.MAYBE): (Decision.CONFIRM, Decision.CONFIRM),
    (Question.ASK, Meaning.FAINT): (Decision.CONFIRM, Decision.CONFIRM),
    (Question.ASK, Meaning.NO): (Decision.NO, Decision.NO),
    (Question.ASK, Meaning.UNCLEAR): (Decision.REPEAT, Decision.GIVE_UP),
    (Question.ASK, Meaning.NOTHING): (Decision.REPEAT, Decision.GIVE_UP),
    (Question.ASK, Meaning.FAILED): (Decision.GIVE_UP, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.YES): (Decision.YES, Decision.YES),
    (Question.CONFIRM, Meaning.MAYBE): (Decision.YES, Decision.YES),
    (Question.CONFIRM, Meaning.FAINT): (Decision.REPEAT, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.NO): (Decision.NO, Decision.NO),
    (Question.CONFIRM, Meaning.UNCLEAR): (Decision.REPEAT, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.NOTHING): (Decision.REPEAT, Decision.GIVE_UP),
    (Question.CONFIRM, Meaning.FAILED): (Decision.GIVE_UP, Decision.GIVE_UP),
}
"""Per question and meaning: what is done while attempts are left, and at the last one."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is done, and why; no word of the caller's is in it."""

    decision: Decision
    meaning: Meaning
    because: str


def decide(
    hearings: Sequence[Hearing] | None, language: str, question: Question, attempt: int, *, attempts: int = ATTEMPTS
) -> Ruling:
    """Return what to do with an utterance that answered *question* in the *language* of its prompt.

    *hearings*: the looks at this utterance alone; None: the recogniser failed, was late or full. *attempt* counts
    utterances that were listened to since the caller was first asked, this one included, from 1. At *attempts* and
    after, what is not clear ends in keys. Raises `ValueError` for an attempt below 1.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    reading = Reading(Meaning.FAILED, "failed") if hearings is None else interpret(hearings, language)
    now, at_last = DECISIONS[question, reading.meaning]
    return Ruling(at_last if attempt >= attempts else now, reading.meaning, reading.because)
