"""Prompts and the ring-back tone as 20 ms frames. Pure but for reading the file."""

import wave
from pathlib import Path
from typing import Final

import numpy as np

from gateway.adapters.sip.frames import FRAME_BYTES, SILENCE

RATE: Final = 8_000
MAX_PROMPT_BYTES: Final = 16 * 1024 * 1024

_RING_FRAMES: Final = 50
_CADENCE_FRAMES: Final = 250


class NotAPrompt(ValueError):
    """The file is no 8 kHz mono int16 WAV."""


class Prompt:
    """One playing of one file: hands out frames and knows exactly how many samples it handed out."""

    def __init__(self, play: str, pcm: bytes) -> None:
        self.play = play
        self._pcm = pcm
        self._offset = 0

    @property
    def length_ms(self) -> int:
        return len(self._pcm) // 2 * 1000 // RATE

    @property
    def played_ms(self) -> int:
        return min(self._offset, len(self._pcm)) // 2 * 1000 // RATE

    @property
    def completed(self) -> bool:
        return self._offset >= len(self._pcm)

    def next_frame(self) -> bytes:
        """The next 20 ms; the last frame is filled up with silence, after it comes silence."""
        frame = self._pcm[self._offset : self._offset + FRAME_BYTES]
        self._offset += len(frame)
        return frame if len(frame) == FRAME_BYTES else frame + SILENCE[len(frame) :]


def load_prompt(path: str) -> bytes:
    """Read a prompt's samples. Raises `NotAPrompt` (another format, no WAV, too long) or `OSError`."""
    if Path(path).stat().st_size > MAX_PROMPT_BYTES:
        raise NotAPrompt("the file is too long for a prompt")
    try:
        with wave.open(path, "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            if form != (RATE, 1, 2):
                raise NotAPrompt("not 8 kHz mono int16")
            return file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        raise NotAPrompt("not a WAV file") from None


def _tone() -> tuple[bytes, ...]:
    at = np.arange(RATE * _RING_FRAMES // 50) / RATE
    pcm = (3_000 * np.sin(2 * np.pi * 425 * at)).astype(np.int16).tobytes()
    return tuple(pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm), FRAME_BYTES))


_RING: Final = _tone()


def ring_back(frame: int) -> bytes:
    """Frame number *frame* of the European ring-back tone: 425 Hz, 1 s on, 4 s off (ETSI TS 101 270, ITU-T E.180)."""
    place = frame % _CADENCE_FRAMES
    return _RING[place] if place < _RING_FRAMES else SILENCE
