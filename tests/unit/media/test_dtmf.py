"""The in-band detector against the limits of ITU-T Q.24, and against voices."""

import time
from collections.abc import Iterable

import numpy as np
import pytest

from gateway.media import g711
from gateway.media.dtmf import DtmfEdge, InbandDtmfDetector, dtmf_tone, key_frequencies
from gateway.media.g711 import G711, Samples

KEYS = "123A456B789C*0#D"
ALIGNMENTS = range(0, 160, 16)


def silence(ms: float) -> Samples:
    return np.zeros(round(ms * 8), np.int16)


def hear(*parts: Samples, codec: G711 | None = None) -> list[DtmfEdge]:
    audio = np.concatenate((*parts, silence(200)))
    audio = audio[: len(audio) // 160 * 160]
    if codec:
        audio = g711.decode(codec, g711.encode(codec, audio))
    detector = InbandDtmfDetector()
    return [edge for frame in audio.reshape(-1, 160) for edge in detector.feed(frame)]


def pressed(edges: Iterable[DtmfEdge]) -> str:
    return "".join(edge.digit for edge in edges if edge.kind == "down")


@pytest.mark.parametrize("key", KEYS)
def test_forty_milliseconds_are_a_key_and_twenty_three_are_not(key: str) -> None:
    for offset in ALIGNMENTS:
        before = np.zeros(offset, np.int16)
        assert pressed(hear(before, dtmf_tone(key, 40))) == key
        assert pressed(hear(before, dtmf_tone(key, 23))) == ""


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("twist_db", [-8, -4, 0, 4])
@pytest.mark.parametrize("detune", [-0.015, 0.0, 0.015])
@pytest.mark.parametrize("level", [-25, -6])
def test_what_telephones_may_send_is_heard(codec: G711, twist_db: float, detune: float, level: float) -> None:
    for offset in (0, 55, 110):
        tones = [
            part
            for key in KEYS
            for part in (dtmf_tone(key, 40, level_dbm0=level, twist_db=twist_db, detune=detune), silence(40))
        ]
        assert pressed(hear(np.zeros(offset, np.int16), *tones, codec=codec)) == KEYS


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("detune", [-0.035, 0.035])
@pytest.mark.parametrize("twist_db", [-8, 0, 4])
def test_three_and_a_half_percent_off_frequency_is_no_key(key: str, detune: float, twist_db: float) -> None:
    assert pressed(hear(dtmf_tone(key, 500, detune=detune, twist_db=twist_db))) == ""


@pytest.mark.parametrize("twist_db", [-12, 8])
def test_twist_beyond_the_limits_is_no_key(twist_db: float) -> None:
    assert pressed(hear(dtmf_tone("5", 200, twist_db=twist_db))) == ""


def test_too_quiet_is_no_key() -> None:
    assert pressed(hear(dtmf_tone("5", 200, level_dbm0=-42))) == ""


def test_a_single_tone_is_no_key() -> None:
    tone = (8000 * np.sin(2 * np.pi * 770 * np.arange(4000) / 8000)).astype(np.int16)
    assert hear(tone) == []


def test_a_tone_with_overtones_is_no_key() -> None:
    seconds = np.arange(4000) / 8000
    voice = sum(
        np.sin(2 * np.pi * hertz * seconds) + 0.4 * np.sin(4 * np.pi * hertz * seconds)
        for hertz in key_frequencies("1")
    )
    assert hear((6000 * np.asarray(voice)).astype(np.int16)) == []


@pytest.mark.parametrize("gap_ms", [40, 60])
def test_a_pause_separates_two_presses_of_one_key(gap_ms: int) -> None:
    for offset in ALIGNMENTS:
        edges = hear(np.zeros(offset, np.int16), dtmf_tone("7", 60), silence(gap_ms), dtmf_tone("7", 60))
        assert [edge.kind for edge in edges] == ["down", "up", "down", "up"]


@pytest.mark.parametrize("gap_ms", [1, 5, 10])
def test_a_short_break_is_one_press(gap_ms: int) -> None:
    for offset in ALIGNMENTS:
        edges = hear(np.zeros(offset, np.int16), dtmf_tone("7", 60), silence(gap_ms), dtmf_tone("7", 60))
        assert [edge.kind for edge in edges] == ["down", "up"]


@pytest.mark.parametrize("duration_ms", [40, 65, 100, 250, 2000])
def test_when_and_how_long(duration_ms: int) -> None:
    for offset_ms in (100, 107, 113):
        down, up = hear(silence(offset_ms), dtmf_tone("8", duration_ms))
        assert down.at_ms == pytest.approx(offset_ms, abs=6)
        assert up.at_ms == pytest.approx(offset_ms + duration_ms, abs=6)
        assert up.duration_ms == up.at_ms - down.at_ms
        assert (down.digit, up.digit, down.duration_ms) == ("8", "8", 0)


def test_a_key_directly_after_another() -> None:
    edges = hear(dtmf_tone("1", 80), dtmf_tone("2", 80))
    assert [(edge.kind, edge.digit) for edge in edges] == [("down", "1"), ("up", "1"), ("down", "2"), ("up", "2")]


@pytest.mark.parametrize("snr_db", [15, 20])
def test_heard_through_noise(snr_db: float) -> None:
    rng = np.random.default_rng(7)
    for key in KEYS:
        tone = dtmf_tone(key, 50)
        noise = np.sqrt(np.mean(tone.astype(float) ** 2)) * 10 ** (-snr_db / 20)
        audio = np.concatenate((silence(63), tone, silence(60))) + rng.normal(0, noise, 173 * 8)
        assert pressed(hear(audio.astype(np.int16))) == key


def test_nothing_is_heard_while_not_listening() -> None:
    detector = InbandDtmfDetector()
    tone = dtmf_tone("4", 400).reshape(-1, 160)
    assert [edge for frame in tone for edge in detector.feed(frame, listening=False)] == []
    heard = [edge for frame in tone for edge in detector.feed(frame)]
    assert [(edge.kind, edge.digit) for edge in heard] == [("down", "4")]
    assert heard[0].at_ms == pytest.approx(400, abs=6)
    (up,) = detector.feed(tone[0], listening=False)
    assert (up.kind, up.digit) == ("up", "4")


def test_a_frame_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="160 samples"):
        InbandDtmfDetector().feed(np.zeros(80, np.int16))


def test_no_key_makes_no_tone_and_the_message_does_not_quote_it() -> None:
    for text in ("x", "", "12"):
        with pytest.raises(ValueError, match=r"^not a DTMF key$"):
            dtmf_tone(text, 100)


def voice(seed: int, seconds: float) -> Samples:
    """Voiced, speech-like sound: gliding pitch of 80 to 320 Hz, three formants, syllables of 50 to 400 ms."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 8000)
    out = np.zeros(count)
    position = 0
    while position < count:
        length = min(int(rng.uniform(0.05, 0.4) * 8000), count - position)
        glide = np.linspace(0, rng.uniform(-0.15, 0.15), length)
        seconds_in = np.arange(length) / 8000
        pitch = rng.uniform(80, 320) * (1 + glide) * (1 + 0.01 * np.sin(2 * np.pi * 5 * seconds_in))
        phase = 2 * np.pi * np.cumsum(pitch) / 8000
        formants = [
            (rng.uniform(250, 900), rng.uniform(50, 120)),
            (rng.uniform(800, 2500), rng.uniform(70, 200)),
            (rng.uniform(2000, 3300), 150.0),
        ]
        syllable = rng.normal(0, 0.02, length)
        for harmonic in range(1, int(3800 / pitch.max()) if length else 0):
            gain = sum(1 / (1 + ((harmonic * pitch - at) / width) ** 2) for at, width in formants)
            syllable += gain / harmonic**0.5 * np.sin(harmonic * phase + rng.uniform(0, 6))
        ramp = np.minimum(np.arange(length), np.arange(length)[::-1]) / 160
        out[position : position + length] += syllable * np.minimum(ramp, 1) * rng.uniform(0.2, 1)
        position += length + int(rng.uniform(0, 0.1) * 8000)
    return (out / np.abs(out).max() * 20000).astype(np.int16)


def test_voices_are_not_keys() -> None:
    """Bellcore's talk-off tapes allow a handful of false keys in half an hour; here at most one in five minutes."""
    false_keys = sum(len(pressed(hear(voice(seed, 60)))) for seed in range(100, 105))
    assert false_keys <= 1


def test_a_frame_costs_little() -> None:
    frames = np.random.default_rng(1).normal(0, 3000, (500, 160)).astype(np.int16)
    detector = InbandDtmfDetector()
    best = min(_microseconds(detector, frames) for _ in range(5))
    assert best < 1000, f"{best:.0f} us a frame is 5 % of a core for each call"


def _microseconds(detector: InbandDtmfDetector, frames: Samples) -> float:
    start = time.perf_counter()
    for frame in frames:
        detector.feed(frame)
    return (time.perf_counter() - start) / len(frames) * 1e6
