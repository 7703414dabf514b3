"""One recording in the process that carries its media: pairs two legs' frames by tick and drives gate and writer."""

import hashlib
import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import structlog

from gateway.adapters.sip.legmedia import Side
from gateway.media.drain import FRAMES_IN_HAND
from gateway.media.gate import RecordingGate, Samples
from gateway.ports.media import MediaEvent, RecorderClosed, RecorderObserved, Span
from gateway.ports.recording import RecordingWriter, Sealed

_log = structlog.get_logger(__name__)

SIDECAR_SUFFIX: Final = ".closed.json"
CONTROL_LOST: Final = "control lost"
FIRST_OPENING: Final = 0
"""The number of the opening a recording begins with; its gate must have been made with it."""

Kind = Literal["pause", "resume", "drained", "close"]


class _Command(NamedTuple):
    """What the media thread is to do before the next frame."""

    kind: Kind
    cause: str = ""
    purge: bool = False
    at_ns: int = 0
    opening: int = 0
    side: Side = 0


class Recording:
    """Commands may come from any thread; frames come from the media thread, which alone touches the gate."""

    def __init__(
        self,
        recording: str,
        path: str,
        gate: RecordingGate,
        writer: RecordingWriter,
        *,
        emit: Callable[[MediaEvent], None],
        on_closed: Callable[["Recording"], None],
    ) -> None:
        self.id = recording
        self._path = path
        self._gate = gate
        self._writer = writer
        self._emit = emit
        self._on_closed = on_closed
        self._commands: deque[_Command] = deque()
        self._openings = itertools.count(FIRST_OPENING + 1)
        self._asked_ns = time.monotonic_ns()
        self._tick = -1
        self._pair: list[tuple[int, Samples | None]] = [(-1, None), (-1, None)]
        self._closing = False
        self._sidecar = False
        self.finished = threading.Event()

    def pause(self, cause: str) -> None:
        self._commands.append(_Command("pause", cause, at_ns=time.monotonic_ns()))

    def resume(self, cause: str) -> int:
        """Open the gate again. Returns the number of this opening: the sides stay silent until they are `drained`."""
        opening = next(self._openings)
        self._commands.append(_Command("resume", cause, at_ns=time.monotonic_ns(), opening=opening))
        return opening

    def drained(self, opening: int, side: Side) -> None:
        """What *side* had sent before *opening* is out."""
        self._commands.append(_Command("drained", opening=opening, side=side))

    def close(self, cause: str, *, purge: bool = False) -> None:
        if cause == CONTROL_LOST:
            self._sidecar = True
        self._commands.append(_Command("close", cause, purge, time.monotonic_ns()))

    def arrived(self, side: Side, tick: int, samples: Samples | None) -> None:
        """Media thread: one side's frame of *tick*. The gate is fed when both are there."""
        self._pair[side] = (tick, samples)
        if self._pair[1 - side][0] == tick:
            self._feed(tick)

    def finish_before(self, tick: int) -> None:
        """Media thread, at the start of *tick*: the tick before it ends here; a side that gave nothing is silent."""
        if self._tick < 0:
            self._tick = tick - 1
        while self._tick < tick - 1 and not self._closing:
            self._feed(self._tick + 1)
        if not self._closing:
            self._obey()

    def _feed(self, tick: int) -> None:
        if self._closing or tick <= self._tick or self._tick < 0:
            return
        self._obey()
        if self._closing:
            return
        self._tick = tick
        left, right = (samples if at == tick else None for at, samples in self._pair)
        self._write(self._gate.feed(left, right))
        for state, at_frame, cause in self._gate.take_observed():
            self._emit(RecorderObserved(time.monotonic_ns(), self.id, state, at_frame, cause, self._asked_ns))
        if self._writer.failed:
            self._end(purge=False)

    def _obey(self) -> None:
        while self._commands and not self._closing:
            command = self._commands.popleft()
            if command.kind == "drained":
                self._gate.drained(command.opening, command.side, FRAMES_IN_HAND)
                continue
            self._asked_ns = command.at_ns
            if command.kind == "pause":
                self._gate.pause(command.cause)
            elif command.kind == "resume":
                self._gate.resume(command.cause, command.opening)
            else:
                self._end(purge=command.purge)

    def _end(self, *, purge: bool) -> None:
        self._closing = True
        self._write(self._gate.close())
        self._writer.seal(self._sealed, purge=purge)

    def _write(self, leaving: list[bytes | int]) -> None:
        for segment in leaving:
            if isinstance(segment, int):
                self._writer.silence(segment)
            else:
                self._writer.write(segment)

    def _sealed(self, sealed: Sealed) -> None:
        spans = tuple(Span(*span) for span in self._gate.spans)
        closed = RecorderClosed(
            time.monotonic_ns(),
            self.id,
            sealed.sha256,
            sealed.size,
            self._gate.frames,
            spans,
            sealed.failed,
            self._asked_ns,
            sealed.purged,
        )
        if self._sidecar and sealed.sha256:
            try:
                write_sidecar(self._path, closed, CONTROL_LOST)
            except OSError as error:
                _log.error("the sidecar of a sealed recording could not be written", error=type(error).__name__)
        self._emit(closed)
        self.finished.set()
        self._on_closed(self)


def write_sidecar(path: str, closed: RecorderClosed, cause: str) -> None:
    """Leave beside a sealed recording what the lost control process should have heard. Durable when it returns.

    `<path>.closed.json`: recording, sha256, size, frames, spans, failed, cause. Raises `OSError`.
    """
    fields: dict[str, Any] = asdict(closed)
    del fields["mono_ns"], fields["asked_ns"]
    body = json.dumps({**fields, "cause": cause}, separators=(",", ":")).encode() + b"\n"
    target = Path(path + SIDECAR_SUFFIX)
    temporary = target.with_name(f".{target.name}.{hashlib.sha256(body).hexdigest()[:8]}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
