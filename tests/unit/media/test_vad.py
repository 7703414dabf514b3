"""The default detector: what it hears, and that it remembers nothing but its own stream."""

import numpy as np
import pytest

from gateway.media.vad import VoiceDetector, WebrtcDetector
from tests.support import speech


def share(detector: VoiceDetector, audio: speech.Audio) -> float:
    verdicts = [detector.is_voice(frame) for frame in speech.frames(speech.line(audio))]
    return sum(verdicts) / len(verdicts)


@pytest.mark.parametrize("dbov", [-45, -30, -20, -10, -2])
def test_speech_of_every_level_is_voice(dbov: float) -> None:
    audio = speech.at_level(speech.phrases()[0].audio, dbov)
    assert share(WebrtcDetector(), audio) > 0.7


def test_silence_is_none() -> None:
    assert share(WebrtcDetector(), speech.silence(2)) == 0


@pytest.mark.parametrize("extreme", [-32768, 32767])
def test_full_scale_does_not_wrap_around(extreme: int) -> None:
    audio = speech.phrases()[0].audio
    loud = np.where(audio < 0, -32768, 32767).astype(np.int16)
    loud[loud == -extreme - 1] = extreme // 2
    half = (loud // 2).astype(np.int16)
    one, other = WebrtcDetector(), WebrtcDetector()
    assert [one.is_voice(frame) for frame in speech.frames(loud)] == [
        other.is_voice(frame) for frame in speech.frames(np.clip(half * 2, -32768, 32766).astype(np.int16))
    ]


def test_streams_do_not_disturb_each_other() -> None:
    voice = speech.frames(speech.line(speech.phrases()[0].audio))
    noise = speech.frames(speech.line(speech.noise("white", 3, -20, 1)))
    alone, one, other = WebrtcDetector(), WebrtcDetector(), WebrtcDetector()
    expected = [alone.is_voice(frame) for frame in voice]
    found = []
    for frame, disturbance in zip(voice, noise, strict=False):
        found.append(one.is_voice(frame))
        other.is_voice(disturbance)
    assert found == expected[: len(found)]
