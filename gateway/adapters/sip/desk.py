"""The worker's recordings: opened, resumed, shut and forgotten, in the order the control process asked for.

A pause or a close takes effect from the reader's thread, at once. An opening needs the stack thread (it asks the
library what the jitter buffers hold until they have given it up), so a pause can overtake it: that is why each opening
remembers how many shuts had been read before it, and is void when there was one more by the time it is carried out.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.adapters.sip import readings
from gateway.adapters.sip.leg import Leg
from gateway.adapters.sip.legmedia import LEFT, RIGHT, ConferenceClock, Side
from gateway.adapters.sip.recording import CONTROL_LOST, FIRST_OPENING, Recording
from gateway.media.drain import Drain
from gateway.media.gate import FRAME_MS, RecordingGate
from gateway.ports.media import MediaEvent, RecordClose, RecordOpen, RecordPause, RecordResume
from gateway.ports.recording import OpenWriter


@dataclass(slots=True)
class _Draining:
    """A side of an opened recording whose old audio is not out yet."""

    recording: Recording
    opening: int
    side: Side
    leg: Leg
    drain: Drain


class RecordingDesk:
    """*to_stack* has a job run by the stack thread. A jitter buffer delays by *usual_delay_ms*, and never by more than
    *longest_delay_ms*."""

    def __init__(
        self,
        legs: Mapping[str, Leg],
        clock: ConferenceClock,
        open_writer: OpenWriter,
        *,
        tell: Callable[[MediaEvent], None],
        to_stack: Callable[[Callable[[], None]], None],
        usual_delay_ms: int,
        longest_delay_ms: int,
    ) -> None:
        self._legs = legs
        self._clock = clock
        self._open_writer = open_writer
        self._tell = tell
        self._to_stack = to_stack
        self._usual_delay_ms = usual_delay_ms
        self._longest_delay_ms = longest_delay_ms
        self._recordings: dict[str, Recording] = {}
        self._shuts: dict[str, int] = {}
        self._draining: list[_Draining] = []
        self._lock = threading.Lock()
        self._control_lost = False

    def __len__(self) -> int:
        return len(self._recordings)

    def received(self, command: RecordOpen | RecordPause | RecordResume | RecordClose) -> None:
        """Reader thread: carry out a command, or have it carried out."""
        if isinstance(command, RecordPause | RecordClose):
            with self._lock:
                self._shuts[command.recording] = self._shuts.get(command.recording, 0) + 1
                recording = self._recordings.get(command.recording)
            if recording is not None:
                _shut(recording, command)
            else:
                self._to_stack(lambda: self._shut_late(command))
        else:
            shuts = self._shuts.get(command.recording, 0)
            self._to_stack(lambda: self._open_or_resume(command, shuts))

    def lose_control(self) -> None:
        """Any thread: shut every gate, now, and open no other."""
        with self._lock:
            self._control_lost = True
            recordings = list(self._recordings.values())
        for recording in recordings:
            recording.close(CONTROL_LOST)

    def close_all(self, cause: str) -> None:
        for recording in list(self._recordings.values()):
            recording.close(cause)

    def wait_closed(self, within_s: float) -> None:
        """Wait until all recordings are sealed, for at most *within_s* seconds each."""
        for recording in list(self._recordings.values()):
            recording.finished.wait(within_s)

    def leg_ended(self, leg: Leg) -> None:
        """Stack thread: a recording whose two legs are both gone ends by itself."""
        listeners, leg.media.listeners = leg.media.listeners, ()
        for _, listener in listeners:
            if isinstance(listener, Recording) and not any(self._leg_of(listener, side) for side in (LEFT, RIGHT)):
                listener.close("call ended")

    def delay_ms(self, leg: Leg) -> float:
        """Stack thread: how much of the leg's audio waits in its jitter buffer."""
        known = readings.delay_ms(leg)
        return float(self._usual_delay_ms) if known is None else known

    def poll(self) -> None:
        """Stack thread, at every turn: look whether what was sent before an opening is out by now."""
        if self._draining:
            self._draining = [item for item in self._draining if not self._is_drained(item)]

    def _is_drained(self, item: _Draining) -> bool:
        if item.recording.finished.is_set() or item.leg.call is None:
            return True
        now_ns = time.monotonic_ns()  # before the readings: they are never older than it
        if not item.drain.step(now_ns, readings.socket_bytes(item.leg), readings.jitter_buffer(item.leg)):
            return False
        item.recording.drained(item.opening, item.side)
        return True

    def _drain(self, recording: Recording, opening: int, *sides: tuple[Side, Leg | None]) -> None:
        """Let each side be silent until what it has sent so far is out."""
        now_ns = time.monotonic_ns()
        for side, leg in sides:
            if leg is not None:
                self._draining.append(_Draining(recording, opening, side, leg, Drain(now_ns, self._longest_delay_ms)))

    def _open_or_resume(self, command: RecordOpen | RecordResume, shuts_then: int) -> None:
        with self._lock:
            overtaken = self._shuts.get(command.recording, 0) != shuts_then
        if isinstance(command, RecordOpen):
            self._open(command, paused=command.paused or overtaken)
            return
        recording = self._recordings.get(command.recording)
        if recording is not None and not overtaken:
            left, right = self._leg_of(recording, LEFT), self._leg_of(recording, RIGHT)
            self._drain(recording, recording.resume(command.cause), (LEFT, left), (RIGHT, right))

    def _open(self, command: RecordOpen, *, paused: bool) -> None:
        left, right = self._legs.get(command.left), self._legs.get(command.right)
        recording = Recording(
            command.recording,
            command.path,
            RecordingGate(
                look_behind=max(0, command.look_behind_ms) // FRAME_MS,
                fill=command.paused_fill,
                paused=paused,
                cause=command.cause,
                opening=FIRST_OPENING,
            ),
            self._open_writer(command.path, command.recipient),
            emit=self._tell,
            on_closed=lambda closed: self._to_stack(lambda: self._forget(closed)),
        )
        with self._lock:
            if command.recording in self._recordings:
                return
            self._recordings[command.recording] = recording
            orphan = self._control_lost
        if orphan or (left is None and right is None):
            recording.close(CONTROL_LOST if orphan else "call ended")
        for side, leg in ((LEFT, left), (RIGHT, right)):
            if leg is not None:
                leg.media.listeners = (*leg.media.listeners, (side, recording))
        self._clock.recordings = (*self._clock.recordings, recording)
        self._drain(recording, FIRST_OPENING, (LEFT, left), (RIGHT, right))

    def _leg_of(self, recording: Recording, side: Side) -> Leg | None:
        for leg in self._legs.values():
            if any(listener is recording and at == side for at, listener in leg.media.listeners):
                return leg
        return None

    def _shut_late(self, command: RecordPause | RecordClose) -> None:
        """Stack thread: the recording was not open yet when its shut was read; by now it is."""
        recording = self._recordings.get(command.recording)
        if recording is not None:
            _shut(recording, command)

    def _forget(self, recording: Recording) -> None:
        with self._lock:
            self._recordings.pop(recording.id, None)
            self._shuts.pop(recording.id, None)
        self._clock.recordings = tuple(item for item in self._clock.recordings if item is not recording)
        for leg in self._legs.values():
            leg.media.listeners = tuple(item for item in leg.media.listeners if item[1] is not recording)


def _shut(recording: Recording, command: RecordPause | RecordClose) -> None:
    if isinstance(command, RecordPause):
        recording.pause(command.cause)
    else:
        recording.close(command.cause, purge=command.purge)
