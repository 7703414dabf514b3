"""The segmenter on real speech in what lines add to it."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.media.dtmf import InbandDtmfDetector, dtmf_tone
from gateway.media.endpointing import Endpointing
from gateway.media.segmenter import MonologueOver, Segmenter, SpeechBegan, SpeechDropped, SpeechEnded, SpeechEvent
from gateway.media.vad import FRAME_MS
from tests.support import speech
from tests.support.speech import FRAME, Audio, silence

PHRASES = speech.phrases()
LEAD_S, TAIL_S = 2.0, 1.2
LEAD = round(LEAD_S * 50)
SOME = range(0, len(PHRASES), 9)
"""Phrases of every language."""


class Never:
    """A detector that hears no voice."""

    def is_voice(self, frame: speech.Samples) -> bool:
        return False


class Always:
    """A detector that hears one everywhere."""

    def is_voice(self, frame: speech.Samples) -> bool:
        return True


def hear(audio: Audio, segmenter: Segmenter | None = None, *, keys: bool = False) -> list[tuple[int, SpeechEvent]]:
    """Return each event with the number of frames that had been heard when it came."""
    segmenter, tones = segmenter or Segmenter(), InbandDtmfDetector()
    found = []
    for at, frame in enumerate(speech.frames(speech.line(audio)), 1):
        if keys:
            tones.feed(frame)
        event = segmenter.feed(frame, key=tones.sounding)
        if event:
            found.append((at, event))
    return found


def said(events: list[tuple[int, SpeechEvent]]) -> list[SpeechEnded]:
    return [event for _, event in events if isinstance(event, SpeechEnded)]


def kinds(events: list[tuple[int, SpeechEvent]]) -> list[type[SpeechEvent]]:
    return [type(event) for _, event in events]


def call(index: int, noise: speech.Noise, snr_db: float, dbov: float = -20.0) -> Audio:
    """Return a phrase between pauses, in noise all along."""
    voice = speech.at_level(PHRASES[index].audio, dbov)
    audio = np.concatenate((silence(LEAD_S), voice, silence(TAIL_S)))
    return audio + speech.noise(noise, len(audio) / 8000, dbov - snr_db, index)


def covers(segment: SpeechEnded, begin: int, end: int) -> float:
    """Return which part of some frames a segment holds."""
    return (min(segment.to_frame, end) - max(segment.from_frame, begin)) / (end - begin)


@pytest.mark.parametrize("dbov", [-45, -30, -20, -8, 4])
@pytest.mark.parametrize("index", SOME)
def test_an_answer_of_every_level_is_one_segment(index: int, dbov: float) -> None:
    events = hear(call(index, "pink", 25, dbov))
    assert kinds(events) == [SpeechBegan, SpeechEnded]
    (began_at, began), (ended_at, ended) = events
    assert isinstance(ended, SpeechEnded)
    end = LEAD + PHRASES[index].frames
    assert LEAD - 15 <= began.from_frame <= LEAD
    assert LEAD < began_at <= LEAD + 20
    assert covers(ended, LEAD, end) > (0.98 if dbov > -45 else 0.95)
    assert ended.to_frame <= end + 15
    assert ended_at <= end + 26
    assert not ended.cut
    assert began == SpeechBegan(ended.from_frame, began_at)


@pytest.mark.parametrize("noise", ["white", "pink", "hum"])
@pytest.mark.parametrize(("snr_db", "least"), [(20, 0.98), (10, 0.9), (5, 0.6)])
def test_an_answer_in_noise_is_found_and_the_noise_is_none(noise: speech.Noise, snr_db: float, least: float) -> None:
    for index in SOME:
        events = hear(call(index, noise, snr_db))
        assert events[0][0] > LEAD, "began in the noise"
        end = LEAD + PHRASES[index].frames
        assert max(covers(segment, LEAD, end) for segment in said(events)) > least


def test_levels_are_those_of_speech_and_noise() -> None:
    (segment,) = said(hear(call(0, "white", 20, -25)))
    assert segment.level_dbov == pytest.approx(-25, abs=2)
    assert segment.noise_dbov == pytest.approx(-45, abs=2)


def test_times_count_from_the_first_frame() -> None:
    (segment,) = said(hear(call(0, "white", 25)))
    assert (segment.from_ms, segment.to_ms) == (segment.from_frame * FRAME_MS, segment.to_frame * FRAME_MS)
    assert segment.from_ms == pytest.approx(1000 * LEAD_S, abs=301)


@pytest.mark.parametrize("dbov", [-50, -30, -20])
@pytest.mark.parametrize("noise", ["white", "pink", "hum"])
def test_noise_alone_is_nothing(noise: speech.Noise, dbov: float) -> None:
    for seed in range(5):
        assert hear(speech.noise(noise, 8, dbov, seed)) == []


def test_silence_is_nothing() -> None:
    assert hear(silence(5)) == []


@pytest.mark.parametrize("hertz", [(1100,), (2100,), (425,), (1400,)])
def test_a_tone_is_nothing(hertz: tuple[float, ...]) -> None:
    beep = np.concatenate((speech.tone(0.5, *hertz), silence(0.5)))
    assert hear(np.concatenate((silence(1), np.tile(beep, 4), speech.tone(3, *hertz), silence(1)))) == []


def test_a_chord_that_stays_is_one_segment_at_most() -> None:
    assert len(said(hear(speech.tone(20, 262, 330, 392, 1047, dbov=-25)))) <= 1


def test_noise_that_begins_is_one_segment_at_most() -> None:
    assert len(said(hear(np.concatenate((silence(3), speech.noise("pink", 20, -30, 1)))))) <= 1


@pytest.mark.parametrize("length_ms", [1, 5, 20])
def test_clicks_are_nothing(length_ms: int) -> None:
    audio = speech.noise("pink", 6, -55, 1)
    for second in range(1, 6):
        audio[second * 8000 : second * 8000 + length_ms * 8] = 0.7
    assert hear(audio) == []


def test_a_short_sound_is_dropped_and_counted() -> None:
    vowel = speech.at_level(PHRASES[0].audio, -15)[8 * FRAME : 12 * FRAME]
    segmenter = Segmenter(Endpointing(minimum_frames=12))
    events = hear(np.concatenate((silence(1), vowel, silence(1), vowel, silence(1))), segmenter)
    assert kinds(events) == [SpeechBegan, SpeechDropped, SpeechBegan, SpeechDropped]
    assert segmenter.dropped == 2
    dropped = events[1][1]
    assert isinstance(dropped, SpeechDropped)
    assert 4 <= dropped.speech_frames < 12
    assert dropped.from_frame < 50 < dropped.to_frame


def test_two_answers_in_a_row_are_two_segments() -> None:
    one, other = PHRASES[0].audio, PHRASES[50].audio
    audio = np.concatenate((silence(1), one, silence(0.7), other, silence(1)))
    segments = said(hear(audio + speech.noise("pink", len(audio) / 8000, -50, 1)))
    assert len(segments) == 2
    first = (50, 50 + len(one) // FRAME)
    second = (first[1] + 35, first[1] + 35 + len(other) // FRAME)
    assert covers(segments[0], *first) > 0.98
    assert covers(segments[1], *second) > 0.98
    assert segments[0].to_frame <= segments[1].from_frame


def test_a_pause_of_a_word_does_not_split_an_answer() -> None:
    audio = np.concatenate((silence(1), PHRASES[0].audio[:4800], silence(0.3), PHRASES[0].audio[4800:9600], silence(1)))
    assert kinds(hear(audio)) == [SpeechBegan, SpeechEnded]


@pytest.mark.parametrize("pause_s", [0.0, 0.2, 0.4])
def test_a_monologue_of_half_a_minute_is_one_cut_segment_and_an_end(pause_s: float) -> None:
    talk = speech.monologue(30, pause_s=pause_s)
    audio = np.concatenate((silence(1), talk, silence(2), PHRASES[3].audio, silence(1)))
    segmenter = Segmenter()
    events = hear(audio + speech.noise("pink", len(audio) / 8000, -50, 1), segmenter)
    assert kinds(events) == [SpeechBegan, SpeechEnded, MonologueOver, SpeechBegan, SpeechEnded]
    cut, answer = said(events)
    assert cut.cut and cut.to_frame - cut.from_frame == 150
    assert not answer.cut
    over_at, over = events[2]
    assert isinstance(over, MonologueOver)
    assert over.from_frame == cut.to_frame
    assert over.to_frame == pytest.approx(31 * 50, abs=25)
    assert over_at <= 31 * 50 + 51
    assert not segmenter.speaking


def test_speaking_lasts_from_the_beginning_to_the_end() -> None:
    segmenter = Segmenter()
    states = []
    for frame in speech.frames(speech.line(call(0, "pink", 30))):
        event = segmenter.feed(frame)
        states.append((segmenter.speaking, event))
    began = next(at for at, (_, event) in enumerate(states) if isinstance(event, SpeechBegan))
    ended = next(at for at, (_, event) in enumerate(states) if isinstance(event, SpeechEnded))
    assert [speaking for speaking, _ in states] == [began <= at < ended for at in range(len(states))]
    assert segmenter.frames == len(states)


def test_clipped_speech_is_one_segment() -> None:
    audio = np.concatenate((silence(1), np.clip(30 * PHRASES[0].audio, -0.9, 0.9), silence(1)))
    assert kinds(hear(audio)) == [SpeechBegan, SpeechEnded]


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_lost_packets_neither_begin_nor_split_an_answer(share: float) -> None:
    for index in SOME:
        events = hear(speech.lossy(call(index, "pink", 15), share, index))
        assert kinds(events) == [SpeechBegan, SpeechEnded]


def test_speech_from_the_first_frame_on_is_found() -> None:
    for index in SOME:
        voice = PHRASES[index].audio[10 * FRAME :]
        audio = np.concatenate((voice, silence(1))) + speech.noise("pink", len(voice) / 8000 + 1, -45, 1)
        segment = said(hear(audio))[0]
        assert segment.from_frame == 0
        assert covers(segment, 0, len(voice) // FRAME) > 0.95


@pytest.mark.parametrize("digit", "1590")
def test_a_key_is_no_speech(digit: str) -> None:
    for length_ms in (60, 120, 500, 2000):
        tone = dtmf_tone(digit, length_ms) / 32768
        for offset in (0, 40, 100):
            audio = np.concatenate((silence(1), np.zeros(offset), tone, silence(1)))
            assert hear(audio, Segmenter(detector=Always()), keys=True) == []


def test_a_key_while_somebody_speaks_is_in_the_evidence() -> None:
    voice = speech.monologue(1.6)
    tone = dtmf_tone("1", 200) / 32768
    audio = np.concatenate((silence(1), voice[:4800], tone, voice[4800:], silence(1)))
    (segment,) = said(hear(audio, keys=True))
    assert 9 <= segment.key_frames <= 13
    assert segment.speech_frames < (segment.to_frame - segment.from_frame) - segment.key_frames


def test_a_voice_nobody_hears_is_no_speech() -> None:
    assert hear(call(0, "pink", 30), Segmenter(detector=Never())) == []


def test_samples_are_the_frames_fed() -> None:
    audio = np.concatenate((call(0, "pink", 20), call(9, "pink", 20)))
    fed = speech.frames(speech.line(audio))
    segments = said(hear(audio))
    assert len(segments) == 2
    for segment in segments:
        assert segment.samples.dtype == np.int16
        assert np.array_equal(segment.samples, fed[segment.from_frame : segment.to_frame].ravel())
    for one, other in pairwise(segments):
        assert one.to_frame <= other.from_frame


def test_a_buffer_that_is_used_again_changes_nothing() -> None:
    segmenter, buffer, found = Segmenter(), np.zeros(FRAME, np.int16), []
    for frame in speech.frames(speech.line(call(0, "pink", 20))):
        buffer[:] = frame
        found.append(segmenter.feed(buffer))
        buffer[:] = 0
    (segment,) = [event for event in found if isinstance(event, SpeechEnded)]
    assert np.array_equal(segment.samples, said(hear(call(0, "pink", 20)))[0].samples)


def test_nothing_that_was_said_is_in_the_representation() -> None:
    (segment,) = said(hear(call(0, "pink", 20)))
    assert "samples" not in repr(segment)


@pytest.mark.parametrize("bad", [np.zeros(80, np.int16), np.zeros(160, np.float32), np.zeros((160, 1), np.int16)])
def test_other_frames_are_refused(bad: speech.Samples) -> None:
    with pytest.raises(ValueError, match="160 samples of int16"):
        Segmenter().feed(bad)
    with pytest.raises(ValueError, match="160 samples of int16"):
        Segmenter().feed(np.zeros(160, np.int16), bad)
