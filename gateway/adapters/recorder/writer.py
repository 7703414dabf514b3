"""Writes a recording as one age file, encrypted as it is written; no plain audio touches a disk.

The plain content is a WAV stream: a header with unknown sizes, then int16 stereo at 8 kHz. age seals it in chunks of
64 KiB, each authenticated on its own (C2SP age, STREAM), and a chunk is 2.05 s of audio: after a crash the file opens
up to the last chunk on the disk. Each chunk is on the disk (fdatasync) before the next one is written.
"""

import errno
import hashlib
import os
import queue
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyrage
import structlog

from gateway.ports.recording import FRAME_BYTES, Sealed

_log = structlog.get_logger(__name__)

RATE: Final = 8_000
UNKNOWN_SIZE: Final = 0xFFFF_FFFF
WAV_HEADER: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", UNKNOWN_SIZE, b"WAVE"),
    *(b"fmt ", 16, 1, 2, RATE, RATE * 4, 4, 16),
    *(b"data", UNKNOWN_SIZE),
)
QUEUE_LIMIT_BYTES: Final = 2 * 1024 * 1024
"""About 65 s of audio: a disk that stands still for longer has failed."""

SILENCE_AT_ONCE: Final = 100


class _Purged(Exception):
    """Raised inside the encryption to end it early."""


class _Feed:
    """The plain side: a blocking reader over what the media thread queued."""

    def __init__(self, items: "queue.SimpleQueue[bytes | int | None]", taken: Callable[[int], None]) -> None:
        self._items = items
        self._taken = taken
        self._rest: bytes = WAV_HEADER
        self._silence = 0
        self.purge = False

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            if self.purge:
                raise _Purged
            if self._silence:
                frames = min(self._silence, SILENCE_AT_ONCE)
                self._silence -= frames
                self._rest = bytes(frames * FRAME_BYTES)
                break
            item = self._items.get()
            if item is None:
                if self.purge:
                    raise _Purged
                return b""
            if isinstance(item, int):
                self._silence = item
            else:
                self._taken(len(item))
                self._rest = item
        if size < 0:
            size = len(self._rest)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


class _Disk:
    """The sealed side: the file, its hash and its size. A write that does not fit is taken back whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.hash = hashlib.sha256()
        self.error: OSError | None = None
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        _sync_folder(path)

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        written = 0
        try:
            while written < len(view):
                written += os.write(self._fd, view[written:])
            os.fdatasync(self._fd)
        except OSError as error:
            self.error = error
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self.size += len(view)
        self.hash.update(view)
        return len(view)

    def flush(self) -> None:
        """Every write is on the disk already."""

    def close(self) -> None:
        with suppress(OSError):
            os.fsync(self._fd)
        os.close(self._fd)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            _sync_folder(self.path)


class AgeRecordingWriter:
    """A `RecordingWriter` on an age file. Its thread starts, and the file appears, with the first audio.

    *recipient* is an age X25519 recipient (`age1...`). Raises `ValueError` for another.
    """

    def __init__(self, path: str, recipient: str) -> None:
        try:
            self._recipient = pyrage.x25519.Recipient.from_str(recipient)
        except Exception:
            raise ValueError("not an age recipient") from None
        self._path = Path(path)
        self._items: queue.SimpleQueue[bytes | int | None] = queue.SimpleQueue()
        self._queued = 0
        self._lock = threading.Lock()
        self._feed = _Feed(self._items, self._took)
        self._thread: threading.Thread | None = None
        self._failed = ""
        self._done: Callable[[Sealed], None] | None = None
        self._sealing = False

    @property
    def failed(self) -> str:
        return self._failed

    def write(self, audio: bytes) -> None:
        if self._failed or self._sealing:
            return
        with self._lock:
            if self._queued + len(audio) > QUEUE_LIMIT_BYTES:
                self._failed = "disk too slow"
                return
            self._queued += len(audio)
        self._items.put(audio)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
            self._thread.start()

    def silence(self, frames: int) -> None:
        if not self._failed and not self._sealing and frames > 0:
            self._items.put(frames)

    def seal(self, done: Callable[[Sealed], None], *, purge: bool = False) -> None:
        if self._sealing:
            return
        self._sealing = True
        if self._thread is None:
            done(Sealed("", 0, self._failed))
            return
        self._done = done
        self._feed.purge = purge
        self._items.put(None)

    def _took(self, size: int) -> None:
        with self._lock:
            self._queued -= size

    def _run(self) -> None:
        sealed = Sealed("", 0, "write error")
        try:
            sealed = self._encrypt()
        except OSError as error:
            self._failed = self._failed or _name(error)
            sealed = Sealed("", 0, self._failed)
        except Exception as error:
            _log.error("a recording could not be written", error=type(error).__name__)
            self._failed = self._failed or "write error"
        self._wait_for_seal()
        assert self._done is not None
        self._done(sealed)

    def _encrypt(self) -> Sealed:
        disk = _Disk(self._path)
        try:
            pyrage.encrypt_io(self._feed, disk, [self._recipient])
        except (pyrage.EncryptError, OSError, _Purged):
            # The binding turns what the two sides raise into an error of its own; they know better.
            if not self._feed.purge:
                self._failed = self._failed or (_name(disk.error) if disk.error else "write error")
        finally:
            disk.close()
        if self._failed:
            self._wait_for_seal()
        if self._feed.purge:
            disk.remove()
            return Sealed("", 0, self._failed, purged=True)
        return Sealed(disk.hash.hexdigest(), disk.size, self._failed)

    def _wait_for_seal(self) -> None:
        """After a failure: swallow what still comes until the owner has noticed and seals."""
        while self._done is None:
            item = self._items.get()
            if isinstance(item, bytes):
                self._took(len(item))


def _name(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full"
    return "file exists" if error.errno == errno.EEXIST else "write error"


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
