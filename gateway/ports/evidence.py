"""The log of evidence, as the application sees it. Format and promises: docs/evidence-format.md."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.evidence import bundle, canonical, merkle
from gateway.evidence.canonical import Entry
from gateway.evidence.canonical import Json as Json
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint
from gateway.evidence.errors import EntryInvalid


class EvidenceUnavailable(RuntimeError):
    """The entry did not become durable (disk full, database gone). Nothing may be recorded on the strength of it."""


class ForkDetected(EvidenceUnavailable):
    """Signing would let two histories of this log exist (a restored backup, a second instance). The text says why."""


class EntryRefused(EvidenceUnavailable):
    """The entry itself cannot be written (a float, 64 KiB, a malformed kind). Trying again will not help."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof for the program that an entry is on the disk. Only the log's adapter makes one."""

    index: int
    leaf_hash: bytes
    call_id: str
    kind: str
    durable_mono_ns: int


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call of the log: when its first entry was made (RFC 3339, UTC), and how many there are."""

    call_id: str
    first_at: str
    entries: int


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

        *personal* values are written as salted commitments; value and salt go to a side table. The facts are
        copied before the first await. A cancelled append may still be written.
        Raises `EvidenceUnavailable`, as `EntryRefused` for what an entry cannot hold (a float, 64 KiB).
        """
        ...

    async def export(self, call_id: str) -> bytes:
        """Return the call's bundle, with every entry appended before. Raises `KeyError` for a call without
        entries, `EvidenceUnavailable`."""
        ...

    async def entries(self, call_id: str) -> Sequence[Entry]:
        """Return the call's entries in order. Raises `KeyError` for a call without entries."""
        ...

    async def calls(self) -> Sequence[LoggedCall]:
        """Return every call of the log, oldest first."""
        ...

    async def erase_personal(self, call_id: str, authority: str) -> Receipt:
        """Destroy salts and values of the call's commitments; that it happened, and under which *authority*,
        becomes an entry (`personal.erased`). Every proof stays intact. Raises `KeyError`, `EvidenceUnavailable`.
        """
        ...

    def verifier_key(self) -> str:
        """The public key line (C2SP signed-note verifier key) that `evidence verify --key` takes."""
        ...


def copy_facts(facts: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a deep copy of plain types. Raises `EntryRefused` for what no entry can hold."""
    try:
        copied = canonical.checked(facts)
    except EntryInvalid as error:
        raise EntryRefused(str(error)) from None
    if not isinstance(copied, Mapping):
        raise EntryRefused("facts are not a mapping")
    return copied


@dataclass(slots=True)
class FakeEvidenceLog:
    """A log in memory with real hashes, proofs and signatures, whose durability a test controls.

    `fail_next(n)` makes the next *n* appends raise; between `hold()` and `release()` appends wait.
    """

    origin: str = "fake.test/log"
    appended: list[Entry] = field(default_factory=list)
    """All durable entries, of all calls, in the order of the log."""
    personal: dict[tuple[str, int], dict[str, tuple[bytes, str]]] = field(default_factory=dict, repr=False)
    _leaves: list[bytes] = field(default_factory=list)
    _issued: int = 0
    _failing: int = 0
    _gate: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._gate.set()

    def fail_next(self, count: int = 1) -> None:
        self._failing += count

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def kinds(self, call_id: str) -> list[str]:
        """Return the kinds of the call's entries in order."""
        return [entry.kind for entry in self.appended if entry.call == call_id]

    async def append(
        self, call_id: str, kind: str, facts: Mapping[str, Json], personal: Mapping[str, str] | None = None
    ) -> Receipt:
        sealed = {name: (self._salt(), value) for name, value in (personal or {}).items()}
        copied = copy_facts(facts)
        async with self._turn:
            await asyncio.sleep(0)
            await self._gate.wait()
            if self._failing:
                self._failing -= 1
                raise EvidenceUnavailable("the fake log was told to fail")
            try:
                return self._write(call_id, kind, copied, sealed)
            except EntryInvalid as error:
                raise EntryRefused(str(error)) from None

    def _salt(self) -> bytes:
        self._issued += 1
        return self._issued.to_bytes(canonical.SALT_BYTES)

    def _write(
        self, call_id: str, kind: str, facts: Mapping[str, Json], sealed: dict[str, tuple[bytes, str]]
    ) -> Receipt:
        earlier = [place for place, entry in enumerate(self.appended) if entry.call == call_id]
        index = len(self.appended)
        entry = Entry(
            origin=self.origin,
            call=call_id,
            kind=kind,
            seq=len(earlier),
            prev=self._leaves[earlier[-1]].hex() if earlier else None,
            at=f"2026-01-01T{index // 3600 % 24:02}:{index // 60 % 60:02}:{index % 60:02}.000Z",
            facts=facts,
            commitments={name: canonical.commit(salt, value) for name, (salt, value) in sealed.items()},
        )
        leaf = merkle.leaf_hash(canonical.encode(entry))
        self.appended.append(entry)
        self._leaves.append(leaf)
        self.personal[call_id, entry.seq] = sealed
        return Receipt(index, leaf, call_id, kind, durable_mono_ns=index)

    async def export(self, call_id: str) -> bytes:
        size = len(self.appended)
        logged = [
            bundle.Logged(place, canonical.encode(entry), merkle.inclusion_proof(place, size, self._node))
            for place, entry in enumerate(self.appended)
            if entry.call == call_id
        ]
        if not logged:
            raise KeyError(call_id)
        openings = [
            bundle.Opening(seq, name, salt, value)
            for (call, seq), sealed in self.personal.items()
            if call == call_id
            for name, (salt, value) in sealed.items()
        ]
        note = sign_checkpoint(Checkpoint(self.origin, size, merkle.root_at(size, self._node)), self._signer())
        return bundle.build_bundle(call_id, logged, note, openings, self._signer())

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return self._leaves[index]
        return merkle.node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    def _signer(self) -> Signer:
        seed = hashlib.sha256(self.origin.encode()).digest()
        return Signer(self.origin, Ed25519PrivateKey.from_private_bytes(seed))

    async def entries(self, call_id: str) -> Sequence[Entry]:
        found = [entry for entry in self.appended if entry.call == call_id]
        if not found:
            raise KeyError(call_id)
        return found

    async def calls(self) -> Sequence[LoggedCall]:
        firsts = [entry for entry in self.appended if entry.seq == 0]
        return [LoggedCall(entry.call, entry.at, len(self.kinds(entry.call))) for entry in firsts]

    async def erase_personal(self, call_id: str, authority: str) -> Receipt:
        count = sum(len(self.personal[entry.call, entry.seq]) for entry in await self.entries(call_id))
        receipt = await self.append(call_id, "personal.erased", {"authority": authority, "count": count})
        for key in [key for key in self.personal if key[0] == call_id]:
            self.personal[key] = {}
        return receipt

    def verifier_key(self) -> str:
        return str(self._signer().verifier)
