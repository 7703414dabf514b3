"""How loud a frame is in each band of the telephone's range, and how loud the noise is that it stands in."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.media.g711 import Samples
from gateway.media.vad import FRAME_SAMPLES

Bands = NDArray[np.float64]
"""One value for each band: power (1 is full scale squared), or dB."""

BAND_EDGES_HZ: Final = (200, 400, 600, 900, 1300, 1800, 2400, 3000, 3600)
BANDS: Final = len(BAND_EDGES_HZ) - 1

SILENCE_DBOV: Final = -100.0
"""What digital silence is said to be."""

FIRST_FLOOR_DBOV: Final = -30.0
"""The most a band's floor may be while too little was heard to tell noise from somebody who speaks already."""
LOWEST_FLOOR_DBOV: Final = -72.0
"""The least a band's floor may be: about the noise of G.711 itself."""
HIGHEST_FLOOR_DBOV: Final = -20.0
TONE_SHARE: Final = 0.93
GAP_FRAMES: Final = 10
"""So many frames of digital silence may be lost packets; more are silence."""

_BIN_HZ: Final = 8000 // FRAME_SAMPLES
_FIRST_BIN: Final = BAND_EDGES_HZ[0] // _BIN_HZ
_BINS: Final = BAND_EDGES_HZ[-1] // _BIN_HZ - _FIRST_BIN
_TONE_BIN: Final = (400 - BAND_EDGES_HZ[0]) // _BIN_HZ
_PARTS: Final = 8
_BIAS: Final = 10 ** (np.array((3.7, 3.6, 3.0, 2.6, 2.3, 2.1, 2.1, 2.3)) / 10)
"""So far below its mean is the quietest moment of steady noise in each band (measured): the narrower, the further."""
_SMOOTHING: Final = 0.6


def dbov(power: float) -> float:
    """Return the level of a mean square, 1 being full scale squared: 0 is a full-scale square wave, a sine is -3.01."""
    return max(10 * math.log10(power), SILENCE_DBOV) if power > 0 else SILENCE_DBOV


def _spectrum_matrix() -> NDArray[np.float32]:
    """Columns: cosines, then sines, of the bins from 200 to 3,600 Hz under a Hann window, scaled to power."""
    window = np.hanning(FRAME_SAMPLES + 1)[:-1]
    angles = 2 * np.pi * np.outer(np.arange(FRAME_SAMPLES), np.arange(_FIRST_BIN, _FIRST_BIN + _BINS)) / FRAME_SAMPLES
    scale = math.sqrt(2 / (FRAME_SAMPLES * (window**2).sum())) / 32768.0
    matrix: NDArray[np.float32] = (
        np.concatenate((np.cos(angles), np.sin(angles)), axis=1) * window[:, None] * scale
    ).astype(np.float32)
    return matrix


_MATRIX = _spectrum_matrix()
_STARTS = np.array(BAND_EDGES_HZ[:-1]) // _BIN_HZ - _FIRST_BIN


def spectrum(frame: Samples) -> NDArray[np.float32]:
    """Return the power of each 50 Hz from 200 to 3,600 Hz, of int16 samples; together a frame's power in that range."""
    parts = frame.astype(np.float32) @ _MATRIX
    parts *= parts
    powers: NDArray[np.float32] = parts[:_BINS] + parts[_BINS:]
    return powers


def bands_of(powers: NDArray[np.float32]) -> Bands:
    """Return the power of each band of a `spectrum`."""
    return np.add.reduceat(powers, _STARTS).astype(np.float64)


def is_tone(powers: NDArray[np.float32]) -> bool:
    """Tell whether a `spectrum` is one tone (fax, dial, whistle): nearly all of it within 50 Hz of its peak.

    Below 400 Hz that may be a hummed "m", so only from there on.
    """
    peak = int(powers.argmax())
    return peak >= _TONE_BIN and float(powers[peak - 1 : peak + 2].sum()) > TONE_SHARE * float(powers.sum())


class NoiseFloor:
    """The power of the noise in each band: the quietest moment of the last *frames* frames (minimum statistics,
    after R. Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001), without his adaptive smoothing.

    Speech does not lift it, as speech has dips; noise that becomes louder lifts it after that time at the latest, noise
    that becomes quieter lowers it at once. Until it has heard that long it takes loud sound for the speech that it may
    be, not for noise (`FIRST_FLOOR_DBOV`). Lost packets say nothing about noise, so short digital silence is skipped.
    """

    def __init__(self, frames: int) -> None:
        self._part_frames = max(frames // _PARTS, 1)
        self._minima = np.tile(10 ** (FIRST_FLOOR_DBOV / 10) / _BIAS, (_PARTS, 1))
        self._past = self._minima[0].copy()
        self._present = self._past.copy()
        self._next = 0
        self._left = self._part_frames
        self._silent = 0
        self._smooth: Bands | None = None
        self.powers: Bands = self._past * _BIAS

    def hear(self, powers: Bands | None) -> Bands:
        """Take the bands of the next frame (None: digital silence) and return the floor: power, one for each band."""
        if powers is None:
            self._silent += 1
            if self._silent <= GAP_FRAMES:
                return self.powers
            self._smooth = np.zeros(BANDS)
        else:
            self._silent = 0
            self._smooth = powers if self._smooth is None else self._smooth + (1 - _SMOOTHING) * (powers - self._smooth)
        np.minimum(self._present, self._smooth, out=self._present)
        self._left -= 1
        if self._left == 0:
            self._minima[self._next] = self._present
            self._past = self._minima.min(axis=0)
            self._next = (self._next + 1) % _PARTS
            self._left = self._part_frames
            self._present[:] = np.inf
        floor = np.minimum(self._past, self._present)
        floor *= _BIAS
        self.powers = np.minimum(np.maximum(floor, _LOWEST), _HIGHEST)
        return self.powers

    @property
    def level_dbov(self) -> float:
        """The floor of all bands together."""
        return dbov(float(self.powers.sum()))


_LOWEST: Final = 10 ** (LOWEST_FLOOR_DBOV / 10)
_HIGHEST: Final = 10 ** (HIGHEST_FLOOR_DBOV / 10)
