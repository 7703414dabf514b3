"""What every recogniser promises: the fake, the pool with a scripted worker, and the pool with the real engine."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.pool import RecogniserPool, Sizes
from gateway.domain.spoken import Decision, Hearing, Question, decide
from gateway.ports.recogniser import (
    MAX_UTTERANCE_MS,
    Failure,
    FakeRecogniser,
    NotRecognised,
    Recognised,
    Recogniser,
)
from tests.support.spoken import ARGV, TEXTS, heard, recording

SILENCE = np.zeros(4_000, np.int16)


@dataclass(slots=True)
class Rig:
    """A recogniser that has not been started, and one with a deadline that nothing can keep."""

    recogniser: Recogniser
    hurried: Recogniser

    def script(self, *names: str) -> None:
        """Let the fake hear what the recordings of these names say; the others have ears."""
        if isinstance(self.recogniser, FakeRecogniser):
            self.recogniser.script += [heard(TEXTS[name]) for name in names]


def _pool(choice: Choice, deadline_s: float, *argv: str) -> RecogniserPool:
    sizes = Sizes(workers=1, deadline_s=deadline_s)
    return RecogniserPool([choice], sizes, argv=argv) if argv else RecogniserPool([choice], sizes)


@pytest.fixture(params=["fake", "scripted", pytest.param("whisper", marks=pytest.mark.slow)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "fake":
        rig = Rig(FakeRecogniser(), FakeRecogniser([5.0], deadline_s=0.001))
    elif request.param == "scripted":
        rig = Rig(_pool(Choice("any"), 20.0, *ARGV), _pool(Choice("any"), 0.00001, *ARGV))
    else:
        rig = Rig(_pool(Choice("tiny.en"), 20.0), _pool(Choice("tiny.en"), 0.001))
    yield rig
    await rig.recogniser.stop()
    await rig.hurried.stop()


async def test_nothing_is_heard_before_the_start_and_after_the_stop(rig: Rig) -> None:
    recogniser = rig.recogniser
    assert recogniser.engines == () and not recogniser.serves("en")
    assert await recogniser.recognise(SILENCE, "en") == NotRecognised(Failure.UNAVAILABLE)
    await recogniser.start()
    await recogniser.stop()
    assert recogniser.engines == ()
    assert await recogniser.recognise(SILENCE, "en") == NotRecognised(Failure.UNAVAILABLE)
    await recogniser.stop()


async def test_the_engine_says_who_it_is(rig: Rig) -> None:
    await rig.recogniser.start()
    [engine] = rig.recogniser.engines
    assert engine.name and engine.version and engine.model
    assert len(bytes.fromhex(engine.model_sha256)) == 32
    assert engine.languages == ("en",)
    assert rig.recogniser.serves("en") and rig.recogniser.serves("en-GB") and not rig.recogniser.serves("de")


async def test_answers_are_heard(rig: Rig) -> None:
    rig.script("yes-i-agree", "no-thank-you", "no-problem")
    await rig.recogniser.start()
    decisions = []
    for name in ("yes-i-agree", "no-thank-you", "no-problem"):
        recognition = await rig.recogniser.recognise(recording(name), "en-US")
        assert isinstance(recognition, Recognised)
        assert recognition.engine in rig.recogniser.engines
        assert recognition.cpu_ms >= 0 and recognition.elapsed_ms >= 0
        for hearing in recognition.hearings:
            assert hearing.window_ms * 8 >= len(recording(name))
            assert 0 <= hearing.no_speech <= 1
            scores = [hypothesis.score for hypothesis in hearing.hypotheses]
            assert scores and all(score <= 0 for score in scores)
        decisions.append(decide(recognition.hearings, "en", Question.ASK, 1).decision)
    assert decisions == [Decision.YES, Decision.NO, Decision.REPEAT]


async def test_answers_at_once_do_not_mix(rig: Rig) -> None:
    names = ("yes-i-agree", "no-thank-you") * 4
    rig.script(*names)
    await rig.recogniser.start()
    given = await asyncio.gather(*(rig.recogniser.recognise(recording(name), "en") for name in names))
    wanted = [Decision.YES, Decision.NO] * 4
    heard: list[tuple[Hearing, ...]] = [each.hearings for each in given if isinstance(each, Recognised)]
    assert [decide(hearings, "en", Question.ASK, 1).decision for hearings in heard] == wanted


async def test_a_language_that_no_engine_serves_is_said(rig: Rig) -> None:
    await rig.recogniser.start()
    recognition = await rig.recogniser.recognise(SILENCE, "de-AT")
    assert isinstance(recognition, NotRecognised) and recognition.failure is Failure.LANGUAGE


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.int16),
        np.zeros(MAX_UTTERANCE_MS * 8 + 1, np.int16),
        np.zeros(800, np.int32),
        np.zeros(800, np.float32),
        np.zeros((800, 2), np.int16),
    ],
)
async def test_other_sound_is_refused(rig: Rig, sound: np.ndarray) -> None:
    await rig.recogniser.start()
    with pytest.raises(ValueError, match="utterance"):
        await rig.recogniser.recognise(sound, "en")


async def test_an_answer_that_is_not_there_in_time_is_late(rig: Rig) -> None:
    await rig.hurried.start()
    recognition = await rig.hurried.recognise(SILENCE, "en")
    assert isinstance(recognition, NotRecognised) and recognition.failure is Failure.LATE


async def test_no_word_shows_in_a_repr(rig: Rig) -> None:
    rig.script("yes-i-agree")
    await rig.recogniser.start()
    assert "agree" not in repr(await rig.recogniser.recognise(recording("yes-i-agree"), "en")).lower()
