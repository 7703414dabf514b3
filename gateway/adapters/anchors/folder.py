"""A folder that is written once: a share that forbids changes, another machine, a medium that is carried off."""

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from gateway.adapters.anchors.files import write_once
from gateway.evidence import merkle
from gateway.evidence.checkpoint import Checkpoint, Verifier, verify_checkpoint
from gateway.evidence.errors import AnchorInvalid, CheckpointInvalid, ProofInvalid
from gateway.ports.anchors import AnchorUnavailable, Head, Kept
from gateway.ports.evidence import ForkDetected

SUFFIX = ".checkpoint"
_LONGEST = 200


class WriteOnceFolder:
    """`Anchor` that keeps heads as `ORIGIN-SIZE.checkpoint`, mode 0444, and never writes a name twice.

    The folder must exist: one that appears by itself may be the place where a disk should have been mounted. Several
    logs may share it. What is found there is believed only with the log's own signature.
    """

    def __init__(self, folder: Path, verifier: Verifier) -> None:
        self._folder, self._verifier = folder, verifier
        self._prefix = f"{safe_name(verifier.name)}-"

    @property
    def name(self) -> str:
        return "folder"

    def keep(self, head: Head) -> Kept:
        try:
            self._compare(head)
            return self._write(head)
        except FileNotFoundError:
            reason = f"{self._folder} is not there: is the disk mounted? Make the folder if it is new"
        except OSError as error:
            reason = f"{error.filename or self._folder}: {error.strerror}"
        raise AnchorUnavailable(reason)

    def _compare(self, head: Head) -> None:
        """Raise `ForkDetected` unless *head* extends the newest head that is kept here."""
        newest = self._newest()
        if newest is None:
            return
        path, kept = newest
        size = head.checkpoint.size
        if kept.size > size:
            raise ForkDetected(
                f"{path} has the log with {kept.size} entries, now it has {size}: the log and its signed head were "
                "restored from a backup, replaced or cut short"
            )
        if kept.size == 0:
            return
        proof = [] if kept.size == size else head.extends(kept.size)
        try:
            merkle.verify_consistency(kept.size, size, kept.root, head.checkpoint.root, proof)
        except ProofInvalid:
            raise ForkDetected(
                f"{path} has another history than the log now: its first {kept.size} entries were changed, or this "
                "key has signed two logs"
            ) from None

    def _newest(self) -> tuple[Path, Checkpoint] | None:
        pattern = re.compile(re.escape(self._prefix) + r"(0|[1-9][0-9]{0,18})" + re.escape(SUFFIX), re.ASCII)
        found = [(int(match[1]), path) for path in self._folder.iterdir() if (match := pattern.fullmatch(path.name))]
        if not found:
            return None
        size, path = max(found)
        return path, self._read(path, size)

    def _read(self, path: Path, size: int) -> Checkpoint:
        try:
            checkpoint = verify_checkpoint(path.read_bytes().decode(), self._verifier)
        except (UnicodeDecodeError, CheckpointInvalid) as error:
            reason = "no text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise AnchorInvalid(
                f"{path} is not what was written there ({reason}): if a write was interrupted, remove it; else find "
                "out who changed it"
            ) from None
        if checkpoint.size != size:
            raise AnchorInvalid(f"{path} is of {checkpoint.size} entries, its name says otherwise: it was renamed")
        return checkpoint

    def _write(self, head: Head) -> Kept:
        path = self._folder / f"{self._prefix}{head.checkpoint.size}{SUFFIX}"
        try:
            write_once(path, head.note.encode())
        except FileExistsError:
            kept = self._read(path, head.checkpoint.size)
            if kept.root != head.checkpoint.root:
                raise ForkDetected(f"{path} has another history of the same length: this key has signed two") from None
            return Kept(f"is in {path} already")
        return Kept(f"written to {path}")


def safe_name(origin: str) -> str:
    """Return *origin* as a part of a file's name: reversible (percent-encoded) while it is short enough."""
    name = quote(origin, safe="")
    return name if len(name) <= _LONGEST and not name.startswith(".") else hashlib.sha256(origin.encode()).hexdigest()
