"""The tree against others' vectors, against a second implementation, and against corrupted proofs."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence import merkle
from gateway.evidence.errors import ProofInvalid
from tests.unit.evidence.stories import node_of

SHARED = Path(__file__).parents[4] / "shared" / "vectors" / "merkle"


def load_shared(what: str) -> list[tuple[str, dict[str, Any]]]:
    """Return others' vectors; outside CI the folder may be missing, then there are none."""
    files = sorted((SHARED / what).rglob("*.json"))
    assert files or os.environ.get("CI") != "true", f"{SHARED} is missing"
    return [(str(path.relative_to(SHARED)), json.loads(path.read_text())) for path in files]


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"leaf %d" % number) for number in range(count)]


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\x01" + plain_root(leaves[:middle]) + plain_root(leaves[middle:])).digest()


def test_others_inclusion_vectors() -> None:
    for name, vector in load_shared("inclusion"):
        proof = [decoded(part) for part in vector["proof"] or []]
        case = (decoded(vector["leafHash"]), vector["leafIdx"], vector["treeSize"], proof, decoded(vector["root"]))
        if vector["wantErr"]:
            with pytest.raises(ProofInvalid):
                merkle.verify_inclusion(*case)
                pytest.fail(f"{name} was accepted")
        else:
            merkle.verify_inclusion(*case)


def test_others_consistency_vectors() -> None:
    for name, vector in load_shared("consistency"):
        roots = (decoded(vector["root1"]), decoded(vector["root2"]))
        case = (vector["size1"], vector["size2"], *roots, [decoded(part) for part in vector["proof"] or []])
        if vector["wantErr"]:
            with pytest.raises(ProofInvalid):
                merkle.verify_consistency(*case)
                pytest.fail(f"{name} was accepted")
        else:
            merkle.verify_consistency(*case)


def test_the_growing_tree_has_the_root_of_the_definition() -> None:
    leaves = leaves_of(70)
    tree = merkle.Frontier()
    known: dict[tuple[int, int], bytes] = {}
    for size, leaf in enumerate(leaves):
        assert tree.root() == plain_root(leaves[:size])
        known[0, size] = leaf
        known.update({(level, index): node for level, index, node in tree.append(leaf)})
    assert tree.root() == plain_root(leaves)
    assert set(known) == {(level, index) for level in range(7) for index in range(70 >> level)}
    for size in range(71):
        assert merkle.root_at(size, lambda level, index: known[level, index]) == plain_root(leaves[:size])


def test_a_frontier_remembers_as_many_hashes_as_its_size_has_bits() -> None:
    tree = merkle.Frontier()
    for leaf in leaves_of(11):
        tree.append(leaf)
    assert len(tree.hashes) == 3
    again = merkle.Frontier(tree.size, tree.hashes)
    copy = tree.copy()
    for grown in (tree, again):
        grown.append(leaves_of(12)[-1])
    assert tree.root() == again.root() == plain_root(leaves_of(12))
    assert copy.root() == plain_root(leaves_of(11))


@pytest.mark.parametrize(("size", "hashes"), [(1, []), (0, [bytes(32)]), (3, [bytes(32)]), (1, [bytes(31)]), (-1, [])])
def test_an_impossible_frontier_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ProofInvalid):
        merkle.Frontier(size, hashes)


def test_every_proof_of_every_small_tree_verifies_and_has_the_length_foretold() -> None:
    leaves = leaves_of(20)
    node = node_of(leaves)
    for size in range(1, 21):
        root = plain_root(leaves[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, node)
            assert len(proof) == merkle.inclusion_proof_length(index, size)
            merkle.verify_inclusion(leaves[index], index, size, proof, root)
        for old in range(1, size + 1):
            proof = merkle.consistency_proof(old, size, node)
            merkle.verify_consistency(old, size, plain_root(leaves[:old]), root, proof)


def test_an_inclusion_proof_proves_one_place_in_one_tree_only() -> None:
    leaves = leaves_of(9)
    node = node_of(leaves)
    proof = merkle.inclusion_proof(4, 9, node)
    for index in range(9):
        for size in range(1, 10):
            for leaf in leaves:
                if (index, size, leaf) != (4, 9, leaves[4]):
                    with pytest.raises(ProofInvalid):
                        merkle.verify_inclusion(leaf, index, size, proof, plain_root(leaves[:size]))


@given(st.integers(1, 200), st.data())
def test_no_single_flipped_bit_in_a_proof_is_accepted(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    node = node_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    inclusion = merkle.inclusion_proof(index, size, node)
    consistency = merkle.consistency_proof(old, size, node)
    roots = (merkle.root_at(old, node), merkle.root_at(size, node))
    merkle.verify_inclusion(leaves[index], index, size, inclusion, roots[1])
    merkle.verify_consistency(old, size, *roots, consistency)
    place, bit = data.draw(st.integers(0, 31)), 1 << data.draw(st.integers(0, 7))
    for proof in (inclusion, consistency):
        if proof:
            part = data.draw(st.integers(0, len(proof) - 1))
            flipped = bytearray(proof[part])
            flipped[place] ^= bit
            proof[part] = bytes(flipped)
    if inclusion:
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(leaves[index], index, size, inclusion, roots[1])
    if consistency:
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(old, size, *roots, consistency)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ((0, 0, []), "outside a tree of 0"),
        ((-1, 4, []), "outside"),
        ((4, 4, []), "leaf 4 lies outside a tree of 4"),
        ((0, 4, [bytes(32)]), "has 1 hashes; leaf 0 of 4 needs 2"),
        ((0, 4, [bytes(32), bytes(31)]), "32 bytes"),
        ((0, 4, [bytes(32), bytes(32)]), "does not lead to the root"),
    ],
)
def test_a_refused_inclusion_proof_says_why(case: Any, says: str) -> None:
    index, size, proof = case
    with pytest.raises(ProofInvalid, match=says):
        merkle.verify_inclusion(bytes(32), index, size, proof, bytes(32))


def test_a_fork_of_equal_size_is_named() -> None:
    with pytest.raises(ProofInvalid, match="forked"):
        merkle.verify_consistency(3, 3, bytes(32), b"1" * 32, [])


def test_proofs_of_impossible_trees_cannot_be_asked_for() -> None:
    node = node_of(leaves_of(3))
    with pytest.raises(ProofInvalid):
        merkle.inclusion_proof(3, 3, node)
    with pytest.raises(ProofInvalid):
        merkle.consistency_proof(4, 3, node)
    assert merkle.consistency_proof(0, 3, node) == merkle.consistency_proof(3, 3, node) == []
