"""The shelf of answers: notes and answers under their names, none ever replaced by another."""

import os
import stat
from pathlib import Path

import pytest

from gateway.adapters.anchors.shelf import AnchorShelf
from gateway.ports.anchors import Kept
from gateway.ports.evidence import ForkDetected
from tests.support.heads import head_of, leaves_of

HEAD = head_of(leaves_of(5))


def test_note_and_answer_lie_side_by_side(tmp_path: Path) -> None:
    shelf = AnchorShelf(tmp_path / "anchors")
    assert not shelf.has(HEAD, "tsa") and shelf.seconds_since() is None
    shelf.put(HEAD, "tsa", Kept("stamped", ".tsr", b"stamp"))
    shelf.put(HEAD, "folder", Kept("written"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "anchors").iterdir()} == {
        "5.checkpoint": HEAD.note.encode(),
        "5.tsa.tsr": b"stamp",
    }
    assert shelf.has(HEAD, "tsa") and not shelf.has(HEAD, "folder") and not shelf.has(head_of(leaves_of(6)), "tsa")
    assert stat.S_IMODE((tmp_path / "anchors").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "anchors" / "5.tsa.tsr").stat().st_mode) == 0o444


def test_its_age_is_that_of_what_came_last(tmp_path: Path) -> None:
    shelf = AnchorShelf(tmp_path)
    shelf.put(HEAD, "folder", Kept("written"))
    os.utime(tmp_path / "5.checkpoint", (0, 0))
    aged = shelf.seconds_since()
    assert aged is not None and aged > 1e9
    shelf.put(HEAD, "folder", Kept("written"))
    fresh = shelf.seconds_since()
    assert fresh is not None and fresh < 5


def test_a_second_history_never_takes_the_place_of_the_first(tmp_path: Path) -> None:
    shelf, other = AnchorShelf(tmp_path), head_of(leaves_of(5, changed=2))
    shelf.put(HEAD, "folder", Kept("written"))
    with pytest.raises(ForkDetected, match="another head of 5 entries"):
        shelf.has(other, "folder")
    with pytest.raises(ForkDetected, match="another head of 5 entries"):
        shelf.put(other, "folder", Kept("written"))
    assert (tmp_path / "5.checkpoint").read_text() == HEAD.note


def test_a_write_that_fails_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        AnchorShelf(tmp_path).put(HEAD, "folder", Kept("written"))
    assert list(tmp_path.iterdir()) == []
