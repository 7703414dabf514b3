"""Who listens to a spoken answer and tells what may have been said. What it means is decided in `domain.spoken`.

A recogniser keeps nothing, writes nothing and sends nothing off the machine. Words heard are personal: no `repr`, no
exception and no log line here shows them; they go into the evidence and nowhere else.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from gateway.domain.spoken import Hearing
from gateway.media.g711 import Samples

MAX_UTTERANCE_MS: Final = 30_000
"""Longer sound is nobody's answer; it is refused before it reaches an engine."""


class RecogniserUnusable(RuntimeError):
    """The recogniser cannot start: a package or file is missing, or is not the pinned one. The text says what helps."""


class Failure(StrEnum):
    """Why there is no answer. Each leaves the caller his keys."""

    UNAVAILABLE = "unavailable"
    """No engine runs, or the one that listened crashed or hung."""
    LATE = "late"
    """The deadline passed."""
    FULL = "full"
    """Too many answers were waiting already."""
    LANGUAGE = "language"
    """No engine serves the language."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Which engine listened, for the evidence. *model_sha256* (hex) is of the weights as they were loaded; *pinned*: it
    is the one this version was measured with."""

    name: str
    version: str
    model: str
    model_sha256: str
    languages: tuple[str, ...]
    pinned: bool


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was heard. *hearings*: one a look, in order; the second is there when the first left a doubt, and is
    *second*'s if that is given, else *engine*'s own. *cpu_ms* is processor time of the engines; *elapsed_ms* is from
    the question to the answer, with the time in the queue."""

    engine: Engine
    hearings: tuple[Hearing, ...] = field(repr=False)
    cpu_ms: int
    elapsed_ms: int
    second: Engine | None = None


@dataclass(frozen=True, slots=True)
class NotRecognised:
    """There is no answer, and why."""

    failure: Failure
    elapsed_ms: int = 0


Recognition = Recognised | NotRecognised


class Recogniser(Protocol):
    """Listens to one utterance at a time, in any number of calls at once."""

    @property
    def engines(self) -> tuple[Engine, ...]:
        """What is loaded, first choice first; empty before `start` and while nothing runs."""
        ...

    def serves(self, language: str) -> bool:
        """Whether an engine understands *language* ("en", "de-AT": the part before the hyphen counts)."""
        ...

    async def start(self) -> None:
        """Load the engines. Raises `RecogniserUnusable`."""
        ...

    async def recognise(self, utterance: Samples, language: str) -> Recognition:
        """Return what *utterance* (int16 mono, 8 kHz, at most `MAX_UTTERANCE_MS`) may have said in *language*.

        Always answers, within the recogniser's deadline. Raises `ValueError` for sound of another shape or length.
        """
        ...

    async def stop(self) -> None:
        """End everything; who still waits is answered `UNAVAILABLE`. A second call does nothing."""
        ...


def check_utterance(utterance: Samples) -> None:
    """Raise `ValueError` unless *utterance* is int16 mono of a length that can be an answer."""
    if utterance.dtype != "int16" or utterance.ndim != 1:
        raise ValueError("an utterance is int16 mono")
    if not 0 < len(utterance) <= MAX_UTTERANCE_MS * 8:
        raise ValueError(f"an utterance is 1 sample to {MAX_UTTERANCE_MS} ms long")


def base_language(language: str) -> str:
    """Return a tag's primary language.

    >>> base_language("pt-BR")
    'pt'
    """
    return language.partition("-")[0].lower()


class NoRecogniser:
    """Speech is off: whoever asks is told to use keys."""

    engines: tuple[Engine, ...] = ()

    def serves(self, language: str) -> bool:
        return False

    async def start(self) -> None:
        return

    async def recognise(self, utterance: Samples, language: str) -> Recognition:
        check_utterance(utterance)
        return NotRecognised(Failure.UNAVAILABLE)

    async def stop(self) -> None:
        return


FAKE_ENGINE: Final = Engine("fake", "0", "script", "0" * 64, ("en",), pinned=False)


@dataclass(slots=True)
class FakeRecogniser:
    """Answers with what a test scripts, one entry an utterance: what was heard in each pass, a failure, or seconds of
    listening before the next entry is used. With the script at its end it is unavailable."""

    script: list[Sequence[Hearing] | Failure | float] = field(default_factory=list)
    deadline_s: float = 2.0
    engine: Engine = FAKE_ENGINE
    second: Engine | None = None
    """Whose the second look is, where the script has one."""
    asked: list[tuple[int, str]] = field(default_factory=list)
    """Samples and language of each utterance."""
    _running: bool = False
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def engines(self) -> tuple[Engine, ...]:
        return (self.engine,) if self._running else ()

    def serves(self, language: str) -> bool:
        return self._running and base_language(language) in self.engine.languages

    async def start(self) -> None:
        self._running = True
        self._stopped.clear()

    async def recognise(self, utterance: Samples, language: str) -> Recognition:
        check_utterance(utterance)
        self.asked.append((len(utterance), language))
        if not self._running:
            return NotRecognised(Failure.UNAVAILABLE)
        if not self.serves(language):
            return NotRecognised(Failure.LANGUAGE)
        entry = self.script.pop(0) if self.script else Failure.UNAVAILABLE
        if isinstance(entry, int | float):
            try:
                async with asyncio.timeout(min(float(entry), self.deadline_s)):
                    await self._stopped.wait()
                return NotRecognised(Failure.UNAVAILABLE)
            except TimeoutError:
                pass
            if entry > self.deadline_s:
                return NotRecognised(Failure.LATE, round(self.deadline_s * 1000))
            entry = self.script.pop(0) if self.script else Failure.UNAVAILABLE
        if isinstance(entry, Failure):
            return NotRecognised(entry)
        assert not isinstance(entry, int | float)
        return Recognised(self.engine, tuple(entry), 1, 1, self.second if len(entry) > 1 else None)

    async def stop(self) -> None:
        self._running = False
        self._stopped.set()
