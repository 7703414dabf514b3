"""Who has acknowledged which text of the policy, and when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """*agent* has acknowledged the text for *role* whose SHA-256 (hex) this is; *by*: whose key said so."""

    agent: str
    role: str
    sha256: str
    at: datetime
    by: str


class Acknowledgements(Protocol):
    """What was acknowledged. All methods raise `RegistryUnavailable`."""

    async def acknowledge(self, agent: str, role: str, sha256: str, *, by: str) -> Acknowledgement:
        """Keep an acknowledgement and return it; of one that was there already the first time stays."""
        ...

    async def all(self) -> Sequence[Acknowledgement]:
        """Return every acknowledgement, of former texts too, oldest first."""
        ...


def _epoch() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class FakeAcknowledgements:
    """Acknowledgements in memory."""

    clock: Callable[[], datetime] = _epoch
    made: dict[tuple[str, str, str], Acknowledgement] = field(default_factory=dict)

    async def acknowledge(self, agent: str, role: str, sha256: str, *, by: str) -> Acknowledgement:
        new = Acknowledgement(agent, role, sha256, self.clock(), by)
        return self.made.setdefault((agent, role, sha256), new)

    async def all(self) -> Sequence[Acknowledgement]:
        return sorted(self.made.values(), key=lambda one: (one.at, one.agent, one.role))
