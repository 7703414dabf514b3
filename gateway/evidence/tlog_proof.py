"""One entry's proof as a file of its own: the C2SP format `tlog-proof`, version 1.

    c2sp.org/tlog-proof@v1
    index 12
    gSKyXoYZ...=                  (zero or more hashes: the inclusion proof, nearest sibling first)
                                  (an empty line, then the checkpoint as it is)
    gateway.example/log
    ...

The entry itself is not in it. Whoever has its bytes and the log's key can tell that the log holds exactly these.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.evidence import merkle
from gateway.evidence.checkpoint import Checkpoint, Verifier, verify_checkpoint
from gateway.evidence.errors import ProofInvalid

MAGIC = "c2sp.org/tlog-proof@v1"
MAX_CHARACTERS = 131_072
MAX_HASHES = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TlogProof:
    """That the entry at *index* is in the tree that *note* signs. *extra* is anybody's: nothing vouches for it."""

    index: int
    path: Sequence[bytes]
    note: str
    extra: bytes = b""


def write_proof(proof: TlogProof) -> str:
    """Return the file."""
    lines = [MAGIC]
    if proof.extra:
        lines.append(f"extra {base64.b64encode(proof.extra).decode()}")
    lines.append(f"index {proof.index}")
    lines += [base64.b64encode(part).decode() for part in proof.path]
    return "".join(f"{line}\n" for line in lines) + "\n" + proof.note


def read_proof(text: str) -> TlogProof:
    """Return what a file says. Proves nothing. Raises `ProofInvalid`."""
    if len(text) > MAX_CHARACTERS:
        raise ProofInvalid(f"a proof has no {len(text)} characters")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or lines.pop(0) != MAGIC:
        raise ProofInvalid(
            f"this is no proof: it does not begin with '{MAGIC}', or has no checkpoint after an empty line"
        )
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = _bytes(lines.pop(0).removeprefix("extra "), "extra data")
    match = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if match is None:
        raise ProofInvalid("the proof does not say which entry it is of: no line 'index' and a number")
    if len(lines) > MAX_HASHES:
        raise ProofInvalid(f"the proof has {len(lines)} hashes: no tree is that high")
    path = tuple(_bytes(line, f"hash {number} of the proof") for number, line in enumerate(lines))
    if any(len(part) != merkle.HASH_BYTES for part in path):
        raise ProofInvalid(f"a hash of the proof does not have {merkle.HASH_BYTES} bytes")
    return TlogProof(int(match[1]), path, note, extra)


def verify_proof(text: str, data: bytes, verifier: Verifier) -> Checkpoint:
    """Return the signed head of the log that holds exactly the entry *data*, as the proof in *text* shows.

    Raises `ProofInvalid` and `CheckpointInvalid`.
    """
    proof = read_proof(text)
    checkpoint = verify_checkpoint(proof.note, verifier)
    merkle.verify_inclusion(merkle.leaf_hash(data), proof.index, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint


def _bytes(text: str, what: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not value or base64.b64encode(value).decode() != text:
        raise ProofInvalid(f"{what} is not base64 as it is written: it was changed")
    return value
