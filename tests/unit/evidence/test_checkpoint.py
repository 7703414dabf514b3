"""Signed notes: the published example, our own, and what must not pass."""

import base64

import pytest

from gateway.evidence.checkpoint import (
    Checkpoint,
    Signer,
    Verifier,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from gateway.evidence.errors import CheckpointInvalid, KeyInvalid
from tests.unit.evidence.stories import KEY, ORIGIN, SIGNER

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
"""The example that implementations of C2SP signed-note publish; it signs the text below."""

HEAD = Checkpoint(ORIGIN, 7, bytes(range(32)))
NOTE = sign_checkpoint(HEAD, SIGNER)


def test_a_published_example_verifies() -> None:
    verifier = Verifier.parse(EXAMPLE_KEY)
    assert str(verifier) == EXAMPLE_KEY
    signature = base64.b64decode(EXAMPLE_SIGNATURE)
    assert signature[:4] == verifier.id
    verifier.check(b"This is an example message.\n", signature[4:])
    with pytest.raises(CheckpointInvalid):
        verifier.check(b"This is another message.\n", signature[4:])


def test_a_note_has_the_published_form() -> None:
    text, signature = NOTE.split("\n\n")
    assert text.split("\n") == [ORIGIN, "7", base64.b64encode(bytes(range(32))).decode()]
    assert signature.startswith(f"\N{EM DASH} {ORIGIN} ")
    assert verify_checkpoint(NOTE, SIGNER.verifier) == HEAD


def test_other_signers_lines_are_kept_and_ignored() -> None:
    witness = "\N{EM DASH} witness.example/w " + base64.b64encode(b"abcd" + bytes(100)).decode() + "\n"
    text, ours = NOTE.split("\n\n")
    for note in (NOTE + witness, f"{text}\n\n{witness}{ours}"):
        assert verify_checkpoint(note, SIGNER.verifier) == HEAD
        assert len(parse_checkpoint(note)[1]) == 2


def test_extension_lines_are_signed_and_kept() -> None:
    head = Checkpoint(ORIGIN, 7, bytes(32), ("something more", "and more"))
    note = sign_checkpoint(head, SIGNER)
    assert verify_checkpoint(note, SIGNER.verifier) == head
    with pytest.raises(CheckpointInvalid, match="does not fit"):
        verify_checkpoint(note.replace("and more", "and less"), SIGNER.verifier)


def test_a_false_line_of_our_key_is_not_saved_by_a_true_one() -> None:
    text, ours = NOTE.split("\n\n")
    forged = "\N{EM DASH} " + ORIGIN + " " + base64.b64encode(SIGNER.verifier.id + bytes(64)).decode() + "\n"
    for note in (f"{text}\n\n{forged}{ours}", f"{text}\n\n{ours}{forged}"):
        with pytest.raises(CheckpointInvalid, match="does not fit"):
            verify_checkpoint(note, SIGNER.verifier)


@pytest.mark.parametrize(
    ("note", "says"),
    [
        ("", "not signed"),
        (NOTE.split("\n\n")[0] + "\n", "not signed"),
        (NOTE.rstrip("\n"), "not signed"),
        (NOTE.replace("\n7\n", "\n8\n"), "does not fit"),
        (NOTE.replace("\n7\n", "\n07\n"), "decimal"),
        (NOTE.replace("\n7\n", "\n-7\n"), "decimal"),
        (NOTE.replace("AAEC", "AAED"), "does not fit"),
        (NOTE.replace("AAEC", "AAE"), "base64 of 32 bytes"),
        (NOTE.replace("\n7\n", "\n7\r\n"), "control character"),
        (NOTE.replace("\N{EM DASH}", "-"), "malformed"),
        (NOTE.replace(f"\N{EM DASH} {ORIGIN}", f"\N{EM DASH} {ORIGIN}x"), "is not signed by"),
        (f"{ORIGIN}\n7\n\n" + NOTE.split("\n\n")[1], "three lines"),
        ("x" * 70_000, "over 65536"),
        (NOTE + "\N{EM DASH} w AAAAAAA=\n" * 100, "over 100"),
        (NOTE + "\N{EM DASH} w AAA=\n", "not base64"),
    ],
)
def test_a_note_that_is_not_ours_is_refused(note: str, says: str) -> None:
    with pytest.raises(CheckpointInvalid, match=says):
        verify_checkpoint(note, SIGNER.verifier)


def test_the_head_of_another_log_is_refused_even_under_our_key() -> None:
    note = sign_checkpoint(Checkpoint("another.example/log", 7, bytes(32)), SIGNER)
    with pytest.raises(CheckpointInvalid, match="another log"):
        verify_checkpoint(note, SIGNER.verifier)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "name[+]id[+]key"),
        ("name+00000000", "name[+]id[+]key"),
        (KEY.replace("+A", "+B"), "Ed25519 key|id does not fit"),
        (EXAMPLE_KEY.replace("530d903a", "530d903b"), "id does not fit"),
        (EXAMPLE_KEY.replace("example.com/foo", "example.com/bar"), "id does not fit"),
        (EXAMPLE_KEY[:-4], "not base64|Ed25519 key"),
        (EXAMPLE_KEY + "!", "not base64"),
        ("a b+00000000+" + EXAMPLE_KEY.rsplit("+", 1)[1], "spaces"),
    ],
)
def test_a_malformed_key_line_is_refused(line: str, says: str) -> None:
    with pytest.raises(KeyInvalid, match=says):
        Verifier.parse(line)


def test_a_signer_never_shows_its_key() -> None:
    assert repr(SIGNER) == f"Signer({SIGNER.verifier.label})"
    assert isinstance(SIGNER, Signer)
