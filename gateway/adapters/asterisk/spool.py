"""Asterisk's monitor folder, where it is on this machine or mounted here."""

import hashlib
import io
import os
import time
import wave
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from gateway.ports.pbx import NO_FILE, evident_name

_log = structlog.get_logger(__name__)

FRAME_SAMPLES: Final = 160
HEADER_BYTES: Final = 44
FINAL_TRIES: Final = 40
FINAL_WAIT_S: Final = 0.05
DIALPLAN_FOLDER: Final = "consent"
"""Where the dialplan as shipped lets MixMonitor write, below the monitor folder."""

NOT_SHARED: Final = "kept by the PBX, its spool is not shared"
NOT_REACHED: Final = "kept by the PBX, which was not reached: whether it still records is not known"
NOT_FINAL: Final = "kept by the PBX, and not final: cut off, or still being written"


def file_facts(folder: Path | None, path: str, *, purge: bool) -> dict[str, object]:
    """Return the facts of a finished recording that Asterisk wrote at *path*, removed first with *purge*.

    *folder* is where Asterisk's `/var/spool/asterisk/monitor` can be read; None: not from here. Never raises.
    """
    facts = dict(NO_FILE)
    if not path:
        return facts
    if folder is None:
        return facts | {"checked": NOT_SHARED}
    file = spool_file(folder, path)
    try:
        if purge:
            file.unlink()
            return facts | {"purged": True, "checked": "removed"}
        data, frames = _when_final(file)
    except OSError as error:
        return facts | {"checked": _unreachable(error)}
    told = _facts_of(data, frames or 0)
    unfinished = "" if frames is not None else ", which never finished it"
    return facts | told | {"checked": f"{told['checked']}{unfinished}"}


def left_behind(
    folder: Path | None, path: str, call_id: str, *, others: Collection[str], stopped: bool
) -> tuple[str, dict[str, object]]:
    """Return path and facts of a recording whose gateway was killed, as `Pbx.left_behind` promises. *stopped*: no
    recorder of that gateway runs any more."""
    facts = dict(NO_FILE)
    if folder is None:
        return path, facts | {"checked": NOT_SHARED}
    try:
        found = [path] if path else _of_call(folder, call_id, others)
        if len(found) > 1:
            return "", facts | {"checked": f"{len(found)} files of the call in the PBX's spool, which one is not known"}
        if not found:
            return "", facts | {"checked": "no file of the call in the PBX's spool" if stopped else NOT_REACHED}
        data, frames = _when_final(spool_file(folder, found[0]))
    except OSError as error:
        return path, facts | {"checked": _unreachable(error)}
    if frames or (frames == 0 and stopped):
        return found[0], facts | _facts_of(data, frames)
    return found[0], facts | {"checked": NOT_FINAL if stopped else NOT_REACHED}


def _of_call(folder: Path, call_id: str, others: Collection[str]) -> list[str]:
    """The files of a call that the dialplan as shipped has named, but *others*, each as a path below *folder*."""
    known = {PurePosixPath(path).name for path in others}
    try:
        names = [entry.name for entry in os.scandir(folder / DIALPLAN_FOLDER)]
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        return []  # nothing was ever recorded
    return [f"{DIALPLAN_FOLDER}/{name}" for name in names if evident_name(name, call_id) and name not in known]


def _facts_of(data: bytes, frames: int) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    return {"sha256": digest, "size": len(data), "frames": frames, "checked": "read in the PBX's spool"}


def _unreachable(error: OSError) -> str:
    _log.error("a recording of the PBX cannot be reached", error=type(error).__name__)
    return f"the PBX's file cannot be reached ({type(error).__name__})"


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
        if _is_final(file):
            break
        time.sleep(FINAL_WAIT_S)
    data = file.read_bytes()
    return data, _frames(data)


def _is_final(file: Path) -> bool:
    """Whether a file's header tells the file's size."""
    with file.open("rb") as opened:
        header = opened.read(HEADER_BYTES)
    return len(header) == HEADER_BYTES and int.from_bytes(header[40:44], "little") == file.stat().st_size - HEADER_BYTES


def _frames(data: bytes) -> int | None:
    try:
        with wave.open(io.BytesIO(data)) as sound:
            length = sound.getnframes() * sound.getsampwidth() * sound.getnchannels()
            return sound.getnframes() // FRAME_SAMPLES if len(data) - HEADER_BYTES == length else None
    except (wave.Error, EOFError):
        return None
