"""One entry's proof: what is written is what the specification says, and each part of it counts."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence import merkle
from gateway.evidence.errors import CheckpointInvalid, EvidenceInvalid, ProofInvalid
from gateway.evidence.tlog_proof import MAGIC, TlogProof, read_proof, verify_proof, write_proof
from tests.support.heads import head_of, leaves_of
from tests.unit.evidence.stories import KEY, SIGNER, node_of
from tests.vectors import second_reader


def proof_of(index: int, size: int, extra: bytes = b"") -> str:
    """The proof of leaf *index*, whose entry is its number as text."""
    leaves = leaves_of(size)
    path = merkle.inclusion_proof(index, size, node_of(leaves))
    return write_proof(TlogProof(index, path, head_of(leaves).note, extra))


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (1, 2), (4, 5), (7, 300), (299, 300), (255, 256)])
@pytest.mark.parametrize("extra", [b"", b"what somebody adds"])
def test_two_readers_agree(index: int, size: int, extra: bytes) -> None:
    text, entry = proof_of(index, size, extra), b"%d" % index
    assert verify_proof(text, entry, SIGNER.verifier).size == size
    assert second_reader.verify_proof(text, entry, KEY) == (index, size)
    assert read_proof(text).extra == extra and write_proof(read_proof(text)) == text


def test_it_looks_as_the_specification_shows_it() -> None:
    lines = proof_of(1, 3, b"\x01").split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra AQ==", "index 1"]
    assert lines[5:8] == ["", "gateway.example/log", "3"] and lines[-1] == ""
    assert all(len(base64.b64decode(line)) == 32 for line in lines[3:5])


GOOD = proof_of(7, 300)
FIRST_HASH = GOOD.split("\n")[2]

BAD = {
    "another entry": (GOOD, b"8", "does not lead to the root"),
    "another index": (GOOD.replace("index 7", "index 6"), b"7", "does not lead to the root"),
    "an index beyond the tree": (GOOD.replace("index 7", "index 300"), b"7", "outside a tree of 300"),
    "an index with a zero before it": (GOOD.replace("index 7", "index 07"), b"7", "which entry it is of"),
    "no index": (GOOD.replace("index 7\n", ""), b"7", "which entry it is of"),
    "a hash less": (GOOD.replace(FIRST_HASH + "\n", "", 1), b"7", "needs"),
    "another hash": (GOOD.replace(FIRST_HASH, base64.b64encode(bytes(32)).decode()), b"7", "does not lead to the root"),
    "a short hash": (GOOD.replace(FIRST_HASH, "AAAA"), b"7", "does not have 32 bytes"),
    "a hash spelled otherwise": (
        GOOD.replace(FIRST_HASH, FIRST_HASH.rstrip("=")),
        b"7",
        "hash 0 of the proof is not base64",
    ),
    "a page of hashes": (GOOD.replace(FIRST_HASH, "\n".join([FIRST_HASH] * 64)), b"7", "no tree is that high"),
    "another version": (GOOD.replace("@v1", "@v2"), b"7", f"does not begin with '{MAGIC}'"),
    "no checkpoint": (GOOD.partition("\n\n")[0], b"7", "no checkpoint after an empty line"),
    "an unsigned checkpoint": (GOOD.rpartition("\n\n")[0] + "\n", b"7", "not signed"),
    "a larger checkpoint": (GOOD.replace("\n300\n", "\n301\n"), b"7", "does not fit the text"),
    "empty extra data": (GOOD.replace("index", "extra \nindex"), b"7", "extra data is not base64"),
    "extra data in another place": (GOOD.replace("index 7\n", "index 7\nextra AAAA\n"), b"7", "is not base64"),
    "too long": (GOOD + "x" * 200_000, b"7", "a proof has no 20"),
    "nothing": ("", b"7", "this is no proof"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_proof_is_refused_in_words(kind: str) -> None:
    text, entry, words = BAD[kind]
    with pytest.raises((ProofInvalid, CheckpointInvalid), match=words):
        verify_proof(text, entry, SIGNER.verifier)


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_no_changed_character_passes(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    if changed == GOOD:
        return
    with pytest.raises(EvidenceInvalid):
        verify_proof(changed, b"7", SIGNER.verifier)


@given(st.text(max_size=400))
def test_any_text_is_refused_and_never_a_crash(text: str) -> None:
    for hostile in (text, f"{MAGIC}\n{text}", f"{MAGIC}\nindex 0\n{text}\n\n{text}"):
        with pytest.raises(EvidenceInvalid):
            verify_proof(hostile, b"7", SIGNER.verifier)
