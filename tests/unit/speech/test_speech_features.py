"""The spectrogram, against what can be said of it without another implementation."""

import numpy as np
import pytest

from gateway.adapters.speech.features import FRAME, HOP_MS, RATE, log_mel, mel_filters, to_16k
from gateway.media.g711 import Samples


def tone(hertz: float, samples: int = 8_000, level: float = 8_000.0) -> Samples:
    return np.rint(level * np.sin(2 * np.pi * hertz * np.arange(samples) / 8_000)).astype(np.int16)


@pytest.mark.parametrize("hertz", [200.0, 1_000.0, 3_000.0, 3_400.0])
def test_resampling_keeps_a_tone_and_adds_none(hertz: float) -> None:
    given = to_16k(tone(hertz))
    assert given.dtype == np.float32 and given.shape == (16_000,)
    spectrum = np.abs(np.fft.rfft(given[1_000:-1_000] * np.hanning(14_000)))
    lines = np.fft.rfftfreq(14_000, 1 / RATE)
    assert lines[spectrum.argmax()] == pytest.approx(hertz, abs=2)
    assert spectrum[lines > 8_000 - hertz - 100].max() < spectrum.max() / 300, "the image above 4 kHz"
    exact = 8_000 / 32_768 * np.sin(2 * np.pi * hertz * np.arange(16_000) / RATE)
    assert np.abs(given - exact)[200:-200].max() < 0.005, "level and delay"


def test_the_spectrogram_has_the_models_shape_and_range() -> None:
    spectrogram = log_mel(tone(1_000), 8_000)
    assert spectrogram.shape == (80, 8_000 // HOP_MS) and spectrogram.dtype == np.float32
    assert spectrogram.max() - spectrogram.min() == pytest.approx(2.0), "eight decades, divided by four"
    assert log_mel(tone(1_000), 4_000, 128).shape == (128, 400)


@pytest.mark.parametrize("hertz", [300.0, 1_000.0, 2_500.0])
def test_a_tone_is_in_its_channel_for_as_long_as_it_sounds(hertz: float) -> None:
    spectrogram = log_mel(tone(hertz), 4_000)
    centres = np.array([np.average(np.fft.rfftfreq(FRAME, 1 / RATE), weights=row) for row in mel_filters(80)])
    loudest = spectrogram[:, 50].argmax()
    assert centres[loudest] == pytest.approx(hertz, rel=0.06)
    loud = spectrogram[loudest] > spectrogram.max() - 0.5
    assert loud[2:98].all() and not loud[103:].any()


def test_channels_cover_the_band_with_equal_area() -> None:
    filters = mel_filters(80)
    assert filters.shape == (80, 201) and (filters >= 0).all()
    assert (filters.max(axis=1) > 0).all()
    assert filters.sum(axis=1)[20:] * 40 == pytest.approx(np.ones(60), rel=0.1)


def test_level_makes_no_difference() -> None:
    quiet, loud = log_mel(tone(1_000, level=300), 4_000), log_mel(tone(1_000, level=30_000), 4_000)
    assert np.abs((loud - loud.max()) - (quiet - quiet.max()))[20:40, 10:90].max() < 0.05


def test_silence_is_no_trouble() -> None:
    assert np.isfinite(log_mel(np.zeros(800, np.int16), 4_000)).all()


def test_sound_is_never_cut_to_fit() -> None:
    assert log_mel(tone(500, 32_000), 4_000).shape == (80, 400)
    with pytest.raises(ValueError, match="never cut"):
        log_mel(tone(500, 32_001), 4_000)
