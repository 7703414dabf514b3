"""Heads of a log of made-up leaves, signed by the tests' key."""

from collections.abc import Sequence

from gateway.evidence import merkle
from gateway.evidence.checkpoint import Checkpoint, sign_checkpoint
from gateway.ports.anchors import Head
from tests.unit.evidence.stories import ORIGIN, SIGNER, node_of


def leaves_of(size: int, *, changed: int | None = None) -> list[bytes]:
    """Return leaf hashes; that of leaf *changed* is another."""
    return [merkle.leaf_hash(b"%d%s" % (number, b"x" if number == changed else b"")) for number in range(size)]


def head_of(leaves: Sequence[bytes]) -> Head:
    """Return the signed head over *leaves*."""
    node, size = node_of(leaves), len(leaves)
    checkpoint = Checkpoint(ORIGIN, size, merkle.root_at(size, node))
    return Head(sign_checkpoint(checkpoint, SIGNER), checkpoint, lambda old: merkle.consistency_proof(old, size, node))
