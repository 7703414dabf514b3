"""Our own vectors: made again without a change, and checked by an implementation that shares no code."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from gateway.evidence import canonical, merkle
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.checkpoint import Verifier, verify_checkpoint
from gateway.evidence.errors import BundleInvalid, CheckpointInvalid
from tests.vectors import make_evidence, second_verifier

FOLDER = Path(__file__).parent / "evidence"
KEY = (FOLDER / "log.pub").read_text()
BUNDLES = sorted(FOLDER.glob("*.bundle"))


def test_the_script_makes_the_vectors_that_are_there() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == make_evidence.files()


def test_entries_have_the_bytes_both_implementations_give() -> None:
    for vector in json.loads((FOLDER / "entries.json").read_text()):
        data = bytes.fromhex(vector["bytes"])
        assert second_verifier.spell(vector["entry"]) == data
        assert canonical.encode(canonical.from_object(vector["entry"])) == data
        assert hashlib.sha256(b"\x00" + data).hexdigest() == vector["leaf_hash"]


def test_trees_have_the_roots_and_proofs_both_implementations_give() -> None:
    vectors = json.loads((FOLDER / "trees.json").read_text())
    roots = {vector["size"]: bytes.fromhex(vector["root"]) for vector in vectors}
    for vector in vectors:
        size = vector["size"]
        leaves = [hashlib.sha256(b"\x00leaf %d" % number).digest() for number in range(size)]
        assert second_verifier.tree_hash(leaves) == roots[size]
        for index, proof in enumerate([[bytes.fromhex(part) for part in proof] for proof in vector["inclusion"]]):
            assert proof == second_verifier.path(index, leaves)
            assert second_verifier.root_from_path(leaves[index], index, size, proof) == roots[size]
            merkle.verify_inclusion(leaves[index], index, size, proof, roots[size])
        for old, proof in vector["consistency"].items():
            parts = [bytes.fromhex(part) for part in proof]
            merkle.verify_consistency(int(old), size, roots[int(old)], roots[size], parts)


def test_checkpoints_are_judged_alike() -> None:
    vectors = json.loads((FOLDER / "checkpoints.json").read_text())
    for note in vectors["good"]:
        checkpoint = verify_checkpoint(note, Verifier.parse(vectors["verifier_key"]))
        key = second_verifier.read_key(vectors["verifier_key"])
        assert second_verifier.read_checkpoint(note, key) == (checkpoint.size, checkpoint.root)
    for note in vectors["bad"]:
        with pytest.raises(CheckpointInvalid):
            verify_checkpoint(note, Verifier.parse(vectors["verifier_key"]))


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_bundles_are_judged_alike(path: Path) -> None:
    data = path.read_bytes()
    if path.name.startswith("good-"):
        assert second_verifier.verify(data, KEY) == verify_bundle(data, KEY).entries
        return
    with pytest.raises(BundleInvalid):
        verify_bundle(data, KEY)
    with pytest.raises((AssertionError, KeyError, InvalidSignature)):
        second_verifier.verify(data, KEY)


def test_there_are_vectors_of_both_sorts() -> None:
    assert sum(path.name.startswith("good-") for path in BUNDLES) == 3
    assert sum(path.name.startswith("bad-") for path in BUNDLES) == 8
