"""Cosignatures: keys of type 4, lines that hold, lines that lie, lines of others."""

import base64
from datetime import UTC, datetime

import pytest

from gateway.evidence.checkpoint import Verifier, verify_checkpoint
from gateway.evidence.cosignature import Witness, add_cosignatures, read_cosignatures
from gateway.evidence.errors import CosignatureInvalid, KeyInvalid
from tests.support.heads import head_of, leaves_of
from tests.support.witness import Cosigner
from tests.unit.evidence.stories import KEY, SIGNER

HEAD = head_of(leaves_of(5))
COSIGNER = Cosigner()
WITNESS = Witness.parse(COSIGNER.line)
T = 1_700_000_000

EXAMPLE_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE"
    "+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe"
    "+mbIUBkBIfZ+qnA==\n"
)
"""The example of the specification; its key is not published there."""


def test_a_witness_s_line_says_who_and_when() -> None:
    note = HEAD.note + COSIGNER.cosign(HEAD.note, T)
    (seen,) = read_cosignatures(note, [WITNESS])
    assert (seen.witness, seen.time) == (COSIGNER.name, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert str(seen) == "witness.example/w1 at 2023-11-14 22:13:20 UTC"
    assert verify_checkpoint(note, SIGNER.verifier) == HEAD.checkpoint, "the log's own check is not disturbed"


def test_the_example_of_the_specification_is_read() -> None:
    stranger = Cosigner("witness.example.com/w1")
    assert read_cosignatures(EXAMPLE_NOTE, [Witness.parse(stranger.line)]) == []


def test_others_are_ignored() -> None:
    namesake, other = Cosigner(COSIGNER.name, b"another"), Cosigner("other.example/w2")
    note = HEAD.note + namesake.cosign(HEAD.note, T) + other.cosign("another note\n\n", T)
    assert read_cosignatures(note, [WITNESS]) == [] == read_cosignatures(note, [])


def _changed(blob: bytes, place: int) -> str:
    changed = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
    return f"\u2014 {COSIGNER.name} {base64.b64encode(changed).decode()}\n"


BLOB = base64.b64decode(COSIGNER.cosign(HEAD.note, T).split()[2])

LIES = {
    "another head": COSIGNER.cosign(head_of(leaves_of(6)).note, T),
    "another time": _changed(BLOB, 11),
    "a changed signature": _changed(BLOB, 40),
    "no time": f"\u2014 {COSIGNER.name} {base64.b64encode(COSIGNER.id + bytes(72)).decode()}\n",
    "a time nobody lives to see": COSIGNER.cosign(HEAD.note, 1 << 62),
    "too short": f"\u2014 {COSIGNER.name} {base64.b64encode(BLOB[:-1]).decode()}\n",
    "too long": f"\u2014 {COSIGNER.name} {base64.b64encode(BLOB + b'x').decode()}\n",
}


@pytest.mark.parametrize("kind", LIES)
def test_a_known_witness_s_line_that_does_not_verify_is_a_lie(kind: str) -> None:
    with pytest.raises(CosignatureInvalid, match=r"witness witness\.example/w1"):
        read_cosignatures(HEAD.note + LIES[kind], [WITNESS])
    with pytest.raises(CosignatureInvalid, match=r"witness witness\.example/w1"):
        read_cosignatures(HEAD.note + COSIGNER.cosign(HEAD.note, T) + LIES[kind], [WITNESS])
    with pytest.raises(CosignatureInvalid):
        add_cosignatures(HEAD.note, LIES[kind], WITNESS)


def test_the_witness_s_lines_of_an_answer_are_put_under_the_note() -> None:
    own, other = COSIGNER.cosign(HEAD.note, T), Cosigner("other.example/w2").cosign(HEAD.note, T)
    assert add_cosignatures(HEAD.note, other + own, WITNESS) == HEAD.note + own


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "no list of signature lines"),
        ("<html>Sign in</html>\n", "no list of signature lines"),
        (Cosigner("other.example/w2").cosign(HEAD.note, T), "has no line of the witness witness.example/w1"),
        (COSIGNER.cosign(HEAD.note, T).rstrip("\n"), "no list of signature lines"),
        ("x" * 70_000, "no list of signature lines"),
        ("\n\n" + COSIGNER.cosign(HEAD.note, T), r"does not fit|no list"),
    ],
    ids=["nothing", "a web page", "another", "cut off", "too long", "another text"],
)
def test_an_answer_without_a_line_of_the_witness_is_refused(answer: str, words: str) -> None:
    with pytest.raises(CosignatureInvalid, match=words):
        add_cosignatures(HEAD.note, answer, WITNESS)


def test_a_key_is_read_and_written_alike() -> None:
    assert str(Witness.parse(f"  {COSIGNER.line}\n")) == COSIGNER.line
    assert (WITNESS.name, WITNESS.id) == (COSIGNER.name, COSIGNER.id)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (KEY, "not one for Ed25519 cosignatures"),
        ("w", "the form name"),
        (COSIGNER.line.replace(COSIGNER.id.hex(), "00000000"), "does not fit: a typing error"),
        (COSIGNER.line + "!", "not base64"),
        (COSIGNER.line.replace("witness.example/w1", "wit ness"), "not a witness's key"),
    ],
)
def test_a_key_that_is_none_is_refused(line: str, words: str) -> None:
    with pytest.raises(KeyInvalid, match=words):
        Witness.parse(line)


def test_a_witness_s_key_is_no_key_of_a_log() -> None:
    with pytest.raises(KeyInvalid, match="type 1"):
        Verifier.parse(COSIGNER.line)
