"""The pool of media workers: starts, watches, replaces and addresses them. Lives in the control process's loop.

It is the real `MediaServer`. Which worker a call lands on is chosen here (`choose_worker`) and carried out by the
SIP front; everything after that goes straight between the far end and the worker.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from gateway.adapters.sip.protocol import (
    MAX_CALL_ID,
    Health,
    Internal,
    Lingering,
    Ping,
    Pong,
    Ready,
    Shutdown,
    WorkerConfig,
    decode_any,
    encode_internal,
)
from gateway.app.tasks import spawn
from gateway.ports.media import (
    MAX_LINE_BYTES,
    Dial,
    Incoming,
    LegEnded,
    MediaCommand,
    MediaEvent,
    ProtocolError,
    RecordClose,
    RecorderClosed,
    RecordOpen,
    RecordPause,
    RecordResume,
    WorkerLost,
    encode,
)

_log = structlog.get_logger(__name__)

PING_EVERY_S: Final = 0.5
WEDGED_AFTER_S: Final = 2.0
READY_WITHIN_S: Final = 20.0
STOP_WITHIN_S: Final = 5.0
RESERVED_S: Final = 5.0
CALLS_A_SECOND: Final = 10
"""New calls a worker is given within a second. The wheel's socket table has 64 places, a call takes four of them and
keeps them for half a second after its end; the library aborts the process when there is none left."""

FULL_GAP_MS: Final = 25.0
"""A worker whose 99th percentile of the gap between conference ticks is over this gets no further call."""

BACKOFF_S: Final = (0.1, 0.3, 1.0, 2.0, 5.0)
SOUND_AFTER_S: Final = 30.0
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024


class WorkerStartFailed(RuntimeError):
    """No worker came up."""


@dataclass(slots=True)
class _Slot:
    """One place in the pool and the process that fills it at present."""

    index: int
    process: asyncio.subprocess.Process | None = None
    writer: asyncio.StreamWriter | None = None
    ready: Ready | None = None
    health: Health | None = None
    last_pong: float = 0.0
    legs: set[str] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)
    dialled: dict[str, str] = field(default_factory=dict)
    """A dialled leg and the caller it is for."""
    lingering: int = 0
    """SIP dialogs that have ended for us and not yet for its library."""
    recordings: set[str] = field(default_factory=set)
    reserved: dict[str, float] = field(default_factory=dict)
    """SIP Call-IDs of calls that were sent here and have not arrived, and how long each is waited for."""

    begun: list[float] = field(default_factory=list)
    """When the calls of the last second were sent here."""

    @property
    def pairs(self) -> int:
        """Calls it can carry: a caller's leg and an agent's leg each."""
        return self.ready.max_calls // 2 if self.ready else 0

    def free(self, now: float) -> int:
        self.reserved = {call: until for call, until in self.reserved.items() if until > now}
        if self.callers and self.health is not None and self.health.gap_p99_ms > FULL_GAP_MS:
            return 0
        self.begun = [at for at in self.begun if at > now - 1.0]
        if len(self.begun) >= max(CALLS_A_SECOND, 5 * self.pairs):
            return 0
        dialogs = self.ready.max_calls if self.ready else 0
        # The worker counts in the same way: an agent's leg that is still hanging up holds half a call's room.
        strays = sum(1 for caller in self.dialled.values() if caller not in self.callers)
        taken = 2 * len(self.callers) + strays + self.lingering
        return max(0, (dialogs - taken) // 2 - len(self.reserved))


class SipWorkerPool:
    """A `MediaServer` of as many worker processes as *calls* simultaneous calls take.

    *argv* starts one worker (its entry calls `run_worker(WorkerConfig.from_environment(), ...)`). *template* sets
    it up; `control_fd` and `index` are filled in per worker. *address* is the one address that callers dial.
    *on_address_lost* is told the SIP address of a worker that is gone.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        calls: int,
        address: str,
        template: WorkerConfig | None = None,
        environment: Mapping[str, str] | None = None,
        ready_within_s: float = READY_WITHIN_S,
        on_address_lost: Callable[[tuple[str, int]], None] = lambda address: None,
    ) -> None:
        if calls < 1:
            raise ValueError("a pool carries at least one call")
        self._argv = tuple(argv)
        self._calls = calls
        self._ready_within_s = ready_within_s
        self._address = address
        self._on_address_lost = on_address_lost
        self._template = template or WorkerConfig(control_fd=-1)
        self._environment = dict(environment if environment is not None else os.environ)
        self._on_event: Callable[[MediaEvent], None] | None = None
        self._slots: list[_Slot] = []
        self._leg_slot: dict[str, _Slot] = {}
        self._recording_slot: dict[str, _Slot] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    # --- what the control process sees --------------------------------------------------------------------

    @property
    def address(self) -> str:
        return self._address

    @property
    def max_calls(self) -> int:
        return sum(slot.pairs for slot in self._slots)

    @property
    def free_calls(self) -> int:
        """Calls that could be taken now."""
        now = time.monotonic()
        return sum(slot.free(now) for slot in self._slots)

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes running now (for health reports and kill tests)."""
        return tuple(slot.process.pid for slot in self._slots if slot.process and slot.process.returncode is None)

    @property
    def worst_gap_ms(self) -> float:
        """The worst worker's 99th percentile gap between conference ticks: 20 is perfect, over 25 is overload."""
        return max((slot.health.gap_p99_ms for slot in self._slots if slot.health), default=0.0)

    def choose_worker(self, sip_call_id: str) -> tuple[str, int] | None:
        """The SIP address of a worker with room for that call, which is kept for it for 5 s; None: all full."""
        now = time.monotonic()
        free = [(slot.free(now), -slot.index, slot) for slot in self._slots]
        room, _, best = max(free, default=(0, 0, None), key=lambda item: item[:2])
        if room < 1 or best is None or best.ready is None:
            return None
        best.begun.append(now)
        best.reserved[sip_call_id[:MAX_CALL_ID]] = now + RESERVED_S
        return best.ready.host, best.ready.port

    def release(self, sip_call_id: str) -> None:
        """The worker that was chosen for a call has refused it by itself: its room is free again."""
        for slot in self._slots:
            slot.reserved.pop(sip_call_id[:MAX_CALL_ID], None)

    async def start(self, on_event: Callable[[MediaEvent], None]) -> None:
        """Start one worker, learn from it what the library can do, and start as many more as the calls take.

        Raises `WorkerStartFailed`.
        """
        self._on_event = on_event
        self._stopping = False
        await self._add_slots(1)
        pairs = max(1, self._slots[0].pairs)
        await self._add_slots(-(-self._calls // pairs) - 1)
        self._tasks.append(spawn(self._watch(), name="sip-worker-heartbeat"))

    async def stop(self) -> None:
        self._stopping = True
        for slot in self._slots:
            self._write(slot, encode_internal(Shutdown()))
        running = [slot.process for slot in self._slots if slot.process is not None]
        if running:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await asyncio.gather(*(process.wait() for process in running))
        for process in running:
            _kill(process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._slots.clear()
        self._leg_slot.clear()
        self._recording_slot.clear()

    def send(self, command: MediaCommand) -> None:
        slot = self._route(command)
        if slot is None:
            self._answer_lost(command)
            return
        if isinstance(command, Dial):
            self._own_leg(slot, command.leg)
            slot.dialled[command.leg] = command.beside
        elif isinstance(command, RecordOpen):
            slot.recordings.add(command.recording)
            self._recording_slot[command.recording] = slot
        self._write(slot, encode(command))

    # --- routing ------------------------------------------------------------------------------------------

    def _route(self, command: MediaCommand) -> _Slot | None:
        if isinstance(command, RecordOpen):
            return self._leg_slot.get(command.left) or self._leg_slot.get(command.right)
        if isinstance(command, RecordPause | RecordResume | RecordClose):
            return self._recording_slot.get(command.recording)
        names = ("beside",) if isinstance(command, Dial) else ("leg", "a")
        for name in names:
            leg = getattr(command, name, None)
            if leg is not None:
                return self._leg_slot.get(leg)
        return None

    def _answer_lost(self, command: MediaCommand) -> None:
        """A dial or a recording for a call that is gone never starts: its owner must hear that from somebody."""
        loop = asyncio.get_running_loop()
        now = time.monotonic_ns()
        if isinstance(command, Dial):
            loop.call_soon(self._report, LegEnded(now, command.leg, 487, "local"))
        elif isinstance(command, RecordOpen):
            loop.call_soon(self._report, RecorderClosed(now, command.recording, "", 0, 0, ()))

    def _own_leg(self, slot: _Slot, leg: str) -> None:
        slot.legs.add(leg)
        self._leg_slot[leg] = slot

    def _report(self, event: MediaEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            _log.error("an event could not be handled", error=type(error).__name__, kind=type(event).__name__)

    def _received(self, slot: _Slot, message: MediaCommand | MediaEvent | Internal) -> None:
        if isinstance(message, Pong):
            slot.last_pong = time.monotonic()
        elif isinstance(message, Health):
            slot.health = message
        elif isinstance(message, Lingering):
            slot.lingering = message.slots
        elif isinstance(message, Incoming):
            slot.reserved.pop(message.sip_call_id, None)
            slot.callers.add(message.leg)
            self._own_leg(slot, message.leg)
            self._report(message)
        elif isinstance(message, LegEnded):
            slot.legs.discard(message.leg)
            slot.callers.discard(message.leg)
            slot.dialled.pop(message.leg, None)
            self._leg_slot.pop(message.leg, None)
            self._report(message)
        elif isinstance(message, RecorderClosed):
            slot.recordings.discard(message.recording)
            self._recording_slot.pop(message.recording, None)
            self._report(message)
        elif isinstance(message, MediaEvent):
            self._report(message)

    def _write(self, slot: _Slot, line: bytes) -> None:
        writer = slot.writer
        if writer is None or writer.is_closing():
            return
        writer.write(line)
        if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES and slot.process is not None:
            _log.error("a media worker does not read its commands and is killed", worker=slot.index)
            _kill(slot.process)

    # --- processes ----------------------------------------------------------------------------------------

    async def _add_slots(self, count: int) -> None:
        waiting: list[asyncio.Future[None]] = []
        for _ in range(max(0, count)):
            slot = _Slot(len(self._slots))
            self._slots.append(slot)
            first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(first)
            self._tasks.append(spawn(self._keep(slot, first), name="sip-worker"))
        try:
            async with asyncio.timeout(self._ready_within_s):
                await asyncio.gather(*waiting)
        except TimeoutError:
            await self.stop()
            raise WorkerStartFailed("no media worker came up in time") from None

    async def _keep(self, slot: _Slot, first: "asyncio.Future[None]") -> None:
        """Fill *slot* with a process for as long as the pool runs."""
        failures = 0
        while not self._stopping:
            started = time.monotonic()
            try:
                await self._run_one(slot, first)
            except OSError as error:
                _log.error("a media worker could not be started", worker=slot.index, error=type(error).__name__)
            if self._stopping:
                return
            failures = 0 if time.monotonic() - started > SOUND_AFTER_S else failures + 1
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else 0)

    async def _run_one(self, slot: _Slot, first: "asyncio.Future[None]") -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        config = replace(self._template, control_fd=theirs.fileno(), index=slot.index, public_address=self._address)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # an orphan must not hold open what waits for our end
                pass_fds=(theirs.fileno(),),
                env={**self._environment, **config.to_environment()},
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=2 * MAX_LINE_BYTES)
        slot.process, slot.writer, slot.last_pong = process, writer, time.monotonic() + self._ready_within_s
        try:
            await self._listen(slot, reader, first)
        finally:
            writer.close()
            slot.writer = None
            if not self._stopping:
                _kill(process)
            await process.wait()
            self._lost(slot)

    async def _listen(self, slot: _Slot, reader: asyncio.StreamReader, first: "asyncio.Future[None]") -> None:
        """Read until the worker is gone."""
        while True:
            try:
                line = await reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            try:
                message = decode_any(line)
            except ProtocolError:
                _log.error("a line from a media worker is not of the protocol", worker=slot.index)
                continue
            if isinstance(message, Ready):
                slot.ready, slot.last_pong = message, time.monotonic()
                if not first.done():
                    first.set_result(None)
            else:
                self._received(slot, message)

    def _lost(self, slot: _Slot) -> None:
        legs, recordings = tuple(sorted(slot.legs)), tuple(sorted(slot.recordings))
        for leg in legs:
            self._leg_slot.pop(leg, None)
        for recording in recordings:
            self._recording_slot.pop(recording, None)
        for kept in (slot.legs, slot.callers, slot.recordings, slot.dialled, slot.reserved, slot.begun):
            kept.clear()
        if slot.ready is not None:
            self._on_address_lost((slot.ready.host, slot.ready.port))
        slot.ready = slot.health = None
        slot.lingering = 0
        if not self._stopping:
            _log.error("a media worker was lost", worker=slot.index, legs=len(legs), recordings=len(recordings))
        if legs or recordings or not self._stopping:
            self._report(WorkerLost(time.monotonic_ns(), legs, recordings))

    async def _watch(self) -> None:
        """Ping every worker; one that does not answer while this loop itself is on time is wedged."""
        number = 0
        asked = time.monotonic()
        for slot in self._slots:
            slot.last_pong = max(slot.last_pong, asked)
        while True:
            await asyncio.sleep(PING_EVERY_S)
            now = time.monotonic()
            late = now - asked > 2 * PING_EVERY_S
            asked = now
            number += 1
            for slot in self._slots:
                process = slot.process
                if process is None or process.returncode is not None:
                    continue
                if late:
                    slot.last_pong = max(slot.last_pong, now)
                elif now - slot.last_pong > WEDGED_AFTER_S:
                    _log.error("a media worker is wedged and is killed", worker=slot.index)
                    _kill(process)
                self._write(slot, encode_internal(Ping(number)))


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
