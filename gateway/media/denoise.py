"""Steady noise turned down in one utterance, before somebody is asked what was said in it.

A Wiener filter with the *a priori* signal-to-noise ratio of Ephraim and Malah ("Speech enhancement using a minimum
mean-square error short-time spectral amplitude estimator", IEEE Trans. ASSP 32(6), 1984; their "decision-directed"
estimate). The noise is known from the utterance itself: endpointing cuts it out with `EDGE_MS` and more around it in
which nobody speaks. Nothing is ever silenced: what a filter takes for noise and is not stays `FLOOR` as loud.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.media.g711 import Samples

EDGE_MS: Final = 240
"""So much of the beginning and of the end is taken for noise; `segmenter` keeps 300 ms around speech."""
WINDOW: Final = 256
HOP: Final = WINDOW // 4
FLOOR: Final = 0.25
"""The least gain (-12 dB). Less makes the noise that is left chirp, and recognisers hear words in that."""
INERTIA: Final = 0.95
"""How much of the last frame's speech is expected in the next one."""

_EDGE = EDGE_MS * 8
_WINDOW = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))
_SUM = 2.0

_Spectra = NDArray[np.complex128]
_Powers = NDArray[np.float64]


def without_noise(utterance: Samples) -> Samples:
    """Return *utterance* (int16 mono 8 kHz), as long as it was, the noise of its edges turned down by up to 12 dB.

    What is too short to have edges is returned as it is.
    """
    if len(utterance) < 3 * _EDGE:
        return utterance
    edges = np.concatenate((_spectra(utterance[:_EDGE]), _spectra(utterance[-_EDGE:])))
    noise = np.maximum(_power(edges).mean(axis=0), 1e-9)
    padded = np.pad(utterance, (WINDOW, WINDOW + -len(utterance) % HOP))
    spectra = _spectra(padded)
    spectra *= _gains(_power(spectra) / noise)
    frames = np.fft.irfft(spectra, WINDOW) * _WINDOW
    return np.clip(np.rint(_overlapped(frames)[WINDOW : WINDOW + len(utterance)]), -32768, 32767).astype(np.int16)


def _spectra(samples: Samples) -> _Spectra:
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    return np.asarray(np.fft.rfft(frames * _WINDOW))


def _power(spectra: _Spectra) -> _Powers:
    return np.asarray(spectra.real**2 + spectra.imag**2)


def _gains(louder: _Powers) -> _Powers:
    """Return the gain of each frame and frequency, from how many times louder than the noise it is."""
    gains = np.empty_like(louder)
    excess = np.maximum(louder - 1, 0)
    before = excess[0]
    for at, now in enumerate(excess):
        expected = INERTIA * before + (1 - INERTIA) * now
        gains[at] = np.maximum(expected / (1 + expected), FLOOR)
        before = gains[at] ** 2 * louder[at]
    return gains


def _overlapped(frames: _Powers) -> _Powers:
    """Add frames up, each `HOP` behind the one before."""
    out = np.zeros((len(frames) + WINDOW // HOP - 1) * HOP)
    for part in range(WINDOW // HOP):
        quarter = frames[:, part * HOP : (part + 1) * HOP]
        out[part * HOP : part * HOP + quarter.size] += quarter.reshape(-1)
    return out / _SUM
