"""Asterisk's monitor folder, where it is on this machine or mounted here."""

import hashlib
import wave
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from gateway.ports.pbx import NO_FILE

_log = structlog.get_logger(__name__)

FRAME_SAMPLES: Final = 160


def file_facts(folder: Path | None, path: str, *, purge: bool) -> dict[str, object]:
    """Return the facts of a finished recording that Asterisk wrote at *path*, removed first with *purge*.

    *folder* is where Asterisk's `/var/spool/asterisk/monitor` can be read; None: not from here. Never raises.
    """
    facts = dict(NO_FILE)
    if not path:
        return facts
    if folder is None:
        return facts | {"checked": "kept by the PBX, its spool is not shared"}
    file = folder / "/".join(PurePosixPath(path).parts[-2:])
    try:
        if purge:
            file.unlink(missing_ok=True)
            return facts | {"purged": True, "checked": "removed"}
        data = file.read_bytes()
        frames = _frames(file)
    except OSError as error:
        _log.error("a recording of the PBX cannot be reached", error=type(error).__name__)
        return facts | {"checked": f"the PBX's file cannot be reached ({type(error).__name__})"}
    digest = hashlib.sha256(data).hexdigest()
    return facts | {"sha256": digest, "size": len(data), "frames": frames, "checked": "read in the PBX's spool"}


def _frames(file: Path) -> int:
    try:
        with wave.open(str(file)) as sound:
            return int(sound.getnframes()) // FRAME_SAMPLES
    except (wave.Error, EOFError):
        return 0
