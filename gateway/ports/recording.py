"""Where the media process puts a recording: written and sealed, never read back.

`write` and `silence` are called from the media thread 50 times a second. They never block and never raise:
trouble shows in `failed`, and from then on nothing more is written (a recording fails closed).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

FRAME_BYTES: Final = 640
"""One stereo frame: 160 samples of two sides, int16, 20 ms at 8 kHz."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A recording that will not change again. *sha256* (hex) and *size* are of the sealed file; "" and 0 when
    there is none: nothing was written, or it was *purged* (there was a file). *failed* is "" or what went wrong."""

    sha256: str
    size: int
    failed: str = ""
    purged: bool = False


class RecordingWriter(Protocol):
    """Writes one recording. The file exists from the first frame of audio on, not before."""

    @property
    def failed(self) -> str:
        """What went wrong ("disk full", "disk too slow", "file exists", "write error"), or ""."""
        ...

    def write(self, audio: bytes) -> None:
        """Append interleaved int16 stereo."""
        ...

    def silence(self, frames: int) -> None:
        """Append that many frames of digital silence."""
        ...

    def seal(self, done: Callable[[Sealed], None], *, purge: bool = False) -> None:
        """Finish the file, or with *purge* remove it, and call *done* once, from any thread. Returns at once.
        A second call is ignored."""
        ...


OpenWriter = Callable[[str, str], RecordingWriter]
"""Path and age recipient to a writer. Does no input or output itself."""


@dataclass(slots=True)
class FakeRecordingWriter:
    """Keeps the recording in memory. `fail` makes the disk fail."""

    path: str
    recipient: str
    audio: bytearray = field(default_factory=bytearray)
    sealed: bool = False
    purged: bool = False
    failed: str = ""

    def write(self, audio: bytes) -> None:
        if not self.failed and not self.sealed:
            self.audio += audio

    def silence(self, frames: int) -> None:
        self.write(bytes(FRAME_BYTES * frames))

    def fail(self, why: str) -> None:
        self.failed = why

    def seal(self, done: Callable[[Sealed], None], *, purge: bool = False) -> None:
        if self.sealed:
            return
        self.sealed = True
        self.purged = purge
        if purge or not self.audio:
            done(Sealed("", 0, self.failed, purged=purge and bool(self.audio)))
            self.audio.clear()
        else:
            done(Sealed("00" * 32, len(self.audio), self.failed))
