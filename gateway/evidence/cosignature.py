"""Witnesses' lines under a checkpoint: C2SP `tlog-cosignature`, the Ed25519 form (`cosignature/v1`).

A witness says with it: at this time this was the largest tree of that log I had seen, and it extends all I saw before.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.evidence.canonical import check_origin
from gateway.evidence.checkpoint import Checkpoint, Signature, key_id, parse_checkpoint
from gateway.evidence.errors import CheckpointInvalid, CosignatureInvalid, EntryInvalid, KeyInvalid

KEY_TYPE = b"\x04"
_LATEST = 253_402_300_799
"""The last second of the year 9999: what a time may be that people are to read."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """That *witness* has seen the checkpoint at *time*."""

    witness: str
    time: datetime

    def __str__(self) -> str:
        return f"{self.witness} at {self.time:%Y-%m-%d %H:%M:%S} UTC"


class Witness:
    """A witness's public key with its name: `name+hexid+base64(0x04 || key)`."""

    __slots__ = ("_key", "id", "name", "public")

    def __init__(self, name: str, public: bytes) -> None:
        try:
            check_origin(name)
            self._key = Ed25519PublicKey.from_public_bytes(public)
        except (EntryInvalid, ValueError) as error:
            raise KeyInvalid(f"not a witness's key: {error}") from None
        self.name, self.public = name, public
        self.id = key_id(name, public, KEY_TYPE)

    @classmethod
    def parse(cls, line: str) -> "Witness":
        """Read a verifier key line of type 4. Raises `KeyInvalid`."""
        parts = line.strip().split("+", 2)
        if len(parts) != 3:
            raise KeyInvalid("a witness's key has the form name+id+key")
        try:
            key = base64.b64decode(parts[2], validate=True)
        except (binascii.Error, ValueError):
            raise KeyInvalid("the witness's key is not base64") from None
        if key[:1] != KEY_TYPE or len(key) != 33:
            raise KeyInvalid("the witness's key is not one for Ed25519 cosignatures (type 4, 32 bytes)")
        witness = cls(parts[0], key[1:])
        if parts[1] != witness.id.hex():
            raise KeyInvalid("the id of the witness's key does not fit: a typing error, or another key")
        return witness

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(KEY_TYPE + self.public).decode()}"

    def check(self, checkpoint: Checkpoint, line: Signature) -> Cosignature:
        """Return when this witness saw *checkpoint*. Raises `CosignatureInvalid` unless *line* is its cosignature."""
        seconds, signature = int.from_bytes(line.signature[:8]), line.signature[8:]
        if len(signature) != 64 or not 0 < seconds <= _LATEST:
            raise CosignatureInvalid(f"the line of witness {self.name} is no cosignature: a time and 64 bytes")
        try:
            self._key.verify(signature, cosigned_message(checkpoint, seconds))
        except InvalidSignature:
            raise CosignatureInvalid(
                f"the line of witness {self.name} does not fit the checkpoint and its time"
            ) from None
        return Cosignature(self.name, datetime.fromtimestamp(seconds, UTC))


def cosigned_message(checkpoint: Checkpoint, seconds: int) -> bytes:
    """Return what a witness signs."""
    return f"cosignature/v1\ntime {seconds}\n{checkpoint.text()}".encode()


def read_cosignatures(note: str, witnesses: Sequence[Witness]) -> list[Cosignature]:
    """Return which of *witnesses* have seen the checkpoint of *note*.

    Lines of others are ignored; one of theirs that does not verify is a lie. Raises `CosignatureInvalid`,
    `CheckpointInvalid`. The log's own signature is not looked at.
    """
    checkpoint, lines = parse_checkpoint(note)
    known = {(witness.name, witness.id): witness for witness in witnesses}
    return [
        known[line.name, line.key_id].check(checkpoint, line) for line in lines if (line.name, line.key_id) in known
    ]


def add_cosignatures(note: str, answer: str, witness: Witness) -> str:
    """Return *note* with the lines of *answer* that are *witness*'s; others' are left out.

    Raises `CosignatureInvalid` when there is none, or one that does not verify.
    """
    try:
        checkpoint, lines = parse_checkpoint(f"{note.partition(_GAP)[0]}{_GAP}{answer}")
    except CheckpointInvalid:
        raise CosignatureInvalid("the answer is no list of signature lines") from None
    own = [line for line in lines if (line.name, line.key_id) == (witness.name, witness.id)]
    if not own:
        raise CosignatureInvalid(
            f"the answer has no line of the witness {witness.name} with the key that is configured"
        )
    for line in own:
        witness.check(checkpoint, line)
    return note + "".join(signature_line(line.name, line.key_id + line.signature) for line in own)


def signature_line(name: str, blob: bytes) -> str:
    """Return the line of a note for a key's id and what follows it."""
    return f"\N{EM DASH} {name} {base64.b64encode(blob).decode()}\n"


_GAP = "\n\n"
