"""The recorder's gate: which 20 ms frames of a call reach the recording, decided one tick at a time.

The gate holds four rules, each for every sequence of commands:

* A frame that was fed while the gate was paused never leaves it; what stands in its place is exact silence of
  the same length, or nothing (`fill`).
* A pause reaches back over the frames that still wait in the look-behind.
* Before the first recorded frame leaves, nothing leaves: a recording that never turned on stays empty.
* The spans tell exactly what left: they join, they start at 0 and they end at the number of frames fed.
"""

from collections import deque
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FRAME_SAMPLES: Final = 160
"""Samples of one side in one frame: 20 ms at 8 kHz."""

FRAME_BYTES: Final = FRAME_SAMPLES * 2 * 2
"""Bytes of one stereo frame, int16."""

FRAME_MS: Final = 20

GateState = Literal["on", "paused"]
Fill = Literal["silence", "gap"]
Segment = bytes | int
"""What leaves the gate: interleaved int16 stereo, or a number of frames of digital silence."""

Samples = NDArray[np.int16]

_DRAINING: Final = -1
"""Frames to skip: nobody knows yet."""


class GateSpan(NamedTuple):
    """What the gate did from one frame to another, half open."""

    state: GateState
    from_frame: int
    to_frame: int
    cause: str


class GateObserved(NamedTuple):
    """The gate has handled the first frame of a new state.

    *at_frame* is the first frame of the recording that has the state: for a pause that reached back, the first
    frame it took out of the look-behind.
    """

    state: GateState
    at_frame: int
    cause: str


class GateClosed(RuntimeError):
    """A command or a frame after `close`."""


class _Waiting(NamedTuple):
    state: GateState
    cause: str
    audio: bytes


class RecordingGate:
    """Eats one stereo frame per conference tick (int16, 160 samples a side) and returns what may be written.

    Commands count from the next frame fed. With an *opening*, a number of the caller's choice, each side is silence
    although the gate is on, because its frames were sent before, until `drained` names that opening and side.
    """

    def __init__(
        self,
        *,
        look_behind: int = 0,
        fill: Fill = "silence",
        paused: bool = False,
        cause: str = "",
        opening: int | None = None,
    ) -> None:
        if look_behind < 0:
            raise ValueError("look_behind counts frames, it cannot be negative")
        self._look_behind = look_behind
        self._fill = fill
        self._state: GateState = "paused" if paused else "on"
        self._cause = cause
        self._opening = opening
        self._skip = [0 if opening is None else _DRAINING] * 2
        self._waiting: deque[_Waiting] = deque()
        self._frames = 0
        self._left = 0
        self._withheld = 0
        self._started = False
        self._closed = False
        self._spans: list[GateSpan] = []
        self._observed: list[GateObserved] = []
        self._announce_at: int | None = 0

    @property
    def state(self) -> GateState:
        """The state the next frame will have."""
        return self._state

    @property
    def frames(self) -> int:
        """Frames fed so far, recorded or not."""
        return self._frames

    @property
    def recorded(self) -> bool:
        """Whether any recorded frame has left."""
        return self._started

    @property
    def spans(self) -> tuple[GateSpan, ...]:
        """The spans of all frames that have left; of the whole recording once closed."""
        return tuple(self._spans)

    def pause(self, cause: str) -> None:
        """Shut the gate, also for every frame that still waits in the look-behind. Shut already: nothing."""
        self._refuse_if_closed()
        if self._state == "paused":
            return
        reached_back = 0
        for index in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[index].state == "on":
                self._waiting[index] = _Waiting("paused", cause, b"")
                reached_back = len(self._waiting) - index
        self._turn("paused", cause, self._frames - reached_back)

    def resume(self, cause: str, opening: int | None = None) -> None:
        """Open the gate. Open already: nothing, and the opening before goes on."""
        self._refuse_if_closed()
        if self._state == "on":
            return
        self._opening = opening
        self._skip = [0 if opening is None else _DRAINING] * 2
        self._turn("on", cause, self._frames)

    def drained(self, opening: int, side: int, skip: int = 0) -> None:
        """All that was sent before *opening* is out on *side* after *skip* frames. Not the present opening: nothing."""
        if opening == self._opening and self._skip[side] == _DRAINING:
            self._skip[side] = skip

    def feed(self, left: Samples | None, right: Samples | None) -> list[Segment]:
        """Take one tick's frame of each side (None: that side has none, it is silence) and return what leaves."""
        self._refuse_if_closed()
        audio = self._stereo(left, right) if self._state == "on" else b""
        self._waiting.append(_Waiting(self._state, self._cause, audio))
        if self._announce_at is not None:
            self._observed.append(GateObserved(self._state, self._announce_at, self._cause))
            self._announce_at = None
        self._frames += 1
        leaving: list[Segment] = []
        while len(self._waiting) > self._look_behind:
            self._leave(leaving)
        return leaving

    def close(self) -> list[Segment]:
        """End the recording: everything that still waits leaves as it is. No frame may follow."""
        self._refuse_if_closed()
        self._closed = True
        leaving: list[Segment] = []
        while self._waiting:
            self._leave(leaving)
        return leaving

    def take_observed(self) -> list[GateObserved]:
        """The states observed since the last call of this method, in order."""
        observed, self._observed = self._observed, []
        return observed

    def _turn(self, state: GateState, cause: str, at_frame: int) -> None:
        self._state = state
        self._cause = cause
        self._announce_at = at_frame

    def _stereo(self, left: Samples | None, right: Samples | None) -> bytes:
        frame = np.zeros((FRAME_SAMPLES, 2), np.int16)
        for side, samples in enumerate((left, right)):
            if self._skip[side] == _DRAINING:
                continue
            if self._skip[side] > 0:
                self._skip[side] -= 1
            elif samples is not None:
                frame[:, side] = samples
        return frame.tobytes()

    def _leave(self, leaving: list[Segment]) -> None:
        state, cause, audio = self._waiting.popleft()
        last = self._spans[-1] if self._spans else None
        if last is not None and last.state == state and last.cause == cause:
            self._spans[-1] = last._replace(to_frame=self._left + 1)
        else:
            self._spans.append(GateSpan(state, self._left, self._left + 1, cause))
        self._left += 1
        if state == "on":
            if self._withheld:
                leaving.append(self._withheld)
                self._withheld = 0
            self._started = True
            leaving.append(audio)
        elif self._fill == "silence":
            if self._started:
                leaving.append(1)
            else:
                self._withheld += 1

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise GateClosed("the recording is closed")
