"""How well and how soon the beginning and the end of an answer are found, beside plain webrtcvad in the same run.

Phrases of our prompts stand between pauses, in noise, through G.711. Both detectors count by the same rules; plain
webrtcvad (mode 3) is the peer. A false start is an onset in the two seconds of noise before the phrase; missed is a
phrase of which no segment holds half. Start and end are counted from the phrase's first and last frame, where nothing
started falsely. Synthetic voices: what they show of people is not known.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import webrtcvad

from bench.machine import quantile
from gateway.media.endpointing import Endpointing, Hysteresis
from gateway.media.g711 import Samples
from gateway.media.segmenter import Segmenter, SpeechBegan, SpeechEnded
from gateway.media.vad import FRAME_MS, MODE
from tests.support import speech

LEAD_S, TAIL_S = 2.0, 1.5
LEVEL_DBOV = -20.0

LOSS = 0.02
MATERIAL = (*speech.LOCALES, "demo")
CONDITIONS: dict[str, tuple[speech.Noise, float, float]] = {
    "clean": ("white", -65.0, LEVEL_DBOV),
    "quiet, -45 dBov, clean": ("white", -65.0, -45.0),
    **{f"{kind} {snr} dB": (kind, LEVEL_DBOV - snr, LEVEL_DBOV) for kind in ("white", "pink") for snr in (20, 10, 5)},
    "hum 10 dB": ("hum", LEVEL_DBOV - 10, LEVEL_DBOV),
    "chords 20 dB": ("chord", LEVEL_DBOV - 20, LEVEL_DBOV),
    "babble 20 dB": ("babble", LEVEL_DBOV - 20, LEVEL_DBOV),
}
ECHOES_DB = (6, 12, 20, 30)
DELAYS_MS = (0, 130, 307, 500)
TALK_AT_S = 4.0

Span = tuple[int, int, int, int]
"""Frames: noticed at, begins, ends (0: not yet), ended at."""


@dataclass(slots=True)
class Tally:
    phrases: int = 0
    false_starts: int = 0
    missed: int = 0
    split: int = 0
    start_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)

    def judge(self, spans: list[Span], begin: int, end: int) -> None:
        """Count one phrase that was said from frame *begin* to *end*."""
        self.phrases += 1
        inside = [span for span in spans if min(span[2], end) - max(span[1], begin) > 0]
        self.missed += not any(min(s[2], end) - max(s[1], begin) >= (end - begin) / 2 for s in inside)
        self.split += len(inside) > 1
        if any(span[0] <= begin for span in spans):
            self.false_starts += 1
        elif inside:
            self.start_ms.append((inside[0][0] - begin) * FRAME_MS)
            self.end_ms.append((inside[-1][3] - end) * FRAME_MS)

    def row(self) -> dict[str, Any]:
        return {
            "phrases": self.phrases,
            "false_start_percent": 100 * self.false_starts / self.phrases,
            "missed_percent": 100 * self.missed / self.phrases,
            "split_percent": 100 * self.split / self.phrases,
            "start_ms": [quantile(self.start_ms, part) for part in (0.5, 0.95)] if self.start_ms else None,
            "end_ms": [quantile(self.end_ms, part) for part in (0.5, 0.95)] if self.end_ms else None,
        }


def plain(frames: Samples) -> list[Span]:
    """Return what webrtcvad finds, counted by our rules."""
    vad, rules = webrtcvad.Vad(MODE), Hysteresis(Endpointing())
    spans: list[Span] = []
    for at, frame in enumerate(frames, 1):
        edge = rules.step(vad.is_speech(frame.tobytes(), 8000))
        if edge and edge.kind == "began":
            spans.append((at, edge.from_frame, 0, 0))
        elif edge and edge.kind == "ended":
            spans[-1] = (*spans[-1][:2], edge.to_frame, at)
    return spans


def ours(frames: Samples) -> list[Span]:
    segmenter = Segmenter()
    spans: list[Span] = []
    for at, frame in enumerate(frames, 1):
        event = segmenter.feed(frame)
        if isinstance(event, SpeechBegan):
            spans.append((at, event.from_frame, 0, 0))
        elif isinstance(event, SpeechEnded):
            spans[-1] = (*spans[-1][:2], event.to_frame, at)
    return spans


def condition(name: str, every: int) -> dict[str, Any]:
    kind, noise_dbov, level_dbov = CONDITIONS[name]
    tallies = {"webrtcvad": Tally(), "ours": Tally()}
    for seed, phrase in list(enumerate(speech.phrases(MATERIAL)))[::every]:
        voice = speech.at_level(phrase.audio, level_dbov)
        audio = np.concatenate((speech.silence(LEAD_S), voice, speech.silence(TAIL_S)))
        audio = audio + speech.noise(kind, len(audio) / 8000, noise_dbov, seed)
        if "clean" not in name:
            audio = speech.lossy(audio, LOSS, seed)
        frames = speech.frames(speech.line(audio))
        begin = round(LEAD_S * 50)
        tallies["webrtcvad"].judge(plain(frames), begin, begin + phrase.frames)
        tallies["ours"].judge(ours(frames), begin, begin + phrase.frames)
    return {name: tally.row() for name, tally in tallies.items()}


def prompts() -> Iterable[speech.Audio]:
    for locale in speech.LOCALES:
        for name in ("ask", "ask_again"):
            yield np.concatenate((speech.read(f"{locale}/{name}"), speech.silence(1)))


def onsets(heard: speech.Audio, played: speech.Audio, told: bool) -> list[int]:
    segmenter = Segmenter()
    pairs = zip(speech.frames(speech.line(heard)), speech.frames(speech.pcm(played)), strict=True)
    events = ((at, segmenter.feed(frame, out if told else None)) for at, (frame, out) in enumerate(pairs, 1))
    return [at for at, event in events if isinstance(event, SpeechBegan)]


def echo(attenuation_db: int, every: int) -> dict[str, Any]:
    """Prompts whose echo comes back: how often it is taken for the caller, and how soon a caller is heard over it."""
    talk_at = round(TALK_AT_S * 50)
    false, untold, minutes, spoke, heard_ms = 0, 0, 0.0, 0, []
    for delay_ms in DELAYS_MS[::every]:
        for index, prompt in enumerate(prompts()):
            line = speech.echoed(prompt, delay_ms, attenuation_db)
            line += speech.noise("pink", len(line) / 8000, -60, index)
            minutes += len(prompt) / 8000 / 60
            false += len(onsets(line, prompt, True))
            untold += len(onsets(line, prompt, False))
            phrase = speech.phrases(MATERIAL)[(37 * index + 5) % len(speech.phrases(MATERIAL))].audio
            length = min(len(phrase), len(line) - talk_at * speech.FRAME)
            line[talk_at * speech.FRAME :][:length] += speech.at_level(phrase, LEVEL_DBOV)[:length]
            found = [at for at in onsets(line, prompt, True) if talk_at < at <= talk_at + length // speech.FRAME]
            spoke += 1
            heard_ms += [(at - talk_at) * FRAME_MS for at in found[:1]]
    return {
        "minutes": minutes,
        "false_starts": false,
        "false_starts_untold": untold,
        "callers": spoke,
        "heard_percent": 100 * len(heard_ms) / spoke,
        "start_ms": [quantile(heard_ms, part) for part in (0.5, 0.95)] if heard_ms else None,
    }


def cost(seconds: float) -> dict[str, float]:
    """Return microseconds a frame: the best of five passes, in turns."""
    audio = speech.monologue(seconds) + speech.noise("pink", seconds, -45, 1)
    frames = speech.frames(speech.line(audio))
    played = speech.frames(speech.pcm(speech.monologue(seconds, "fr")))

    def peer() -> None:
        vad = webrtcvad.Vad(MODE)
        for frame in frames:
            vad.is_speech(frame.tobytes(), 8000)

    def alone() -> None:
        segmenter = Segmenter()
        for frame in frames:
            segmenter.feed(frame)

    def with_prompt() -> None:
        segmenter = Segmenter()
        for frame, out in zip(frames, played, strict=True):
            segmenter.feed(frame, out)

    runs: dict[str, Callable[[], None]] = {"webrtcvad": peer, "ours": alone, "ours, prompt playing": with_prompt}
    took: dict[str, float] = dict.fromkeys(runs, float("inf"))
    for _ in range(5):
        for name, once in runs.items():
            begin = time.process_time()
            once()
            took[name] = min(took[name], (time.process_time() - begin) / len(frames) * 1e6)
    return took


async def run(_folder: Path, quick: bool) -> dict[str, Any]:
    every = 8 if quick else 1
    return {
        "conditions": {name: condition(name, every) for name in CONDITIONS},
        "echo": {f"{attenuation} dB": echo(attenuation, 4 if quick else 1) for attenuation in ECHOES_DB},
        "us_per_frame": cost(5.0 if quick else 20.0),
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    first = next(iter(found["conditions"].values()))["ours"]
    print(f"{first['phrases']} phrases in six languages; start and end: p50/p95 ms")
    print(f"{'':24}{'':11}{'false start %':>14}{'missed %':>10}{'split %':>9}{'start':>12}{'end':>12}")
    for name, rows in found["conditions"].items():
        for who, row in rows.items():
            shares = f"{row['false_start_percent']:14.1f}{row['missed_percent']:10.1f}{row['split_percent']:9.1f}"
            print(f"{name:24}{who:11}{shares}{pair(row['start_ms']):>12}{pair(row['end_ms']):>12}")
    heads = f"{'false starts':>14}{'untold':>8}{'minutes':>9}{'caller heard %':>16}{'start':>12}"
    print(f"\n{'prompt and its echo':24}{heads}")
    for name, row in found["echo"].items():
        counts = f"{row['false_starts']:14}{row['false_starts_untold']:8}{row['minutes']:9.1f}"
        print(f"{name:24}{counts}{row['heard_percent']:16.1f}{pair(row['start_ms']):>12}")
    peer = found["us_per_frame"]["webrtcvad"]
    print()
    for name, took in found["us_per_frame"].items():
        print(f"{name:24}{took:8.1f} us a frame of 20 ms, {took / peer:.1f} times webrtcvad")


def pair(values: list[float] | None) -> str:
    return "/".join(f"{value:.0f}" for value in values) if values else "-"
