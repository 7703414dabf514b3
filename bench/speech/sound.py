"""Sound files of any rate, read as the telephone would carry them."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 8_000
Audio = NDArray[np.float64]
"""Mono, 8 kHz; 1 is full scale."""


class SoundError(ValueError):
    """A sound file cannot be used; the text names it and says what to do."""


def read(path: Path) -> Audio:
    """Return a WAV file (PCM of 8, 16, 24 or 32 bits, any rate, any channels) as mono at 8 kHz. Raises `SoundError`."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise SoundError(
            f"{path}: not a WAV file with PCM ({error or type(error).__name__}): "
            f"convert it with: sox {path.name} -b 16 -e signed-integer new.wav"
        ) from None
    if len(data) < width * channels * rate // 50:
        raise SoundError(f"{path}: no sound in it (shorter than 20 ms)")
    return resampled(_samples(data, width).reshape(-1, channels).mean(axis=1), rate)


def _samples(data: bytes, width: int) -> Audio:
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8) / 2**23
    return np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)


def resampled(audio: Audio, rate: int) -> Audio:
    """Return audio of *rate* Hz at 8 kHz, by its spectrum."""
    if rate == RATE:
        return audio
    length = max(1, round(len(audio) * RATE / rate))
    spectrum = np.fft.rfft(audio)
    kept = np.zeros(length // 2 + 1, np.complex128)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, length) * length / len(audio)


def write(path: Path, audio: Audio) -> None:
    """Write 16 bit mono at 8 kHz, whole or not at all."""
    part = path.with_suffix(".part")
    with wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.rint(audio * 32767), -32768, 32767).astype("<i2").tobytes())
    part.replace(path)
