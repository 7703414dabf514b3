"""The spoken prompts, as the application sees them."""

from dataclasses import dataclass
from typing import Protocol

PROMPT_NAMES = (
    "ask",
    "ask_again",
    "granted",
    "announced",
    "announced_may_object",
    "refused",
    "withdrawn",
    "paused",
    "resumed",
    "reminder",
)
"""Every prompt a language must have."""

SPOKEN_PROMPT_NAMES = ("ask_spoken", "ask_again_spoken", "confirm_spoken")
"""What a language has besides when its callers may answer by voice: all of them, or none."""

ALSO_PROMPT_NAMES = ("also_transcription", "also_analysis", "also_sharing")
"""What a language has besides when purposes can be asked for one by one: all of them, or none."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One audio file: WAV, int16 mono, 8 kHz. *sha256* (hex) is of the file; *minimum_heard_ms* is where the sentence
    that asks has ended (0 for a prompt that asks nothing); *purposes* are what it asks for, or tells of."""

    name: str
    language: str
    path: str
    text: str
    sha256: str
    duration_ms: int
    minimum_heard_ms: int = 0
    purposes: tuple[str, ...] = ("recording",)


class PromptMissing(LookupError):
    """There is no such prompt in that language."""


class PromptLibrary(Protocol):
    """All prompts, verified when they were loaded."""

    def languages(self) -> tuple[str, ...]:
        """The languages that have every prompt of `PROMPT_NAMES`."""
        ...

    def asks_by_voice(self, language: str) -> bool:
        """Whether *language* has every prompt of `SPOKEN_PROMPT_NAMES`; otherwise callers are asked for a key only."""
        ...

    def prompt(self, language: str, name: str) -> Prompt:
        """Return one prompt. Raises `PromptMissing`."""
        ...
