"""The audio side of one leg, and the conference clock. Runs on the library's media thread, 50 times a second.

Nothing here may block, raise through the binding, or call into pjsua2.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import numpy as np
import pjsua2 as pj
import structlog

from gateway.adapters.sip.ear import Ear
from gateway.adapters.sip.frames import SILENCE, read_frame, write_frame
from gateway.adapters.sip.sound import Prompt, ring_back
from gateway.media.dtmf import DtmfEdge, InbandDtmfDetector
from gateway.media.gate import FRAME_MS, Samples

_log = structlog.get_logger(__name__)

Side = Literal[0, 1]
LEFT: Final[Side] = 0
RIGHT: Final[Side] = 1


class Listener(Protocol):
    """Who wants a leg's frames: a recording."""

    def arrived(self, side: Side, tick: int, samples: Samples | None) -> None: ...


class LegMedia:
    """What one leg hears and says, frame by frame.

    *on_digit* is told each edge of a digit in the audio, how many ms ago it was, and whether it counts as a key: not
    while a prompt plays.
    """

    def __init__(
        self,
        clock: "ConferenceClock",
        *,
        on_digit: Callable[[DtmfEdge, int, bool], None],
        on_begun: Callable[[Prompt], None],
        on_played: Callable[[Prompt], None],
        inband: bool,
    ) -> None:
        self._clock = clock
        self._on_digit = on_digit
        self._on_begun = on_begun
        self._on_played = on_played
        self._detectors = (InbandDtmfDetector(), InbandDtmfDetector()) if inband else ()
        """One hears keys while no prompt plays, one while one does."""
        self._heard_ms = 0
        self._prompt: Prompt | None = None
        self._said: bytes | None = None
        """The frame of a prompt that was said last, None for anything else."""
        self.ear: Ear | None = None
        """Listens for spoken answers, while anybody wants them."""
        self._ring: int | None = None
        self._lock = threading.Lock()
        self.listeners: tuple[tuple[Side, Listener], ...] = ()

    @property
    def playing(self) -> bool:
        return self._prompt is not None

    def play(self, prompt: Prompt) -> Prompt | None:
        """Start *prompt*; returns the one that it cuts short."""
        with self._lock:
            cut, self._prompt = self._prompt, prompt
        return cut

    def cut(self, play: str | None = None) -> Prompt | None:
        """Stop the prompt (that one only, if named) and return it; None when it is not playing."""
        with self._lock:
            prompt = self._prompt
            if prompt is None or (play is not None and prompt.play != play):
                return None
            self._prompt = None
        return prompt

    def ring(self, on: bool) -> None:
        """Start or stop the ring-back tone. A prompt is louder: the tone waits behind it."""
        if on != (self._ring is not None):
            self._ring = 0 if on else None

    def say(self) -> bytes:
        """The next frame for the far end."""
        prompt = self._prompt
        if prompt is not None:
            begun = False
            with self._lock:
                if self._prompt is prompt:
                    begun = prompt.played_ms == 0
                    frame = prompt.next_frame()
                    finished = prompt.completed
                    if finished:
                        self._prompt = None
                else:
                    frame, finished = SILENCE, False
            if begun:
                self._on_begun(prompt)
            if finished:
                self._on_played(prompt)
            self._said = frame
            return frame
        self._said = None
        ring = self._ring
        if ring is not None:
            self._ring = ring + 1
            return ring_back(ring)
        return SILENCE

    def hear(self, audio: bytes | None) -> None:
        """One tick's frame of the far end; None: it sent nothing."""
        samples = None if audio is None else np.frombuffer(audio, np.int16)
        tick = self._clock.tick
        for side, listener in self.listeners:
            listener.arrived(side, tick, samples)
        frame = _SILENT if samples is None else samples
        self._detect_keys(frame)
        ear = self.ear
        if ear is not None:
            ear.hear(frame, self._said, key=any(one.sounding for one in self._detectors))

    def _detect_keys(self, frame: Samples) -> None:
        self._heard_ms += FRAME_MS
        listening = self._prompt is None
        for each, counts in zip(self._detectors, (True, False), strict=False):
            for edge in each.feed(frame, listening=listening is counts):
                self._on_digit(edge, self._heard_ms - edge.at_ms, counts)


_SILENT: Final[Samples] = np.zeros(160, np.int16)


class LegPort(pj.AudioMediaPort):  # type: ignore[misc]
    """A conference port written in Python. Made once, lent to one leg after the other, never destroyed."""

    def __init__(self) -> None:
        super().__init__()
        self.media: LegMedia | None = None

    def onFrameReceived(self, frame: Any) -> None:
        try:
            media = self.media
            if media is not None:
                media.hear(read_frame(frame))
        except Exception as error:
            _log.error("a frame was lost in the leg port", error=type(error).__name__)

    def onFrameRequested(self, frame: Any) -> None:
        try:
            media = self.media
            write_frame(frame, SILENCE if media is None else media.say())
        except Exception as error:
            _log.error("a frame was not given by the leg port", error=type(error).__name__)


SETTLING_TICKS: Final = 100
"""Ticks that do not count as a measurement: a process that has just started is busy with itself."""


class ConferenceClock(pj.AudioMediaPort):  # type: ignore[misc]
    """The first port of the conference: its callback opens every tick, before any leg's.

    Counts ticks, lets recordings finish the tick before, and measures how even the clock runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tick = 0
        self.last_ns = time.monotonic_ns()
        self.recordings: tuple[Any, ...] = ()
        self._gaps: deque[int] = deque(maxlen=500)
        self._settling = SETTLING_TICKS

    def onFrameReceived(self, frame: Any) -> None:
        try:
            now = time.monotonic_ns()
            if self._settling:
                self._settling -= 1
            else:
                self._gaps.append(now - self.last_ns)
            self.last_ns = now
            self.tick += 1
            for recording in self.recordings:
                recording.finish_before(self.tick)
        except Exception as error:
            _log.error("a conference tick failed", error=type(error).__name__)

    def gaps_ms(self) -> tuple[float, float]:
        """The 99th percentile and the greatest of the last 10 s of gaps between ticks, in ms."""
        gaps = sorted(self._gaps)
        if not gaps:
            return 0.0, 0.0
        return gaps[min(len(gaps) - 1, len(gaps) * 99 // 100)] / 1e6, gaps[-1] / 1e6
