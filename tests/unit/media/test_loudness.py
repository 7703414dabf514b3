"""Levels, bands and the noise floor."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.media.loudness import (
    BAND_EDGES_HZ,
    BANDS,
    FIRST_FLOOR_DBOV,
    GAP_FRAMES,
    HIGHEST_FLOOR_DBOV,
    LOWEST_FLOOR_DBOV,
    NoiseFloor,
    bands_of,
    dbov,
    is_tone,
    spectrum,
)
from tests.support import speech

FLOOR_FRAMES = 120
BIAS_DB = 3.7
"""Of the first band: a steady level has no quieter moments, so its floor is said to be that much higher."""


def steady(level_dbov: float) -> np.ndarray:
    return np.full(BANDS, 10 ** (level_dbov / 10))


def floor_db(floor: NoiseFloor) -> np.ndarray:
    return 10 * np.log10(floor.powers)


def after(floor: NoiseFloor, level_dbov: float | None, frames: int) -> float:
    """Return the floor of the first band after so many frames of a level, dBov."""
    for _ in range(frames):
        floor.hear(None if level_dbov is None else steady(level_dbov))
    return float(floor_db(floor)[0])


def test_a_full_scale_square_wave_is_zero_and_silence_is_not_minus_infinity() -> None:
    assert dbov(1.0) == 0
    assert dbov(0.5) == pytest.approx(-3.01, abs=0.01)
    assert dbov(0) == dbov(1e-30) == -100


@pytest.mark.parametrize("hertz", [300, 1000, 1234, 2500, 3300])
def test_a_spectrum_has_the_power_of_what_is_in_the_band(hertz: float) -> None:
    frames = speech.frames(speech.pcm(speech.tone(1, hertz, dbov=-20)))
    mean = float(np.mean([spectrum(frame).sum() for frame in frames]))
    assert dbov(mean) == pytest.approx(-20, abs=0.2)


@pytest.mark.parametrize("hertz", [50, 3900])
def test_what_is_outside_the_band_is_not_in_it(hertz: float) -> None:
    frame = speech.frames(speech.pcm(speech.tone(1, hertz, dbov=-10)))[5]
    assert dbov(float(spectrum(frame).sum())) < -55


def test_each_band_holds_its_own_tones_and_together_they_hold_all() -> None:
    for band, (low, high) in enumerate(pairwise(BAND_EDGES_HZ)):
        powers = spectrum(speech.frames(speech.pcm(speech.tone(1, (low + high) / 2)))[5])
        bands = bands_of(powers)
        assert bands.shape == (BANDS,)
        assert int(bands.argmax()) == band
        assert bands.sum() == pytest.approx(powers.sum(), rel=1e-5)


@pytest.mark.parametrize("hertz", [400, 425, 1100, 1325, 2100])
def test_a_tone_is_one_also_in_noise(hertz: float) -> None:
    for frame in speech.frames(speech.line(speech.tone(1, hertz) + speech.noise("white", 1, -35, 1))):
        assert is_tone(spectrum(frame))


def test_two_tones_and_a_low_hum_are_none() -> None:
    for hertz in ((350, 440), (697, 1209), (250,)):
        for frame in speech.frames(speech.line(speech.tone(1, *hertz))):
            assert not is_tone(spectrum(frame))


@pytest.mark.parametrize("locale", speech.LOCALES)
def test_a_voice_is_no_tone(locale: str) -> None:
    voiced = [spectrum(frame) for frame in speech.frames(speech.line(speech.monologue(20, locale)))]
    assert sum(is_tone(powers) for powers in voiced if powers.sum() > 1e-4) <= 3


def test_the_floor_begins_low_enough_for_somebody_who_speaks_already() -> None:
    assert after(NoiseFloor(FLOOR_FRAMES), -20, 1) == pytest.approx(FIRST_FLOOR_DBOV, abs=0.01)
    assert after(NoiseFloor(FLOOR_FRAMES), -20, FLOOR_FRAMES - 20) == pytest.approx(FIRST_FLOOR_DBOV, abs=0.01)


def test_steady_sound_is_the_floor_after_its_time() -> None:
    assert after(NoiseFloor(FLOOR_FRAMES), -25, FLOOR_FRAMES + 15) == pytest.approx(-25 + BIAS_DB, abs=0.01)


def test_quieter_sound_is_the_floor_soon() -> None:
    floor = NoiseFloor(FLOOR_FRAMES)
    after(floor, -35, 200)
    assert after(floor, -55, 15) == pytest.approx(-55 + BIAS_DB, abs=0.5)


def test_the_floor_has_bounds() -> None:
    assert after(NoiseFloor(FLOOR_FRAMES), -90, 300) == pytest.approx(LOWEST_FLOOR_DBOV, abs=0.01)
    assert after(NoiseFloor(FLOOR_FRAMES), -5, 300) == pytest.approx(HIGHEST_FLOOR_DBOV, abs=0.01)


def test_noise_that_becomes_louder_lifts_the_floor_after_its_time_and_not_before() -> None:
    floor = NoiseFloor(FLOOR_FRAMES)
    after(floor, -50, 200)
    assert after(floor, -35, FLOOR_FRAMES - 20) < -46
    assert after(floor, -35, 40) == pytest.approx(-35 + BIAS_DB, abs=0.1)


def test_speech_does_not_lift_the_floor() -> None:
    floor, noise = NoiseFloor(FLOOR_FRAMES), speech.noise("pink", 20, -50, 1)
    frames = speech.frames(speech.line(speech.monologue(20, pause_s=0.3) + noise))
    levels = []
    for frame in frames:
        floor.hear(bands_of(spectrum(frame)))
        levels.append(floor.level_dbov)
    assert max(levels[150:]) < -45
    assert float(np.median(levels[150:])) == pytest.approx(-50, abs=3)


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_the_floor_of_noise_is_its_level(kind: speech.Noise) -> None:
    floor = NoiseFloor(FLOOR_FRAMES)
    for frame in speech.frames(speech.line(speech.noise(kind, 4, -40, 3))):
        floor.hear(bands_of(spectrum(frame)))
    assert floor.level_dbov == pytest.approx(-40, abs=1.5)


def test_two_tenths_of_a_second_may_be_lost_and_more_is_silence() -> None:
    floor = NoiseFloor(FLOOR_FRAMES)
    before = after(floor, -40, 200)
    assert after(floor, None, 10) == before
    assert after(floor, None, 1) < before


def test_lost_packets_leave_the_floor_alone_and_silence_does_not() -> None:
    floor = NoiseFloor(FLOOR_FRAMES)
    before = after(floor, -40, 200)
    for _ in range(20):
        assert after(floor, None, GAP_FRAMES) == before
        assert after(floor, -40, 1) == pytest.approx(before, abs=0.01)
    assert after(floor, None, GAP_FRAMES + 15) == pytest.approx(LOWEST_FLOOR_DBOV, abs=0.01)
