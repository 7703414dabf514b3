"""The Merkle tree of RFC 6962 section 2.1 / RFC 9162 section 2.1, over SHA-256.

A *node* is named by (level, index): level 0 are the leaves; the node (level, index) covers the leaves
[index * 2**level, (index + 1) * 2**level). Only complete nodes have a name; they never change again.
"""

import hashlib
from collections.abc import Callable, Sequence

from gateway.evidence.errors import ProofInvalid

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves (RFC 9162 section 2.1.1)."""

Node = Callable[[int, int], bytes]
"""Gives the hash of a complete node: `node(level, index)`."""


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree that remembers only the roots of its complete subtrees, largest first.

    There are as many as the size has one bits, so a tree of a billion leaves takes at most 30 hashes.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if size < 0 or len(hashes) != size.bit_count() or any(len(item) != HASH_BYTES for item in hashes):
            raise ProofInvalid(f"{len(hashes)} hashes cannot be the frontier of a tree of {size} leaves")
        self._size = size
        self._hashes = list(hashes)

    @property
    def size(self) -> int:
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; return the nodes above it that it completed, as (level, index, hash).

        A leaf completes as many nodes as its index has one bits at the low end: one on average.
        """
        level, index, reached = 0, self._size, leaf
        completed = []
        while index & 1:
            level, index, reached = level + 1, index >> 1, node_hash(self._hashes.pop(), reached)
            completed.append((level, index, reached))
        self._hashes.append(reached)
        self._size += 1
        return completed

    def root(self) -> bytes:
        """Return the Merkle tree hash of all leaves so far."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> "Frontier":
        return Frontier(self._size, self._hashes)


def _split(width: int) -> int:
    """Return the largest power of two smaller than *width* (k of RFC 9162 section 2.1.1)."""
    return 1 << ((width - 1).bit_length() - 1)


def root_at(size: int, node: Node) -> bytes:
    """Return the root that the tree had when it held *size* leaves."""
    return _range_root(0, size, node) if size else EMPTY_ROOT


def _range_root(begin: int, end: int, node: Node) -> bytes:
    width = end - begin
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return node(level, begin >> level)
    middle = begin + _split(width)
    return node_hash(_range_root(begin, middle, node), _range_root(middle, end, node))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 9162 section 2.1.3.1, nearest sibling first."""
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf {index} is not in a tree of {size} leaves")
    begin, end = 0, size
    path = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(begin, middle, node))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return PROOF(old, D[new]) of RFC 9162 section 2.1.4.1; empty for equal sizes and for an empty old tree."""
    if not 0 <= old <= new:
        raise ProofInvalid(f"a tree of {new} leaves cannot extend one of {old}")
    if old in (0, new):
        return []
    begin, end, whole = 0, new, True
    path = []
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(begin, middle, node))
            begin, whole = middle, False
    if not whole:
        path.append(_range_root(begin, end, node))
    return path[::-1]


def inclusion_proof_length(index: int, size: int) -> int:
    """Return how many hashes the inclusion proof of leaf *index* in a tree of *size* leaves has."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """Raise `ProofInvalid` unless *proof* ties the leaf hash *leaf* at *index* to the root *expected*.

    Returns nothing: a verification that can be ignored will be. RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf {index} lies outside a tree of {size} leaves")
    needed = inclusion_proof_length(index, size)
    if len(proof) != needed:
        raise ProofInvalid(f"the proof has {len(proof)} hashes; leaf {index} of {size} needs {needed}")
    _check_hashes(leaf, *proof, expected)
    at, last, root = index, size - 1, leaf
    for sibling in proof:
        if at & 1 or at == last:
            root = node_hash(sibling, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        at, last = at >> 1, last >> 1
    if root != expected:
        raise ProofInvalid(f"the proof of leaf {index} of {size} does not lead to the root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise `ProofInvalid` unless *proof* shows that the tree of *new* leaves begins with the one of *old*.

    That a tree extends the empty one is refused, not waved through: everything does, so nothing would be proven.
    RFC 9162 section 2.1.4.2.
    """
    if not 0 < old <= new:
        raise ProofInvalid(f"a tree of {new} leaves cannot be proven to extend one of {old}")
    if old == new:
        if proof:
            raise ProofInvalid("trees of equal size need no proof, yet there is one")
        if old_root != new_root:
            raise ProofInvalid(f"two different roots for the same size of {old}: the log was forked")
        return
    if not proof:
        raise ProofInvalid(f"the proof from {old} to {new} leaves is empty")
    _check_hashes(old_root, new_root, *proof)
    hashes = list(proof) if old & (old - 1) else [old_root, *proof]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = hashes[0]
    for item in hashes[1:]:
        if last == 0:
            raise ProofInvalid(f"the proof from {old} to {new} leaves is too long")
        if at & 1 or at == last:
            first, second = node_hash(item, first), node_hash(item, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, item)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofInvalid(f"the proof from {old} to {new} leaves is too short")
    if first != old_root:
        raise ProofInvalid(f"the proof does not lead to the old root of {old} leaves")
    if second != new_root:
        raise ProofInvalid(f"the proof does not lead to the new root of {new} leaves")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofInvalid(f"a hash does not have {HASH_BYTES} bytes")
