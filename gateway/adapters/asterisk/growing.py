"""A recording that Asterisk is still writing, where its monitor folder can be read: does it keep silent while paused?

Asterisk writes a recording in blocks of 32 KB (two seconds; measured on 22), so what the file has more than one block
after the moment of a pause was recorded after it, whether the parties were connected all the time or not.
"""

import asyncio
from pathlib import Path
from typing import Final, Literal

import structlog

_log = structlog.get_logger(__name__)

BLOCK_BYTES: Final = 32_768
QUEUED_BYTES: Final = 4_800
"""0.3 s: what Asterisk may have taken from the call and not handed to the file when it confirms a pause."""
LOOK_EVERY_S: Final = 0.5
READ_BYTES: Final = 1 << 20

Finding = Literal["nothing", "silent", "sound", "gone"]


class PausedFile:
    """The file at *path*, from the first look on, which is the confirmation of a pause."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    async def look(self) -> Finding:
        """Return "sound" when something was recorded that should not have been, "silent" when the file has grown by
        silence since the pause or the last such answer, "nothing" when it has not grown far enough to tell, "gone"
        when it cannot be read (any more)."""
        try:
            return await asyncio.to_thread(self._look)
        except OSError as error:
            _log.warning("a growing recording cannot be read", error=type(error).__name__)
            return "gone"

    def _look(self) -> Finding:
        size = self._path.stat().st_size
        if not self._read:
            self._read = size + BLOCK_BYTES + QUEUED_BYTES
        if size <= self._read:
            return "nothing"
        with self._path.open("rb") as file:
            file.seek(self._read)
            while piece := file.read(READ_BYTES):
                self._read += len(piece)
                if any(piece):
                    return "sound"
        return "silent"
