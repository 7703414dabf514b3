"""What stands out: how far above the floor, in how many bands, and that keys and lost packets teach nothing."""

import numpy as np
import pytest

from gateway.media.endpointing import Endpointing
from gateway.media.loudness import bands_of, spectrum
from gateway.media.segmenter import SpeechGate
from tests.support import speech

NOISE = speech.frames(speech.line(speech.noise("white", 4, -50, 1)))
BEGIN_DB, HOLD_DB = Endpointing().noise_margin_db, Endpointing().hold_margin_db
PAIRS = ((950.0, 1250.0), (1900.0, 2300.0))
"""Two tones within one band, so that it is not one tone."""


def gate_in_noise() -> SpeechGate:
    gate = SpeechGate(Endpointing())
    for frame in NOISE:
        gate.power(frame)
    return gate


def sound(gate: SpeechGate, over_db: float, bands: int) -> speech.Samples:
    """Return a frame that is so much over the gate's floor in each of some bands."""
    floors = gate.floor.powers
    parts = []
    for pair in PAIRS[:bands]:
        loud = speech.tone(0.02, *pair)
        powers = bands_of(spectrum(speech.pcm(loud)))
        band = int(powers.argmax())
        parts.append(loud * np.sqrt(floors[band] / powers[band]) * 10 ** (over_db / 20))
    return speech.pcm(np.sum(parts, axis=0))


@pytest.mark.parametrize(
    ("over_db", "bands", "speaking", "opens"),
    [
        (BEGIN_DB - 0.7, 2, False, False),
        (BEGIN_DB + 0.7, 2, False, True),
        (BEGIN_DB + 3.3, 1, False, False),
        (BEGIN_DB + 4.7, 1, False, True),
        (HOLD_DB - 0.7, 2, True, False),
        (HOLD_DB + 0.7, 2, True, True),
        (HOLD_DB + 3.3, 1, True, False),
        (HOLD_DB + 4.7, 1, True, True),
    ],
)
def test_how_far_and_in_how_many_bands(over_db: float, bands: int, speaking: bool, opens: bool) -> None:
    gate = gate_in_noise()
    frame = sound(gate, over_db, bands)
    assert (gate.power(frame, speaking=speaking) > 0) == opens


def test_the_power_is_that_of_the_frame() -> None:
    gate = gate_in_noise()
    frame = sound(gate, 20, 2)
    assert gate.power(frame) == pytest.approx(float(spectrum(frame).sum()))


def test_one_loud_tone_does_not_open() -> None:
    assert gate_in_noise().power(speech.pcm(speech.tone(0.02, 1100, dbov=-10))) == 0


@pytest.mark.parametrize(("over_db", "opens"), [(8.3, False), (9.7, True)])
def test_what_is_played_raises_the_limit(over_db: float, opens: bool) -> None:
    gate = gate_in_noise()
    loud = speech.pcm(speech.tone(0.02, *PAIRS[0]) + speech.tone(0.02, *PAIRS[1]))
    echo = speech.pcm((loud / 32768) * 10 ** ((-6 + over_db) / 20))
    assert (gate.power(echo, loud) > 0) == opens


@pytest.mark.parametrize(("key", "lost"), [(True, False), (False, True), (False, False)])
def test_keys_and_lost_packets_teach_nothing_about_the_echo(key: bool, lost: bool) -> None:
    gate = gate_in_noise()
    played = speech.pcm(speech.noise("white", 0.02, -20, 1))
    for frame in NOISE[:50]:
        gate.power(np.zeros(160, np.int16) if lost else frame, played, key=key)
    assert (gate.echo.attenuation_db == 6) == (key or lost)


def test_silence_that_is_played_is_nothing_played() -> None:
    gate = gate_in_noise()
    gate.power(NOISE[0], np.zeros(160, np.int16))
    assert not gate.echo.sounding
