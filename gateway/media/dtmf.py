"""DTMF as tones in the audio: making them (ITU-T Q.23) and hearing them (Q.24).

The detector looks at windows of 16 ms, one every 5 ms. In each it measures the eight key frequencies (Goertzel's
sum, as one matrix product for all windows of a frame) and asks: loud enough? twist within limits? nearly all energy
in the two tones? no second harmonic, which voices have and keys have not? Equal windows in a row must also agree,
by the phase between them, that each tone is within 2.5 % of its nominal frequency. Five such windows are a key.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gateway.media.g711 import Samples

LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")

FRAME_SAMPLES = 160
WINDOW_SAMPLES = 128
HOP_SAMPLES = 40
HOP_MS = 5
WINDOW_MS = 16

WINDOWS_TO_ACCEPT = 5
"""Equal windows in a row that make a key: tones from about 30 ms on have them, whatever their alignment."""
WINDOWS_TO_RELEASE = 6
"""Windows without the key that end it: breaks under 20 ms are bridged, pauses of 40 ms always seen."""
MIN_LEVEL_DBM0 = -36.0
MAX_TWIST_DB = 5.5
MIN_TWIST_DB = -9.5
MIN_TONE_SHARE = 0.76
MAX_HARMONIC_SHARE = 0.06
MAX_DETUNE = 0.025
_EDGE_MS = 3
"""How far a window that still passes may stick out over the tone's edge, on average."""


def key_frequencies(digit: str) -> tuple[int, int]:
    """Return (low, high) in Hz. Raises `ValueError` for anything that is no key."""
    for row, keys in enumerate(KEYS):
        column = keys.find(digit.upper()) if len(digit) == 1 else -1
        if column >= 0:
            return LOW_HZ[row], HIGH_HZ[column]
    raise ValueError("not a DTMF key")


def dtmf_tone(
    digit: str, duration_ms: float, *, level_dbm0: float = -10.0, twist_db: float = 0.0, detune: float = 0.0
) -> Samples:
    """Return the tone pair of a key: int16 mono, 8 kHz.

    *level_dbm0* is the level of each tone (0 dBm0 is 3.17 dB below full scale, ITU-T G.711); *twist_db* raises the
    high tone over the low one; *detune* shifts both frequencies by this fraction. Raises `ValueError` for no key.
    """
    low, high = key_frequencies(digit)
    count = round(duration_ms * 8)
    seconds = np.arange(count) / 8000.0
    full_scale = 32767 * 10 ** ((level_dbm0 - 3.17) / 20)
    signal = np.sin(2 * np.pi * low * (1 + detune) * seconds) * 10 ** (-twist_db / 40)
    signal += np.sin(2 * np.pi * high * (1 + detune) * seconds) * 10 ** (twist_db / 40)
    return np.clip(np.rint(full_scale * signal), -32768, 32767).astype(np.int16)


@dataclass(frozen=True, slots=True)
class DtmfEdge:
    """A key went down or up. *at_ms*: when, since the first sample fed, to about 5 ms; *duration_ms*: how long the
    key was down, 0 on "down"."""

    kind: Literal["down", "up"]
    digit: str = field(repr=False)
    at_ms: int
    duration_ms: int = 0


def _measuring_matrix() -> NDArray[np.float32]:
    """Columns: cosines, then sines, of the key frequencies and of their second harmonics, under a Hann window."""
    hertz = np.array([*LOW_HZ, *HIGH_HZ], dtype=np.float64)
    angles = 2 * np.pi * np.outer(np.arange(WINDOW_SAMPLES) / 8000.0, np.concatenate((hertz, 2 * hertz)))
    matrix = np.concatenate((np.cos(angles), -np.sin(angles)), axis=1) * _HANN[:, None]
    scaled: NDArray[np.float32] = (matrix * (2 / _HANN.sum())).astype(np.float32)
    return scaled


_HANN = np.hanning(WINDOW_SAMPLES + 1)[:-1]
_MATRIX = _measuring_matrix()
_ENERGY_WEIGHTS = (_HANN**2 * (2 / (_HANN**2).sum())).astype(np.float32)
_FULL_SCALE = 32767 * 10 ** (-3.17 / 20)
_MIN_POWER = float((_FULL_SCALE * 10 ** (MIN_LEVEL_DBM0 / 20)) ** 2)
_HERTZ = np.array([*LOW_HZ, *HIGH_HZ], dtype=np.float64)
_NOMINAL_TURN = np.exp(-2j * np.pi * _HERTZ * HOP_SAMPLES / 8000.0)


@dataclass(slots=True)
class _Window:
    """What one window holds: the index of its two tones and their complex amplitudes."""

    low: int
    high: int
    low_phasor: complex
    high_phasor: complex

    @property
    def digit(self) -> str:
        return KEYS[self.low][self.high]


class InbandDtmfDetector:
    """Hears keys in a stream of 20 ms frames (int16 mono, 8 kHz, 160 samples).

    Limits (ITU-T Q.24): tones of 40 ms are accepted, of 23 ms rejected; pauses of 40 ms separate two presses of one
    key; twist +4 to -8 dB; 1.5 % off frequency accepted, 3.5 % rejected; each tone above -36 dBm0. A key is reported
    about 35 ms after it went down and about 30 ms after it went up.
    """

    def __init__(self) -> None:
        self._buffer = np.zeros(WINDOW_SAMPLES - HOP_SAMPLES + FRAME_SAMPLES, np.float32)
        self._windows = np.lib.stride_tricks.sliding_window_view(self._buffer, WINDOW_SAMPLES)[::HOP_SAMPLES]
        self._end_ms = 0
        self._previous: _Window | None = None
        self._run = 0
        self._run_start_ms = 0
        self._digit = ""
        self._down_ms = 0
        self._last_hit_ms = 0
        self._misses = 0

    @property
    def sounding(self) -> bool:
        """Whether a key is down, as far as it was fed."""
        return bool(self._digit)

    def feed(self, frame: Samples, *, listening: bool = True) -> list[DtmfEdge]:
        """Take the next frame and return the edges it completes.

        Not *listening* (our own prompt plays): the frame only moves the clock, and a key that was down is reported
        up where it was heard last. Raises `ValueError` for a frame of another length.
        """
        if frame.shape != (FRAME_SAMPLES,):
            raise ValueError("a frame holds 160 samples")
        if not listening:
            self._buffer[:] = 0
            self._end_ms += FRAME_SAMPLES // 8
            self._previous, self._run = None, 0
            return self._release() if self._digit else []
        self._buffer[:-FRAME_SAMPLES] = self._buffer[FRAME_SAMPLES:]
        self._buffer[-FRAME_SAMPLES:] = frame
        energies = (self._windows * self._windows) @ _ENERGY_WEIGHTS
        if not self._digit and not self._run and energies.max() < _MIN_POWER:
            self._end_ms += FRAME_SAMPLES // 8
            return []
        measured = self._windows @ _MATRIX
        powers = measured[:, :16] ** 2 + measured[:, 16:] ** 2
        tones = powers[:, :4].max(axis=1) + powers[:, 4:8].max(axis=1)
        tonal = (tones >= MIN_TONE_SHARE * energies).tolist()
        edges: list[DtmfEdge] = []
        for at in range(FRAME_SAMPLES // HOP_SAMPLES):
            self._end_ms += HOP_MS
            edges += self._step(_judge(measured[at], powers[at]) if tonal[at] else None)
        return edges

    def _step(self, window: _Window | None) -> list[DtmfEdge]:
        edges: list[DtmfEdge] = []
        previous, self._previous = self._previous, window
        if window is None:
            self._run = 0
        elif self._run and previous is not None and _continues(previous, window):
            self._run += 1
        else:
            self._run = 1
            self._run_start_ms = self._end_ms - WINDOW_MS
        if window is not None and window.digit == self._digit and self._run > 1:
            self._misses = 0
            self._last_hit_ms = self._end_ms
        elif self._digit:
            self._misses += 1
            if self._misses >= WINDOWS_TO_RELEASE:
                edges += self._release()
        if window is not None and self._run == WINDOWS_TO_ACCEPT and window.digit != self._digit:
            if self._digit:
                edges += self._release()
            self._digit, self._misses = window.digit, 0
            self._down_ms, self._last_hit_ms = max(self._run_start_ms + _EDGE_MS, 0), self._end_ms
            edges.append(DtmfEdge("down", self._digit, self._down_ms))
        return edges

    def _release(self) -> list[DtmfEdge]:
        up_ms = max(self._last_hit_ms - _EDGE_MS, self._down_ms)
        digit, self._digit, self._misses = self._digit, "", 0
        return [DtmfEdge("up", digit, up_ms, up_ms - self._down_ms)]


def _judge(row: NDArray[np.float32], row_powers: NDArray[np.float32]) -> _Window | None:
    """Tell which key a window holds, if any, given that two tones hold nearly all its energy.

    *row*: its row of the matrix product; *row_powers*: squared amplitudes of the key frequencies and harmonics.
    """
    values, powers = row.tolist(), row_powers.tolist()
    low = max(range(4), key=powers.__getitem__)
    high = max(range(4, 8), key=powers.__getitem__)
    low_power, high_power = powers[low], powers[high]
    if low_power < _MIN_POWER or high_power < _MIN_POWER:
        return None
    if not low_power * _MIN_TWIST <= high_power <= low_power * _MAX_TWIST:
        return None
    if powers[high + 8] > MAX_HARMONIC_SHARE * high_power:
        return None
    # Twice a low tone may lie next to the high tone; only further away it tells a voice.
    if abs(2 * LOW_HZ[low] - HIGH_HZ[high - 4]) > 150 and powers[low + 8] > MAX_HARMONIC_SHARE * low_power:
        return None
    low_phasor, high_phasor = complex(values[low], values[low + 16]), complex(values[high], values[high + 16])
    return _Window(low, high - 4, low_phasor, high_phasor)


_MIN_TWIST, _MAX_TWIST = 10 ** (MIN_TWIST_DB / 10), 10 ** (MAX_TWIST_DB / 10)


def _continues(before: _Window, after: _Window) -> bool:
    """Tell whether two windows, one hop apart, hold the same two tones on frequency.

    Between them each tone turns by its frequency times the hop; what is left after the nominal turn is the error.
    """
    if (before.low, before.high) != (after.low, after.high):
        return False
    low_turn = after.low_phasor * before.low_phasor.conjugate() * _TURNS[after.low]
    high_turn = after.high_phasor * before.high_phasor.conjugate() * _TURNS[after.high + 4]
    return abs(math.atan2(low_turn.imag, low_turn.real)) <= _MAX_TURNS[after.low] and (
        abs(math.atan2(high_turn.imag, high_turn.real)) <= _MAX_TURNS[after.high + 4]
    )


_TURNS: list[complex] = _NOMINAL_TURN.tolist()
_MAX_TURNS: list[float] = (2 * np.pi * _HERTZ * MAX_DETUNE * HOP_SAMPLES / 8000.0).tolist()
