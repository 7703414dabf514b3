"""The folder beside the log's key in which anchored heads and the answers about them are kept."""

import time
from pathlib import Path

from gateway.adapters.anchors.files import put
from gateway.ports.anchors import Head, Kept
from gateway.ports.evidence import ForkDetected


class AnchorShelf:
    """`Shelf` in a folder: `SIZE.checkpoint`, and `SIZE.NAME.tsr` or `SIZE.NAME.cosigned` beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, head: Head, name: str) -> bool:
        return self._knows(head) and any(self._folder.glob(f"{head.checkpoint.size}.{name}.*"))

    def put(self, head: Head, name: str, kept: Kept) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = self._note(head.checkpoint.size)
        if self._knows(head):
            note.touch()
        else:
            put(note, head.note.encode())
        if kept.suffix:
            put(self._folder / f"{head.checkpoint.size}.{name}{kept.suffix}", kept.data)

    def _knows(self, head: Head) -> bool:
        """Whether the note is here. Raises `ForkDetected` for another one in its place: it is never overwritten."""
        path = self._note(head.checkpoint.size)
        try:
            known = path.read_bytes()
        except FileNotFoundError:
            return False
        if known != head.note.encode():
            raise ForkDetected(f"{path} is another head of {head.checkpoint.size} entries: this key has signed two")
        return True

    def seconds_since(self) -> float | None:
        times = [path.stat().st_mtime for path in self._folder.glob("*.checkpoint")] if self._folder.is_dir() else []
        return max(0.0, time.time() - max(times)) if times else None

    def _note(self, size: int) -> Path:
        return self._folder / f"{size}.checkpoint"
