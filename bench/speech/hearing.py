"""What the gateway would hear of a clip: over a telephone line, cut by our endpointing, listened to by our recogniser.

The line: speech at -20 dBov, give or take 5 dB, through G.711 mu-law. In noise: noise (pink and white, or six people
who talk at once) so many dB below the speech, 300 to 3,400 Hz, and 2 % of the packets lost. Two seconds of the line
before the clip, 1.5 s behind it.
"""

import functools
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.speech.corpus import Clip
from bench.speech.sound import RATE, Audio
from gateway.adapters.speech.models import Choice, read_model
from gateway.adapters.speech.whisper import Whisper, listen
from gateway.domain.spoken import Hearing
from gateway.media.g711 import Samples
from gateway.media.segmenter import Segmenter, SpeechEnded
from tests.support import speech

LINE: Final[tuple[speech.Noise, ...]] = ("pink", "white")
PEOPLE: Final[tuple[speech.Noise, ...]] = ("babble",)
CONDITIONS: Final[dict[str, tuple[float, tuple[speech.Noise, ...]] | None]] = {
    "clean": None,
    "20 dB": (20.0, LINE),
    "10 dB": (10.0, LINE),
    "5 dB": (5.0, LINE),
    "others talk, 15 dB": (15.0, PEOPLE),
}
LEVEL_DBOV, SPREAD_DB = -20.0, 5.0
QUIET_DBOV = -65.0
LOSS = 0.02
LEAD_S, TAIL_S = 2.0, 1.5


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one clip in one condition: the passes over its first utterance, none where nothing was cut out or the
    utterance was too long to be an answer; processor and elapsed time of the recogniser."""

    clip: int
    condition: str
    hearings: tuple[Hearing, ...]
    utterances: int
    cpu_ms: float
    took_ms: float


@functools.cache
def _noise(kind: speech.Noise) -> Audio:
    return speech.noise(kind, 60.0, 0.0, 7)


@functools.cache
def _band() -> Audio:
    """A filter from 300 to 3,400 Hz."""
    taps = np.arange(-100, 101)

    def low_pass(hertz: float) -> Audio:
        kernel = np.sinc(2 * hertz / RATE * taps) * np.hamming(len(taps))
        return np.asarray(kernel / kernel.sum())

    return low_pass(3_400) - low_pass(300)


def on_the_line(clip: Clip, condition: str) -> Samples:
    """Return what arrives of *clip*: whole frames of int16 at 8 kHz, the same each time."""
    chance = random.Random(clip.seed)
    audio = clip.audio()
    audio = np.pad(audio, (0, -len(audio) % speech.FRAME))
    level = LEVEL_DBOV + chance.uniform(-SPREAD_DB, SPREAD_DB)
    audio = np.concatenate((speech.silence(LEAD_S), speech.at_level(audio, level), speech.silence(TAIL_S)))
    noisy = CONDITIONS[condition]
    snr, kinds = noisy or (level - QUIET_DBOV, ("white",))
    at = chance.randrange(44 * RATE)
    background = _noise(kinds[clip.seed % len(kinds)])[at : at + len(audio)]
    audio = audio + background * 10 ** ((level - snr) / 20)
    if noisy:
        audio = speech.lossy(np.convolve(audio, _band(), "same"), LOSS, clip.seed)
    return speech.line(audio)


def first_utterance(line: Samples) -> tuple[SpeechEnded | None, int]:
    """Return what our endpointing cuts out first, and how much it cuts out in all."""
    segmenter = Segmenter()
    events = [segmenter.feed(frame) for frame in speech.frames(line)]
    ended = [event for event in events if isinstance(event, SpeechEnded)]
    return (ended[0] if ended else None), len(ended)


@functools.cache
def _engine(name: str) -> Whisper:
    return Whisper(read_model(Choice(name)))


def hear(number: int, clip: Clip, condition: str, language: str, engines: Sequence[str]) -> Heard:
    """Return what is heard of one clip, by one engine or two. Raises `RecogniserUnusable`, `SoundError`."""
    utterance, count = first_utterance(on_the_line(clip, condition))
    hearings: tuple[Hearing, ...] = ()
    first, second, *_ = (*map(_engine, engines), None)
    assert first is not None
    begin, cpu = time.perf_counter(), time.process_time()
    if utterance is not None and not utterance.cut:
        hearings = listen(first, second, utterance.samples, language)
    spent = (time.process_time() - cpu) * 1000, (time.perf_counter() - begin) * 1000
    return Heard(number, condition, hearings, count, *spent)


def hear_all(
    clips: Sequence[Clip], conditions: Sequence[str], language: str, engines: Sequence[str]
) -> Iterator[Heard]:
    """Yield what is heard of every clip in every condition, on all cores."""
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        jobs = [
            pool.submit(hear, number, clip, condition, language, engines)
            for number, clip in enumerate(clips)
            for condition in conditions
        ]
        for job in jobs:
            yield job.result()
