"""Asterisk's monitor folder, where it is on this machine or mounted here."""

import hashlib
import io
import time
import wave
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from gateway.ports.pbx import NO_FILE

_log = structlog.get_logger(__name__)

FRAME_SAMPLES: Final = 160
HEADER_BYTES: Final = 44
FINAL_TRIES: Final = 40
FINAL_WAIT_S: Final = 0.05


def file_facts(folder: Path | None, path: str, *, purge: bool) -> dict[str, object]:
    """Return the facts of a finished recording that Asterisk wrote at *path*, removed first with *purge*.

    *folder* is where Asterisk's `/var/spool/asterisk/monitor` can be read; None: not from here. Never raises.
    """
    facts = dict(NO_FILE)
    if not path:
        return facts
    if folder is None:
        return facts | {"checked": "kept by the PBX, its spool is not shared"}
    file = spool_file(folder, path)
    try:
        if purge:
            file.unlink()
            return facts | {"purged": True, "checked": "removed"}
        data, frames = _when_final(file)
        unfinished = "" if frames is not None else ", which never finished it"
    except OSError as error:
        _log.error("a recording of the PBX cannot be reached", error=type(error).__name__)
        return facts | {"checked": f"the PBX's file cannot be reached ({type(error).__name__})"}
    digest = hashlib.sha256(data).hexdigest()
    checked = f"read in the PBX's spool{unfinished}"
    return facts | {"sha256": digest, "size": len(data), "frames": frames or 0, "checked": checked}


def spool_file(folder: Path, path: str) -> Path:
    """Return where a file that Asterisk wrote at *path* is below *folder*: its name and that of its own folder."""
    parts = PurePosixPath(path).parts[-2:]
    return folder / "/".join(parts[-1:] if ".." in parts else parts)


def sound_length(data: bytes) -> tuple[int, bool]:
    """Return a WAV file's length in milliseconds by its header, and whether that header is final."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            return sound.getnframes() * 1000 // sound.getframerate(), _frames(data) is not None
    except (wave.Error, EOFError):
        return 0, False


def _when_final(file: Path) -> tuple[bytes, int | None]:
    """Return a file and its number of 20 ms frames once its header has its size: Asterisk closes a recording some
    milliseconds after it tells that the channel has ended. None for them: the header never came true (a killed PBX)."""
    for _ in range(FINAL_TRIES):
        data = file.read_bytes()
        frames = _frames(data)
        if frames is not None:
            return data, frames
        time.sleep(FINAL_WAIT_S)
    return data, None


def _frames(data: bytes) -> int | None:
    try:
        with wave.open(io.BytesIO(data)) as sound:
            length = sound.getnframes() * sound.getsampwidth() * sound.getnchannels()
            return sound.getnframes() // FRAME_SAMPLES if len(data) - HEADER_BYTES == length else None
    except (wave.Error, EOFError):
        return None
