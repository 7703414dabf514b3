"""What a caller says, cut into utterances by a real media worker: SIP and RTP on loopback."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from gateway.adapters.softphone import Call, Softphone
from gateway.media.g711 import Samples
from gateway.ports.media import (
    Digit,
    HangUp,
    LegEnded,
    Listen,
    MediaEvent,
    Play,
    PlayFinished,
    PlayStarted,
    SpeechStarted,
    StopPlay,
    Utterance,
    decode,
    encode,
)
from tests.e2e.worker_support import Rig, echoing, running_pool
from tests.support.speech import PROMPTS, Audio, Phrase, at_level, line, monologue, pcm, phrases, silence

pytestmark = pytest.mark.slow

PROMPT = str(PROMPTS / "en" / "ask.wav")
HANGOVER_MS = 500


def phrase(number: int = 0) -> Phrase:
    """Somebody else's words than the prompt's: long enough to be an answer, short enough not to be cut."""
    return [one for one in phrases(("fr",)) if 40 <= one.frames <= 90][number]


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_pool(2) as running:
        yield running


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


async def listened(rig: Rig, caller: Softphone) -> tuple[Call, str]:
    """An answered call that is listened to."""
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Listen(leg, True))
    await asyncio.sleep(0.5)
    return call, leg


async def said(call: Call, *parts: Audio) -> None:
    """Let a caller say something to its end."""
    call.play(pcm(np.concatenate([*parts, silence(0.02)])))
    while call.stream.queued_samples:  # noqa: ASYNC110 (nobody calls back)
        await asyncio.sleep(0.02)


async def utterance(rig: Rig, number: int = 0, within: float = 5.0) -> Utterance:
    """The *number*th utterance."""
    await rig.event(Utterance, lambda event: len(rig.have(Utterance)) > number, within)
    return rig.have(Utterance)[number]


def audio(event: Utterance) -> Samples:
    return np.frombuffer(base64.b64decode(event.audio), "<i2")


def holds(event: Utterance, words: Audio) -> bool:
    """Whether an utterance has all of *words* in it, as they come through the line."""
    wanted, got = line(words).astype(float), audio(event).astype(float)
    if len(got) < len(wanted):
        return False
    likeness = np.correlate(got, wanted, "valid") / np.sqrt((wanted**2).sum())
    at = int(likeness.argmax())
    return bool(likeness[at] / np.sqrt((got[at : at + len(wanted)] ** 2).sum()) > 0.98)


async def test_an_answer_comes_whole_and_with_its_times(rig: Rig, caller: Softphone) -> None:
    call, leg = await listened(rig, caller)
    words = at_level(phrase().audio, -22)
    begun_ns = time.monotonic_ns()
    await said(call, words)
    done_ns = time.monotonic_ns()
    heard = await utterance(rig)
    started = rig.have(SpeechStarted)[0]
    assert heard.leg == started.leg == leg and heard.began_ns == started.began_ns
    assert holds(heard, words)
    assert len(audio(heard)) * 125_000 == heard.ended_ns - heard.began_ns
    assert begun_ns - 400_000_000 < heard.began_ns < begun_ns + 300_000_000
    assert done_ns < heard.ended_ns + 200_000_000 and heard.mono_ns - done_ns < (HANGOVER_MS + 400) * 1_000_000
    assert -26 < heard.level_dbov < -18 and heard.noise_dbov < -60
    assert (heard.cut, heard.key_ms, heard.prompt_ms) == (False, 0, 0)
    assert abs(heard.speech_ms - phrase().frames * 20) < 300
    assert heard.audio not in repr(heard)


async def test_nobody_is_listened_to_unless_that_is_wanted(rig: Rig, caller: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    await said(call, phrase().audio, silence(0.7))
    rig.pool.send(Listen(leg, True))
    await asyncio.sleep(0.4)
    call.play(pcm(monologue(2.0, "fr")))
    await rig.event(SpeechStarted)
    rig.pool.send(Listen(leg, False))
    await asyncio.sleep(3)
    assert not rig.have(Utterance) and len(rig.have(SpeechStarted)) == 1, "what was begun is forgotten"


async def test_two_answers_in_a_row_are_two(rig: Rig, caller: Softphone) -> None:
    call, _ = await listened(rig, caller)
    one, other = (at_level(phrase(number).audio, -22) for number in (0, 1))
    await said(call, one, silence(0.9), other)
    first, second = await utterance(rig), await utterance(rig, 1)
    assert holds(first, one) and holds(second, other) and first.ended_ns <= second.began_ns


async def test_silence_is_no_answer(rig: Rig, caller: Softphone) -> None:
    await listened(rig, caller)
    await asyncio.sleep(2)
    assert not rig.have(SpeechStarted) and not rig.have(Utterance)


async def test_a_monologue_is_cut_once_and_then_the_caller_is_heard_again(rig: Rig, caller: Softphone) -> None:
    call, _ = await listened(rig, caller)
    words = at_level(phrase().audio, -22)
    await said(call, at_level(monologue(12.0, "fr"), -22), silence(1.4), words)
    first, second = await utterance(rig), await utterance(rig, 1)
    assert first.cut and first.ended_ns - first.began_ns == 3_000_000_000
    assert not second.cut and holds(second, words)
    assert len(rig.have(Utterance)) == 2


@pytest.mark.parametrize("dbov", [-42.0, 6.0], ids=["very quiet", "clipped"])
async def test_a_very_quiet_and_a_clipped_voice_are_heard(rig: Rig, caller: Softphone, dbov: float) -> None:
    call, _ = await listened(rig, caller)
    words = at_level(phrase().audio, dbov)
    await said(call, words)
    assert holds(await utterance(rig), words)


async def test_a_key_is_no_speech_and_counts_as_a_key(rig: Rig, caller: Softphone) -> None:
    call, _ = await listened(rig, caller)
    call.send_inband_digit("1", 300)
    assert (await rig.event(Digit)).value == "1"
    await asyncio.sleep(1.2)
    assert not rig.have(Utterance)


async def test_a_key_pressed_while_speaking_counts_and_is_told_with_the_words(rig: Rig, caller: Softphone) -> None:
    call, _ = await listened(rig, caller)
    await said(call, at_level(monologue(1.0, "fr"), -22))
    await call.send_inband_digit("2", 200)
    await said(call, at_level(monologue(0.6, "fr"), -22))
    heard = await utterance(rig)
    assert rig.have(Digit)[0].value == "2" and heard.key_ms >= 100


async def test_our_prompt_and_its_echo_are_nobodys_answer(rig: Rig, caller: Softphone) -> None:
    call, leg = await listened(rig, caller)
    call.audio_source = echoing(call, 120, loss_db=18.0)
    rig.pool.send(Play(leg, "p", PROMPT))
    await rig.event(PlayStarted)
    finished = await rig.event(PlayFinished, within=20)
    await asyncio.sleep(0.8)
    assert finished.completed and not rig.have(SpeechStarted) and not rig.have(Utterance)


async def test_who_speaks_over_the_prompt_is_heard(rig: Rig, caller: Softphone) -> None:
    call, leg = await listened(rig, caller)
    rig.pool.send(Play(leg, "p", PROMPT))
    await rig.event(PlayStarted)
    await asyncio.sleep(4)
    words = at_level(phrase().audio, -20)
    call.play(pcm(words))
    await rig.event(SpeechStarted)
    rig.pool.send(StopPlay(leg, "p"))
    finished = await rig.event(PlayFinished)
    heard = await utterance(rig)
    assert holds(heard, words) and not finished.completed and 0 < heard.prompt_ms < heard.speech_ms + 1_000


async def test_a_caller_who_hangs_up_in_the_middle_of_a_word_says_nothing(rig: Rig, caller: Softphone) -> None:
    call, leg = await listened(rig, caller)
    call.play(pcm(monologue(2.0, "fr")))
    await rig.event(SpeechStarted)
    await call.hang_up()
    await rig.event(LegEnded)
    rig.pool.send(Listen(leg, True))
    rig.pool.send(HangUp(leg))
    await asyncio.sleep(0.8)
    assert not rig.have(Utterance)


def test_an_utterance_of_the_longest_length_fits_the_wire() -> None:
    event: MediaEvent = Utterance(
        1, "leg", 2, 3, 4, -20.5, -60.5, True, 5, 6, base64.b64encode(bytes(320_000)).decode()
    )
    assert decode(encode(event)) == event
    assert decode(encode(Listen("leg", True))) == Listen("leg", True)
