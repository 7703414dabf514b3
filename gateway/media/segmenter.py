"""Cuts what a caller says out of his audio: frames in, events out."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gateway.media.echopath import EchoPath, decibels
from gateway.media.endpointing import Edge, Endpointing, Hysteresis
from gateway.media.g711 import Samples
from gateway.media.loudness import NoiseFloor, bands_of, dbov, is_tone, spectrum
from gateway.media.vad import FRAME_MS, FRAME_SAMPLES, VoiceDetector, WebrtcDetector

BANDS_TO_OPEN: Final = 2
"""So many bands have to stand out,"""
ALONE_DB: Final = 4.0
"""or one by so much more: deep voices in loud noise have one."""


class SpeechGate:
    """Does a frame stand out from the noise, and from the echo of what we play? One for each stream."""

    def __init__(self, rules: Endpointing) -> None:
        self._begin = 10 ** (rules.noise_margin_db / 10)
        self._hold = 10 ** (rules.hold_margin_db / 10)
        self._echo_margin_db = rules.echo_margin_db
        self.floor = NoiseFloor(rules.floor_frames)
        self.echo = EchoPath()

    def power(
        self, frame: Samples, played: Samples | None = None, *, key: bool = False, speaking: bool = False
    ) -> float:
        """Take the next frame, what is played meanwhile, whether a key sounds, and whether somebody speaks already.

        Returns the frame's power from 200 to 3,600 Hz when it stands out, else 0.
        """
        self.echo.play(None if played is None or not played.any() else bands_of(spectrum(played)))
        if not frame.any():
            self.floor.hear(None)
            return 0.0
        powers = spectrum(frame)
        bands = bands_of(powers)
        limit = self.floor.hear(bands) * (self._hold if speaking else self._begin)
        if self.echo.sounding:
            limit = np.maximum(limit, 10 ** ((self.echo.expected() + self._echo_margin_db) / 10))
            if not key:
                self.echo.learn(decibels(bands))
        over = bands / limit
        stands_out = np.count_nonzero(over > 1) >= BANDS_TO_OPEN or over.max() > _ALONE
        return float(powers.sum()) if stands_out and not is_tone(powers) else 0.0


_ALONE: Final = 10 ** (ALONE_DB / 10)


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Somebody speaks, it seems: a prompt that plays should stop. Times count from the first frame fed.

    *from_frame*: where the segment will begin; *at_frame*: the frames heard when it was noticed.
    """

    from_frame: int
    at_frame: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """A segment: int16 mono, 8 kHz, exactly the frames fed from *from_frame* to *to_frame* (half open).

    *cut*: it was still going on at the longest a segment may be; what follows, until a `MonologueOver`, is no answer.
    *speech_frames*: how many of its frames held speech; *level_dbov*: their level; *noise_dbov*: the noise floor when
    it began; both from 200 to 3,600 Hz. *key_frames*: frames in which a key sounded; *prompt_frames*: in which our own
    prompt or its echo could be heard.
    """

    from_frame: int
    to_frame: int
    speech_frames: int
    cut: bool
    level_dbov: float
    noise_dbov: float
    key_frames: int
    prompt_frames: int
    samples: Samples = field(repr=False, compare=False)

    @property
    def from_ms(self) -> int:
        return self.from_frame * FRAME_MS

    @property
    def to_ms(self) -> int:
        return self.to_frame * FRAME_MS


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """What had begun was too short to be an answer: a click, a cough, a key."""

    from_frame: int
    to_frame: int
    speech_frames: int


@dataclass(frozen=True, slots=True)
class MonologueOver:
    """What went on after a cut, from *from_frame* to *to_frame* (half open), is over: the caller listens again."""

    from_frame: int
    to_frame: int


SpeechEvent = SpeechBegan | SpeechEnded | SpeechDropped | MonologueOver


@dataclass(frozen=True, slots=True)
class _Heard:
    frame: Samples = field(repr=False)
    power: float
    """Of speech, from 200 to 3,600 Hz; 0 for a frame without."""
    key: bool
    prompt: bool


class Segmenter:
    """Finds what a caller says in his stream of 20 ms frames (int16 mono, 8 kHz, 160 samples).

    Feed it every frame of the call from the first on, also while nobody is asked: it learns the noise. A frame is
    speech when it stands out from noise and from our prompt's echo (`SpeechGate`), the detector hears a voice in it,
    and no key sounds; `Hysteresis` tells where speech begins and ends.

    Promises, whatever the frames: segments never overlap, none is longer than *maximum_frames*, each is exactly what
    was fed, and all that is reported depends on nothing but what was fed. It keeps no audio but the last half second
    and the segment that is going on.
    """

    def __init__(self, rules: Endpointing | None = None, detector: VoiceDetector | None = None) -> None:
        rules = rules or Endpointing()
        self._detector = detector or WebrtcDetector()
        self._gate = SpeechGate(rules)
        self._hysteresis = Hysteresis(rules)
        self._reach = rules.preroll_frames + rules.onset_within
        self._heard: deque[_Heard] = deque()
        self._frames = 0
        self._noise_dbov = 0.0
        self.dropped = 0
        """How often something began that was too short to be an answer."""

    @property
    def frames(self) -> int:
        """Frames fed so far."""
        return self._frames

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks now, be it an answer or a monologue."""
        return self._hysteresis.state != "quiet"

    def feed(self, frame: Samples, played: Samples | None = None, *, key: bool = False) -> SpeechEvent | None:
        """Take the next frame and return what it decides.

        *played*: the frame that is played to the caller at this moment, None for nothing. *key*: a DTMF tone sounds, as
        `InbandDtmfDetector` hears it. Raises `ValueError` for frames that are not int16 or not 160 samples.
        """
        _check(frame)
        if played is not None:
            _check(played)
        voice = self._detector.is_voice(frame)
        power = self._gate.power(frame, played, key=key, speaking=self.speaking)
        speech = voice and power > 0 and not key
        self._heard.append(_Heard(frame.copy(), power if speech else 0.0, key, self._gate.echo.sounding))
        self._frames += 1
        edge = self._hysteresis.step(speech, key=key)
        event = self._event(edge) if edge else None
        if self._hysteresis.state != "speech":
            self._forget(self._frames - self._reach)
        return event

    def _event(self, edge: Edge) -> SpeechEvent:
        if edge.kind == "began":
            self._noise_dbov = self._gate.floor.level_dbov
            self._forget(edge.from_frame)
            return SpeechBegan(edge.from_frame, edge.to_frame)
        if edge.kind == "monologue_over":
            return MonologueOver(edge.from_frame, edge.to_frame)
        if edge.kind == "dropped":
            self.dropped += 1
            return SpeechDropped(edge.from_frame, edge.to_frame, edge.speech_frames)
        return self._segment(edge)

    def _segment(self, edge: Edge) -> SpeechEnded:
        held = list(self._heard)[: edge.to_frame - edge.from_frame]
        powers = [heard.power for heard in held if heard.power]
        return SpeechEnded(
            edge.from_frame,
            edge.to_frame,
            edge.speech_frames,
            edge.cut,
            level_dbov=dbov(sum(powers) / len(powers)),
            noise_dbov=self._noise_dbov,
            key_frames=sum(heard.key for heard in held),
            prompt_frames=sum(heard.prompt for heard in held),
            samples=np.concatenate([heard.frame for heard in held]),
        )

    def _forget(self, before: int) -> None:
        """Drop what was heard before a frame."""
        while self._heard and self._frames - len(self._heard) < before:
            self._heard.popleft()


def _check(frame: Samples) -> None:
    if frame.shape != (FRAME_SAMPLES,) or frame.dtype != np.int16:
        raise ValueError("a frame holds 160 samples of int16")


__all__ = [
    "MonologueOver",
    "Segmenter",
    "SpeechBegan",
    "SpeechDropped",
    "SpeechEnded",
    "SpeechEvent",
    "SpeechGate",
]
