"""The write-once folder: what it keeps it keeps, and what does not extend it is a fork."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.anchors.folder import WriteOnceFolder, safe_name
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint
from gateway.evidence.errors import AnchorInvalid
from gateway.ports.anchors import AnchorUnavailable
from gateway.ports.evidence import ForkDetected
from tests.support.heads import head_of, leaves_of
from tests.unit.evidence.stories import ORIGIN, SIGNER

FILE = "gateway.example%2Flog-{}.checkpoint"


@pytest.fixture
def anchor(tmp_path: Path) -> WriteOnceFolder:
    return WriteOnceFolder(tmp_path, SIGNER.verifier)


def test_a_head_is_kept_as_it_is_and_cannot_be_written(anchor: WriteOnceFolder, tmp_path: Path) -> None:
    head = head_of(leaves_of(5))
    before = os.umask(0o077)
    try:
        assert anchor.keep(head).words == f"written to {tmp_path / FILE.format(5)}"
    finally:
        os.umask(before)
    kept = tmp_path / FILE.format(5)
    assert kept.read_text() == head.note and stat.S_IMODE(kept.stat().st_mode) == 0o444
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_file_and_folder_reach_the_disk(
    anchor: WriteOnceFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
    )
    anchor.keep(head_of(leaves_of(5)))
    assert synced == [FILE.format(5), tmp_path.name]


def test_the_same_head_again_is_fine(anchor: WriteOnceFolder, tmp_path: Path) -> None:
    head = head_of(leaves_of(5))
    anchor.keep(head)
    kept = (tmp_path / FILE.format(5)).stat()
    assert anchor.keep(head).words.endswith("already")
    assert (tmp_path / FILE.format(5)).stat() == kept


@pytest.mark.parametrize(("old", "new"), [(0, 1), (0, 0), (1, 2), (5, 9), (8, 8), (8, 9), (7, 300)])
def test_a_log_that_grows_is_kept_again_and_again(anchor: WriteOnceFolder, tmp_path: Path, old: int, new: int) -> None:
    anchor.keep(head_of(leaves_of(old)))
    anchor.keep(head_of(leaves_of(new)))
    assert len(list(tmp_path.iterdir())) == len({old, new})


@pytest.mark.parametrize("new", [5, 6, 300])
def test_another_history_is_a_fork(anchor: WriteOnceFolder, tmp_path: Path, new: int) -> None:
    anchor.keep(head_of(leaves_of(5)))
    with pytest.raises(ForkDetected, match=r"gateway\.example%2Flog-5\.checkpoint has another history"):
        anchor.keep(head_of(leaves_of(new, changed=3)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE.format(5)]


def test_a_log_that_became_shorter_is_a_fork(anchor: WriteOnceFolder, tmp_path: Path) -> None:
    """That the shorter one is a true beginning of the longer one is no excuse: it was signed as the whole."""
    anchor.keep(head_of(leaves_of(9)))
    with pytest.raises(ForkDetected, match=r"has the log with 9 entries, now it has 5: .*restored from a backup"):
        anchor.keep(head_of(leaves_of(5)))


def test_the_newest_is_the_largest_not_the_last_by_name(anchor: WriteOnceFolder) -> None:
    for size in (9, 10):
        anchor.keep(head_of(leaves_of(size)))
    with pytest.raises(ForkDetected, match="has the log with 10 entries"):
        anchor.keep(head_of(leaves_of(9)))


def test_several_logs_share_a_folder(anchor: WriteOnceFolder, tmp_path: Path) -> None:
    other = Signer("gateway.example/log-2", Ed25519PrivateKey.generate())
    checkpoint = Checkpoint("gateway.example/log-2", 77, bytes(32))
    head = replace(head_of([]), checkpoint=checkpoint, note=sign_checkpoint(checkpoint, other))
    WriteOnceFolder(tmp_path, other.verifier).keep(head)
    anchor.keep(head_of(leaves_of(5)))
    (tmp_path / "readme.txt").write_text("what this folder is for")
    anchor.keep(head_of(leaves_of(6)))
    assert len(list(tmp_path.iterdir())) == 4


def _of_another_key(note: str) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), Signer(ORIGIN, Ed25519PrivateKey.generate()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda note: note[:20], "if a write was interrupted, remove it"),
        (lambda note: "", "if a write was interrupted, remove it"),
        (lambda note: note.replace("\n5\n", "\n4\n"), "not what was written there .*does not fit the text"),
        (_of_another_key, "not what was written there .*not signed by"),
        (lambda note: head_of(leaves_of(4)).note, "it was renamed"),
    ],
)
@pytest.mark.parametrize("size", [5, 6])
def test_a_file_that_was_changed_is_named(
    anchor: WriteOnceFolder, tmp_path: Path, damage, words: str, size: int
) -> None:  # type: ignore[no-untyped-def]
    anchor.keep(head_of(leaves_of(5)))
    kept = tmp_path / FILE.format(5)
    note = kept.read_text()
    kept.unlink()
    kept.write_text(damage(note))
    with pytest.raises(AnchorInvalid, match=words) as refused:
        anchor.keep(head_of(leaves_of(size)))
    assert str(kept) in str(refused.value)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    anchor = WriteOnceFolder(tmp_path / "mnt" / "disk", SIGNER.verifier)
    with pytest.raises(AnchorUnavailable, match="is the disk mounted"):
        anchor.keep(head_of(leaves_of(5)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnchorUnavailable, match=r"file: Not a directory"):
        WriteOnceFolder(tmp_path / "file", SIGNER.verifier).keep(head_of(leaves_of(5)))


def test_a_link_is_not_followed(anchor: WriteOnceFolder, tmp_path: Path) -> None:
    """Whoever may write to the folder must not choose where else the gateway writes."""
    target = tmp_path / "target"
    (tmp_path / FILE.format(5)).symlink_to(target)
    with pytest.raises((AnchorUnavailable, AnchorInvalid)):
        anchor.keep(head_of(leaves_of(5)))
    assert not target.exists()


@pytest.mark.parametrize(
    ("origin", "name"),
    [("a/b", "a%2Fb"), ("a-b", "a-b"), ("a%2Fb", "a%252Fb"), ("ä", "%C3%A4"), ("../../etc", "*"), ("x" * 255, "*")],
)
def test_names_are_safe_and_never_the_same_for_two_logs(origin: str, name: str) -> None:
    made = safe_name(origin)
    assert made == name or (name == "*" and len(made) == 64)
    assert "/" not in made and not made.startswith(".")
