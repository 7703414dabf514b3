"""What Whisper hears: telephone sound as a log-mel spectrogram, in numpy alone.

Computed as the model was trained (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022,
section 2.2): 16 kHz, 25 ms Hann windows every 10 ms, 80 mel channels (128 in the newest models), and nothing that is
80 dB below the loudest point.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.media.g711 import Samples

Floats = NDArray[np.float32]

RATE: Final = 16_000
FRAME: Final = 400
HOP: Final = 160
HOP_MS: Final = 10
_HALF_TAPS: Final = 31


@cache
def _interpolator() -> Floats:
    """Return a low-pass at 4 kHz for sound at 16 kHz whose every other sample is zero; gain 2."""
    taps = np.arange(-_HALF_TAPS, _HALF_TAPS + 1)
    kernel = np.sinc(taps / 2) * np.kaiser(len(taps), 8.0)
    return np.asarray(kernel * 2 / kernel.sum(), np.float32)


def to_16k(samples: Samples) -> Floats:
    """Return int16 mono 8 kHz as float32 in -1..1 at 16 kHz, twice as many samples, not delayed."""
    spread = np.zeros(2 * len(samples), np.float32)
    spread[::2] = samples.astype(np.float32) / 32_768
    return np.asarray(np.convolve(spread, _interpolator(), "full")[_HALF_TAPS : _HALF_TAPS + len(spread)], np.float32)


def _hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above (27 steps for a factor of 6.4)."""
    above = 15 + 27 * np.log(np.maximum(hertz, 1_000.0) / 1_000.0) / np.log(6.4)
    return np.where(hertz < 1_000.0, hertz * 3 / 200, above)


def _mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1_000.0 * np.exp((mel - 15) * np.log(6.4) / 27))


@cache
def mel_filters(mels: int) -> Floats:
    """Return the weights of 201 spectral lines in *mels* channels of equal area, 0 to 8 kHz."""
    lines = np.fft.rfftfreq(FRAME, 1 / RATE)
    top = float(_hertz_to_mel(np.array([RATE / 2]))[0])
    edges = _mel_to_hertz(np.linspace(0.0, top, mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (lines - low) / (centre - low), (high - lines) / (high - centre)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low), np.float32)


@cache
def _window() -> Floats:
    return np.asarray(np.hanning(FRAME + 1)[:-1], np.float32)


def log_mel(samples: Samples, window_ms: int, mels: int = 80) -> Floats:
    """Return the spectrogram of an utterance (int16 mono 8 kHz) with silence behind it up to *window_ms*: float32,
    shape (mels, window_ms / 10).

    Raises `ValueError` when it does not fit: an answer that was cut off could be a yes without its "but".
    """
    if len(samples) > window_ms * 8:
        raise ValueError("an utterance is never cut to fit the window")
    padded = np.zeros(window_ms * RATE // 1000, np.float32)
    padded[: 2 * len(samples)] = to_16k(samples)
    around = np.pad(padded, FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(around, FRAME)[::HOP][: window_ms // HOP_MS]
    power = np.abs(np.fft.rfft(frames * _window(), axis=1)) ** 2
    mel = mel_filters(mels) @ power.T
    decades = np.log10(np.maximum(mel, 1e-10))
    floored = np.maximum(decades, decades.max() - 8.0)
    return np.asarray((floored + 4.0) / 4.0, np.float32)
