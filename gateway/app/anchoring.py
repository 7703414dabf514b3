"""The log's head leaves the machine: every so often, when it has moved, and never in a call's way."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from gateway.app.tasks import spawn
from gateway.evidence.errors import EvidenceInvalid
from gateway.ports.anchors import Anchor, AnchorUnavailable, Head, Heads, Shelf
from gateway.ports.clock import Clock
from gateway.ports.evidence import EvidenceUnavailable, ForkDetected

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

RETRIES_S = (5.0, 30.0)
"""After a failure it is tried again so much later, and then not before the next turn."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a head at one anchor. *failed*: "" (kept), "unavailable", or "refused" (a fork or a lie)."""

    anchor: str
    words: str
    failed: str = ""


def anchor_head(head: Head, anchors: Sequence[Anchor], shelf: Shelf) -> list[Outcome]:
    """Have every anchor keep *head*, and keep what they answer. One that fails keeps nobody else from it. Blocks."""
    return [_anchor(head, anchor, shelf) for anchor in anchors]


def _anchor(head: Head, anchor: Anchor, shelf: Shelf) -> Outcome:
    try:
        if shelf.has(head, anchor.name):
            return Outcome(anchor.name, "has this head already")
        kept = anchor.keep(head)
        shelf.put(head, anchor.name, kept)
    except (ForkDetected, EvidenceInvalid) as error:
        return Outcome(anchor.name, str(error), "refused")
    except (AnchorUnavailable, EvidenceUnavailable) as error:
        return Outcome(anchor.name, str(error), "unavailable")
    except OSError as error:
        return Outcome(anchor.name, f"its answer cannot be kept: {error.filename}: {error.strerror}", "unavailable")
    return Outcome(anchor.name, kept.words)


class Anchoring:
    """Anchors the head every *every_s* seconds; knows how old the last anchor is."""

    def __init__(
        self,
        heads: Heads,
        anchors: Sequence[Anchor],
        shelf: Shelf,
        clock: Clock,
        *,
        every_s: float,
        stale_s: float,
        retries_s: Sequence[float] = RETRIES_S,
    ) -> None:
        self._heads, self._anchors, self._shelf, self._clock = heads, anchors, shelf, clock
        self._every_s, self._stale_s, self._retries_s = every_s, stale_s, retries_s
        self._ever = False
        self._fresh_ns = clock.monotonic_ns()
        self._failures: Sequence[Outcome] = ()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Anchor now and then, until `stop`."""
        self._task = spawn(self._run(), name="anchor the log's head")

    async def stop(self) -> None:
        """Stop at once; an anchor that is being asked is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await self._recall()
        never = asyncio.Event()
        while True:
            await self._turn()
            await _wait(never, self._every_s)

    async def _recall(self) -> None:
        with suppress(OSError):
            since = await _aside(self._shelf.seconds_since)
            if since is not None:
                self._ever = True
                self._fresh_ns -= int(since * _NS)

    async def _turn(self) -> None:
        """Try, and after a failure again a few times: what has this head already is not asked twice."""
        never = asyncio.Event()
        for pause in (*self._retries_s, None):
            self._failures = [outcome for outcome in await _aside(self._once) if outcome.failed]
            if not self._failures:
                self._ever, self._fresh_ns = True, self._clock.monotonic_ns()
                return
            for outcome in self._failures:
                _log.error("head not anchored", anchor=outcome.anchor, reason=outcome.words)
            if pause is None or all(outcome.failed == "refused" for outcome in self._failures):
                return
            await _wait(never, min(pause, self._every_s))

    def _once(self) -> list[Outcome]:
        try:
            return anchor_head(self._heads.read(), self._anchors, self._shelf)
        except EvidenceUnavailable as error:
            return [Outcome("the log's head", str(error), "unavailable")]

    def age_s(self) -> float:
        """Return how long ago all anchors had the log's head; since the start, if they are not known to have had it."""
        return max(0.0, (self._clock.monotonic_ns() - self._fresh_ns) / _NS)

    def degraded(self) -> list[str]:
        """Say what is not as it should be, in words; empty when nothing is. Calls are taken all the same."""
        refused = [item for item in self._failures if item.failed == "refused"]
        age = self.age_s()
        if age <= self._stale_s:
            return [f"anchor {item.anchor}: {item.words}" for item in refused]
        since = f"for {int(age // 60)} minutes" if self._ever else "yet"
        because = "; ".join(f"{item.anchor}: {item.words}" for item in self._failures)
        return [f"the log's head has not been anchored {since}{': ' if because else ''}{because}"]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _aside(work: Callable[[], _T]) -> _T:
    """Run blocking *work* in a thread that nobody waits for when the gateway stops: it may hang on a network."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(outcome: _T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(outcome)  # type: ignore[arg-type]

    def run() -> None:
        outcome, error = None, None
        try:
            outcome = work()
        except Exception as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, outcome, error)

    threading.Thread(target=run, name="anchoring", daemon=True).start()
    return await done
