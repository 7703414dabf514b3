"""The log of evidence, as the application sees it. Format and promises: docs/evidence-format.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]
"""What an entry may hold. No floats: their canonical form is a trap; use integers in the unit the name gives."""


class EvidenceUnavailable(RuntimeError):
    """The entry did not become durable (disk full, database gone). Nothing may be recorded on the strength of it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof for the program that an entry is on the disk. Only the log's adapter makes one."""

    index: int
    leaf_hash: bytes
    call_id: str
    kind: str
    durable_mono_ns: int


class EvidenceLog(Protocol):
    """Append-only; one per gateway node."""

    @property
    def origin(self) -> str:
        """The log's name, as in its checkpoints."""
        ...

    async def append(
        self, call_id: str, kind: str, facts: Mapping[str, Json], personal: Mapping[str, str] | None = None
    ) -> Receipt:
        """Return once the entry is durable. Appends of one call must be awaited one after the other or
        issued in order from one task: they are committed in the order issued.

        *personal* values are written as salted commitments; value and salt go to a side table.
        Raises `EvidenceUnavailable`.
        """
        ...

    async def export(self, call_id: str) -> bytes:
        """Return the call's bundle. Raises `KeyError` for a call without entries."""
        ...

    def verifier_key(self) -> str:
        """The public key line (C2SP signed-note verifier key) that `evidence verify --key` takes."""
        ...
