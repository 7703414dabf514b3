"""From what was heard to how right it was: the rule of `gateway.domain.spoken`, turn by turn, and counts.

A caller has two turns. What he says in the second is another clip of the same speaker in the same condition: whoever
wants to agree says another of his yeses (who said what the prompt asks for, says it again), whoever does not, anything
else of what he says. `obstinate` is the worst that can happen instead: he says the very same sounds again.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.speech.corpus import Clip
from bench.speech.hearing import Heard
from gateway.domain.spoken import Decision, Question, decide

UNHEARD: Final = "unheard"
"""Nothing was cut out that could be an answer: the answer window passes."""
ASKED: Final = "yes.asked"
"""Who says what the prompt asks for, does so twice."""
OUTCOMES: Final = ("yes", "confirm", "no", "repeat", UNHEARD)


def interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) confidence interval of a share.

    >>> tuple(round(bound, 5) for bound in interval(0, 3000))
    (0.0, 0.00123)
    >>> tuple(round(bound, 3) for bound in interval(85, 100))
    (0.765, 0.914)
    """
    if total == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _root(lambda p: _at_most(total - count, total, 1 - p) - tail)
    high = 1.0 if count == total else _root(lambda p: tail - _at_most(count, total, p))
    return low, high


def _at_most(count: int, total: int, share: float) -> float:
    """Probability of at most *count* of *total*."""
    if share <= 0 or share >= 1:
        return 1.0 if share <= 0 or count >= total else 0.0
    log_p, log_q = math.log(share), math.log1p(-share)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * log_p + (total - k) * log_q
        for k in range(count + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * math.fsum(math.exp(one - top) for one in logs))


def _root(rises: Callable[[float], float]) -> float:
    """Return where a function that rises from below 0 to above 0 between 0 and 1 is 0."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return (low + high) / 2


def answer(heard: Heard, language: str, question: Question, attempt: int) -> str:
    """Return one of `OUTCOMES`, or `give_up`."""
    if not heard.utterances or not heard.hearings:
        return UNHEARD if not heard.utterances else "repeat"
    return str(decide(heard.hearings, language, question, attempt).decision)


def second_turn(first: str, again: Heard, language: str) -> str:
    """Return what a dialogue is after its second turn, of which the first was *first*."""
    if first in (Decision.YES, Decision.NO):
        return first
    question = Question.CONFIRM if first == Decision.CONFIRM else Question.ASK
    return answer(again, language, question, 1 if first == UNHEARD else 2)


@dataclass(slots=True)
class Tally:
    """Counts over the clips of one kind in one condition."""

    clips: int = 0
    first: Counter[str] = field(default_factory=Counter)
    two: Counter[str] = field(default_factory=Counter)
    obstinate: Counter[str] = field(default_factory=Counter)

    def add(self, first: str, two: str, obstinate: str) -> None:
        self.clips += 1
        self.first[first] += 1
        self.two[two] += 1
        self.obstinate[obstinate] += 1

    def row(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "first": {name: self.first[name] for name in OUTCOMES},
            "two_turns": {name: self.two[name] for name in ("yes", "no")},
            "obstinate_yes": self.obstinate["yes"],
        }


def judge(clips: Sequence[Clip], heard: Iterable[Heard], language: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return a `Tally.row` by condition and kind. A label has a row of its own, over all of its kinds; a yes or no has
    another for those who speak without an accent."""
    found = {(one.condition, one.clip): one for one in heard}
    others: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        others[clip.speaker, _side(clip)].append(number)
    tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
    for (condition, number), one in found.items():
        clip = clips[number]
        chance = random.Random(f"{clip.seed} {condition}")
        again = found[condition, chance.choice(others[clip.speaker, _side(clip)])]
        first = answer(one, language, Question.ASK, 1)
        two, obstinate = second_turn(first, again, language), second_turn(first, one, language)
        for kind in _rows(clip):
            tallies[condition, kind].add(first, two, obstinate)
    rows: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for (condition, kind), tally in tallies.items():
        rows[condition][kind] = tally.row()
    return dict(rows)


def _rows(clip: Clip) -> set[str]:
    """The rows a clip counts in."""
    native = f"{clip.kind}, native"
    return {clip.label, clip.kind, native} if clip.native and clip.label != "other" else {clip.label, clip.kind}


def _side(clip: Clip) -> str:
    if clip.kind == ASKED:
        return ASKED
    return "yes" if clip.label == "yes" else "not yes"
