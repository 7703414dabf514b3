"""The real `Recogniser`: worker processes beside the media, a bounded queue before them, a deadline on every answer.

Everything here runs in the event loop's thread. Nothing a caller said is in a log line or an exception.
"""

import asyncio
import itertools
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.wire import MAX_LINE_BYTES, Answer, Ready, Unusable, WireError, decode, encode_request
from gateway.adapters.speech.worker import Setup
from gateway.app.tasks import spawn
from gateway.media.g711 import Samples
from gateway.ports.recogniser import (
    Engine,
    Failure,
    NoRecogniser,
    NotRecognised,
    Recognised,
    Recogniser,
    RecogniserUnusable,
    Recognition,
    base_language,
    check_utterance,
)

_log = structlog.get_logger(__name__)

WORKER_ARGV: Final = (sys.executable, "-m", "gateway.adapters.speech.worker")
NICENESS: Final = 10
MOST_WORKERS: Final = 4
"""So many are started where nobody says how many."""
STOP_WITHIN_S: Final = 2.0
BACKOFF_S: Final = (0.1, 0.5, 2.0, 10.0, 30.0)
SOUND_AFTER_S: Final = 60.0


def workers_for(cores: int) -> int:
    """Return how many workers so many cores carry: one is left to the media, and four listen to some 20 answers a
    second, in half a gigabyte each.

    >>> [workers_for(cores) for cores in (1, 2, 8)]
    [1, 1, 4]
    """
    return min(max(1, cores - 1), MOST_WORKERS)


@dataclass(frozen=True, slots=True)
class Sizes:
    """*workers*: processes, 0 for `workers_for` this machine. *waiting*: utterances that may queue. *deadline_s*: from
    the question to the answer. *hung_after_s*: a worker that listens longer to one utterance is replaced.
    *ready_within_s*: how long loading may take."""

    workers: int = 0
    waiting: int = 16
    deadline_s: float = 2.0
    hung_after_s: float = 6.0
    ready_within_s: float = 30.0


_Heard = tuple[Engine, Answer]


@dataclass(slots=True, eq=False)
class _Job:
    """One utterance. *looks*: who heard what in it so far; the future is done when no other look is to come."""

    number: int
    language: str
    samples: bytes = field(repr=False)
    answered: "asyncio.Future[None]" = field(repr=False)
    looks: list[_Heard] = field(default_factory=list, repr=False)

    @property
    def done(self) -> bool:
        return self.answered.done()


@dataclass(slots=True, eq=False)
class _Slot:
    """One place in the pool and the process that fills it at present."""

    index: int
    process: asyncio.subprocess.Process | None = None
    writer: asyncio.StreamWriter | None = None
    engines: tuple[Engine, ...] = ()
    job: _Job | None = None
    guard: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return bool(self.engines) and self.job is None


class RecogniserPool:
    """Listens in processes of its own, each with all models of *choices* loaded.

    A model that cannot be loaded when the pool starts is an error of the configuration; later on, a process that
    crashes, hangs or cannot load is started again for as long as the pool runs.
    """

    def __init__(
        self, choices: Sequence[Choice], sizes: Sizes | None = None, *, argv: Sequence[str] = WORKER_ARGV
    ) -> None:
        self._choices = tuple(choices)
        self._sizes = sizes or Sizes()
        self._argv = tuple(argv)
        self._slots: list[_Slot] = []
        self._queue: deque[_Job] = deque()
        self._doubts: deque[_Job] = deque()
        """Utterances for a second look. Who has not been listened to at all comes first."""
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    # --- what the control process sees --------------------------------------------------------------------

    @property
    def engines(self) -> tuple[Engine, ...]:
        return next((slot.engines for slot in self._slots if slot.engines), ())

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes running now (for health reports and kill tests)."""
        return tuple(slot.process.pid for slot in self._slots if slot.process and slot.process.returncode is None)

    def serves(self, language: str) -> bool:
        return any(base_language(language) in engine.languages for engine in self.engines)

    async def start(self) -> None:
        self._running = True
        count = self._sizes.workers or workers_for(len(os.sched_getaffinity(0)))
        loaded: list[asyncio.Future[None]] = []
        for index in range(count):
            slot, first = _Slot(index), asyncio.get_running_loop().create_future()
            self._slots.append(slot)
            loaded.append(first)
            self._tasks.append(spawn(self._keep(slot, first), name="speech-worker"))
        try:
            async with asyncio.timeout(self._sizes.ready_within_s):
                await asyncio.gather(*loaded)
        except TimeoutError:
            await self.stop()
            raise RecogniserUnusable(
                f"no speech worker was ready within {self._sizes.ready_within_s:g} s: the machine is too busy for it"
            ) from None
        except BaseException:
            await self.stop()
            raise

    async def recognise(self, utterance: Samples, language: str) -> Recognition:
        check_utterance(utterance)
        begun = time.monotonic()
        if not self.engines:
            return NotRecognised(Failure.UNAVAILABLE)
        if not self.serves(language):
            return NotRecognised(Failure.LANGUAGE)
        if len(self._queue) >= self._sizes.waiting:
            return NotRecognised(Failure.FULL)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job = _Job(next(self._numbers), language, utterance.astype("<i2").tobytes(), future)
        self._queue.append(job)
        self._hand_out()
        failure = Failure.UNAVAILABLE
        try:
            async with asyncio.timeout(self._sizes.deadline_s):
                await future
        except TimeoutError:
            failure = Failure.LATE
        finally:
            for waiting in (self._queue, self._doubts):
                with suppress(ValueError):
                    waiting.remove(job)
        elapsed_ms = round((time.monotonic() - begun) * 1000)
        return _recognised(job, elapsed_ms) or NotRecognised(failure, elapsed_ms)

    async def stop(self) -> None:
        self._running = False
        for slot in self._slots:
            if slot.writer is not None:
                slot.writer.close()
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
        for slot in self._slots:
            self._give_up(slot)
        self._drain()
        self._tasks.clear()
        self._slots.clear()

    # --- jobs ---------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for slot in self._slots:
            waiting = self._queue or self._doubts
            if not waiting:
                return
            if not slot.idle or slot.writer is None:
                continue
            job = slot.job = waiting.popleft()
            slot.writer.write(encode_request(job.number, job.language, 1 + len(job.looks), job.samples))
            slot.guard = asyncio.get_running_loop().call_later(self._sizes.hung_after_s, self._hung, slot)

    def _hung(self, slot: _Slot) -> None:
        _log.error("a speech worker hangs and is killed", worker=slot.index)
        if slot.process is not None:
            _kill(slot.process)

    def _take(self, slot: _Slot, answer: Answer) -> None:
        job = slot.job
        if job is None or job.number != answer.job or not 0 <= answer.engine < len(slot.engines):
            raise WireError("an answer to nothing that was asked")
        slot.job = None
        if slot.guard is not None:
            slot.guard.cancel()
        job.looks.append((slot.engines[answer.engine], answer))
        if answer.doubt and len(job.looks) == 1 and not job.done:
            self._doubts.append(job)
        else:
            _settle(job)
        self._hand_out()

    def _give_up(self, slot: _Slot) -> None:
        """Nothing more comes from the process in *slot*."""
        job, slot.job, slot.engines = slot.job, None, ()
        if slot.guard is not None:
            slot.guard.cancel()
        if job is not None:
            _settle(job)
        if not self.engines:
            self._drain()

    def _drain(self) -> None:
        """Nobody is left to listen."""
        for waiting in (self._queue, self._doubts):
            while waiting:
                _settle(waiting.popleft())

    # --- processes ----------------------------------------------------------------------------------------

    async def _keep(self, slot: _Slot, first: "asyncio.Future[None]") -> None:
        """Fill *slot* with a process for as long as the pool runs."""
        failures = 0
        while self._running:
            started = time.monotonic()
            try:
                await self._run_one(slot, first)
            except OSError as error:
                _log.error("a speech worker could not be started", worker=slot.index, error=type(error).__name__)
            if not self._running or not first.done():
                if not first.done():
                    first.set_exception(RecogniserUnusable("a speech worker ended before it was ready"))
                return
            _log.error("a speech worker was lost", worker=slot.index)
            failures = 0 if time.monotonic() - started > SOUND_AFTER_S else failures + 1
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else 0)

    async def _run_one(self, slot: _Slot, first: "asyncio.Future[None]") -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        setup = Setup(theirs.fileno(), os.getpid(), NICENESS, self._choices)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                setup.to_argument(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        slot.process = process
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
            slot.writer = writer
            await self._listen(slot, reader, first)
        finally:
            if writer is not None:
                writer.close()
            slot.writer = None
            _kill(process)
            await process.wait()
            self._give_up(slot)

    async def _listen(self, slot: _Slot, reader: asyncio.StreamReader, first: "asyncio.Future[None]") -> None:
        """Read until the worker is gone, or says something that it should not."""
        while True:
            try:
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    return
                message = decode(line)
                if isinstance(message, Answer):
                    self._take(slot, message)
            except (ConnectionError, ValueError) as error:
                _log.error("a speech worker is not understood", worker=slot.index, error=type(error).__name__)
                return
            if isinstance(message, Unusable):
                if not first.done():
                    first.set_exception(RecogniserUnusable(message.because))
                return
            if isinstance(message, Ready):
                slot.engines = message.engines
                if not first.done():
                    first.set_result(None)
                self._hand_out()


def _settle(job: _Job) -> None:
    if not job.done:
        job.answered.set_result(None)


def _recognised(job: _Job, elapsed_ms: int) -> Recognised | None:
    """Return what was heard, by one engine alone where the second was late or lost; None where nobody heard it."""
    heard = [(engine, answer) for engine, answer in job.looks if answer.hearings is not None]
    if not heard:
        return None
    hearings = tuple(hearing for _, answer in heard for hearing in answer.hearings or ())
    second = heard[1][0] if len(heard) > 1 else None
    return Recognised(heard[0][0], hearings, sum(answer.cpu_ms for _, answer in job.looks), elapsed_ms, second)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill by the process id: `Process.kill` looks for the end itself first, and takes it from asyncio's watcher."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def open_recogniser(choices: Sequence[Choice], sizes: Sizes | None = None) -> Recogniser:
    """Return a recogniser that runs. Where it cannot, speech is off, which is logged with what helps, and callers
    answer by key: that never stops a gateway."""
    if not choices:
        return NoRecogniser()
    pool = RecogniserPool(choices, sizes)
    try:
        await pool.start()
    except RecogniserUnusable as unusable:
        _log.warning("speech is off, callers answer by key", because=str(unusable))
        return NoRecogniser()
    return pool
