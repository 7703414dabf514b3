"""Where the log's head is kept outside the gateway's reach, so that nobody can change the past unnoticed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.evidence.checkpoint import Checkpoint


class AnchorUnavailable(RuntimeError):
    """The head was not taken: nobody answered, or not as agreed. Trying again later may help. The text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """The log's signed head, and how to show that it extends an older one."""

    note: str
    checkpoint: Checkpoint
    extends: Callable[[int], Sequence[bytes]]
    """Returns the consistency proof from the tree of that size. Blocks. Raises `EvidenceUnavailable`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """That an anchor has taken a head. *words* say where and when; *suffix* and *data* are a file that proves it, which
    is to be kept beside the note: ".tsr" a time stamp, ".cosigned" the note with a witness's line, "" nothing."""

    words: str
    suffix: str = ""
    data: bytes = b""


class Anchor(Protocol):
    """One place where heads are kept. Blocking; any thread may call it, one at a time."""

    @property
    def name(self) -> str:
        """What configuration, file names and messages call it."""
        ...

    def keep(self, head: Head) -> Kept:
        """Keep *head*; keeping the same one again does no harm.

        Raises `AnchorUnavailable`; `ForkDetected` when what is kept there is not the past of *head*; `EvidenceInvalid`
        for an answer that is a lie.
        """
        ...


class Heads(Protocol):
    """Where the log's head is read."""

    def read(self) -> Head:
        """Return the head that was signed last. Blocks. Raises `EvidenceUnavailable`."""
        ...


class Shelf(Protocol):
    """Where the answers of anchors are kept, beside the notes they are about."""

    def has(self, head: Head, name: str) -> bool:
        """Whether an answer of the anchor *name* about *head* is kept. Raises `OSError`, and `ForkDetected` when
        another head of that size is kept."""
        ...

    def put(self, head: Head, name: str, kept: Kept) -> None:
        """Keep note and answer, durably. Raises as `has` does."""
        ...

    def seconds_since(self) -> float | None:
        """Return how long ago something was put here; `None`: never, as far as is known."""
        ...
