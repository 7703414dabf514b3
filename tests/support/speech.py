"""Speech, noise and echo to try endpointing on: the prompts cut into phrases, and what a line adds to them.

All audio is int16 mono, 8 kHz; levels are dBov (0 is a full-scale square wave); what is random comes from a seed.
"""

import functools
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gateway.media import g711
from gateway.media.g711 import Samples
from gateway.ports.prompts import ALSO_PROMPT_NAMES, SPOKEN_PROMPT_NAMES

PROMPTS = Path(__file__).parents[2] / "ivr_prompts"
LOCALES = ("de", "en", "es", "fr", "it", "pt")
FRAME = 160
Audio = NDArray[np.float64]
"""1 is full scale."""
Noise = Literal["white", "pink", "hum", "babble", "chord"]


def read(name: str) -> Audio:
    """Return one WAV file below `ivr_prompts`, by its name without ending (`en/ask`), filled up to a whole frame."""
    with wave.open(str(PROMPTS / f"{name}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.pad(samples.astype(np.float64) / 32768, (0, -len(samples) % FRAME))


def seconds(length: float) -> int:
    """Return samples, a whole number of frames."""
    return round(length * 8000 / FRAME) * FRAME


def silence(length: float) -> Audio:
    return np.zeros(seconds(length))


def frame_levels(audio: Audio) -> Audio:
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10((frames**2).mean(axis=1) + 1e-12)


def active_level(audio: Audio) -> float:
    """Return the level of the frames within 20 dB of the loudest."""
    levels = frame_levels(audio)
    return float(10 * np.log10((10 ** (levels[levels > levels.max() - 20] / 10)).mean()))


def at_level(audio: Audio, dbov: float) -> Audio:
    return audio * 10 ** ((dbov - active_level(audio)) / 20)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Speech without a pause longer than 200 ms; the first and the last frame hold some."""

    locale: str
    audio: Audio

    @property
    def frames(self) -> int:
        return len(self.audio) // FRAME


def spoken(audio: Audio) -> list[tuple[int, int]]:
    """Return where somebody speaks, in frames (half open), cut at pauses of 200 ms and more."""
    loud = np.flatnonzero(frame_levels(audio) > -45)
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(loud, np.flatnonzero(np.diff(loud) > 10) + 1)]


@functools.cache
def phrases(locales: tuple[str, ...] = LOCALES, shortest_s: float = 0.3, longest_s: float = 2.4) -> tuple[Phrase, ...]:
    """Return what the prompts of some locales hold, cut at their pauses of 200 ms and more.

    Without the prompts that only some languages have: this is what was measured (docs/benchmarks.md), and tests take
    phrases by their number.
    """
    found = []
    for locale in locales:
        for path in sorted((PROMPTS / locale).glob("*.wav")):
            if path.stem in (*SPOKEN_PROMPT_NAMES, *ALSO_PROMPT_NAMES):
                continue
            audio = read(f"{locale}/{path.stem}")
            for first, last in spoken(audio):
                begin, end = first * FRAME, last * FRAME
                if shortest_s * 8000 <= end - begin <= longest_s * 8000:
                    found.append(Phrase(locale, audio[begin:end]))
    return tuple(found)


def monologue(length: float, locale: str = "en", pause_s: float = 0.0) -> Audio:
    """Return somebody who talks on: phrases in a row, with as long a pause between them."""
    parts: list[Audio] = []
    while sum(map(len, parts)) < seconds(length):
        for phrase in phrases((locale,)):
            parts += [phrase.audio, silence(pause_s)]
    return np.concatenate(parts)[: seconds(length)]


def tone(length: float, *hertz: float, dbov: float = -20.0) -> Audio:
    """Return sines of equal level, *dbov* together."""
    at = np.arange(seconds(length)) / 8000
    waves = sum((np.sin(2 * np.pi * one * at) for one in hertz), np.zeros(len(at)))
    return waves * np.sqrt(2 / max(len(hertz), 1)) * 10 ** (dbov / 20)


def noise(kind: Noise, length: float, dbov: float, seed: int) -> Audio:
    """Return noise of a level: mean square, from 200 to 3,400 Hz but for hum, which is 50 Hz and its overtones."""
    rng, count = np.random.default_rng(seed), seconds(length)
    if kind == "babble":
        voices = [np.roll(monologue(length, locale), int(rng.integers(count))) for locale in LOCALES]
        audio = np.sum(voices, axis=0)
    elif kind == "hum":
        audio = np.sum([tone(length, 50.0 * k, dbov=-6.0 * k) for k in (1, 2, 3, 5, 7)], axis=0)
    elif kind == "chord":
        audio = np.concatenate(
            [tone(0.5, *rng.choice((262, 330, 392, 440, 523), 3)) for _ in range(round(length * 2) + 1)]
        )
        audio = audio[:count]
    else:
        hertz = np.fft.rfftfreq(count, 1 / 8000)
        shape = np.where((hertz >= 200) & (hertz <= 3400), 1.0, 0.0)
        if kind == "pink":
            shape /= np.sqrt(np.maximum(hertz, 1))
        audio = np.fft.irfft(np.fft.rfft(rng.normal(size=count)) * shape, count)
    return audio * 10 ** (dbov / 20) / np.sqrt((audio**2).mean())


def lossy(audio: Audio, share: float, seed: int) -> Audio:
    """Return audio in which this share of the frames is lost: zeros."""
    keep = np.random.default_rng(seed).random(len(audio) // FRAME) >= share
    return audio * np.repeat(keep, FRAME)


def echoed(audio: Audio, delay_ms: float, attenuation_db: float) -> Audio:
    """Return what comes back of what is played: later, weaker, through a telephone's small room."""
    room = np.array([1.0, 0.0, 0.0, -0.4, 0.0, 0.25, 0.0, 0.0, 0.15, 0.0, 0.0, -0.1])
    heard = np.convolve(audio, room / np.sqrt((room**2).sum()))[: len(audio)]
    late = round(delay_ms * 8)
    return np.concatenate((np.zeros(late), heard))[: len(audio)] * 10 ** (-attenuation_db / 20)


def line(audio: Audio) -> Samples:
    """Return int16 as it arrives through G.711 mu-law, clipped at full scale, in whole frames."""
    whole = audio[: len(audio) // FRAME * FRAME]
    return g711.decode("PCMU", g711.encode("PCMU", pcm(whole)))


def pcm(audio: Audio) -> Samples:
    return np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)


def frames(samples: Samples) -> Samples:
    """Return one row a frame."""
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
