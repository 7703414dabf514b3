"""Noise turned down before somebody listens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.media.denoise import EDGE_MS, FLOOR, without_noise
from gateway.media.g711 import Samples
from tests.support import speech

EDGE = EDGE_MS * 8


def tone(noise_rms: float = 0.0, seed: int = 1) -> tuple[Samples, Samples]:
    """A second of a tone with 400 ms before and behind it; the tone alone, and in noise."""
    alone = np.zeros(14_400)
    alone[3_200:11_200] = 6_000 * np.sin(2 * np.pi * 500 * np.arange(8_000) / 8_000)
    noise = np.random.default_rng(seed).normal(0, noise_rms, len(alone)) if noise_rms else 0.0
    return alone.astype(np.int16), np.rint(alone + noise).astype(np.int16)


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_what_has_no_noise_stays_as_it_is() -> None:
    alone, _ = tone()
    assert np.abs(without_noise(alone).astype(int) - alone).max() <= 1


def test_noise_is_turned_down_to_the_floor_and_what_is_said_is_not() -> None:
    alone, noisy = tone(600.0)
    clean = without_noise(noisy)
    assert clean.dtype == np.int16 and len(clean) == len(noisy)
    for edge in (slice(0, 2_400), slice(-2_400, None)):
        assert FLOOR * 0.9 < rms(clean[edge]) / rms(noisy[edge]) < FLOOR * 1.3
    middle = slice(4_000, 10_400)
    assert 0.97 < rms(clean[middle]) / rms(alone[middle]) < 1.01
    assert rms(clean[middle] - alone[middle]) < 0.4 * rms(noisy[middle] - alone[middle])


@pytest.mark.parametrize("kind", ["pink", "white", "hum"])
def test_it_works_on_noise_of_the_line(kind: speech.Noise) -> None:
    alone, _ = tone()
    noise = (speech.noise(kind, 3.0, -30.0, 7)[: len(alone)] * 32_768).astype(np.int16)
    clean = without_noise(alone + noise)
    middle = slice(4_000, 10_400)
    assert rms(clean[:2_400]) < 0.35 * rms(noise[:2_400])
    assert rms(clean[middle] - alone[middle]) < 0.8 * rms(noise[middle])


def test_what_is_said_in_the_edges_is_turned_down_and_never_gone() -> None:
    """Sound that is not of endpointing's making: all of it may be taken for noise."""
    whole = (6_000 * np.sin(2 * np.pi * 500 * np.arange(8_000) / 8_000)).astype(np.int16)
    assert rms(without_noise(whole)) > FLOOR * 0.9 * rms(whole)


def test_what_is_too_short_to_have_edges_is_left_alone() -> None:
    _, noisy = tone(600.0)
    short = noisy[: 3 * EDGE - 1]
    assert without_noise(short) is short
    assert not np.array_equal(without_noise(noisy[: 3 * EDGE]), noisy[: 3 * EDGE])


@given(
    arrays.arrays(np.int16, st.integers(0, 3 * EDGE + 700), elements=st.integers(-32_768, 32_767)),
)
def test_any_sound_stays_as_long_and_no_louder(sound: Samples) -> None:
    clean = without_noise(sound)
    assert clean.dtype == np.int16 and len(clean) == len(sound)
    assert rms(clean) <= rms(sound) * 1.01 + 1 if len(sound) else True


def test_a_clipped_answer_does_not_wrap_round() -> None:
    loud = np.where(np.arange(14_400) // 8 % 2, 32_767, -32_768).astype(np.int16)
    loud[:2_400] = loud[-2_400:] = 0
    clean = without_noise(loud)
    middle = slice(3_000, 11_000)
    assert (np.sign(clean[middle].astype(int)) == np.sign(loud[middle].astype(int))).mean() > 0.99
