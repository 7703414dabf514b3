"""The job that anchors: tries again a few times, never twice what succeeded, and says when it is late."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from gateway.api.app import HealthBody
from gateway.app.anchoring import Anchoring, anchor_head
from gateway.evidence.errors import TimestampInvalid
from gateway.ports.anchors import AnchorUnavailable, Head, Kept
from gateway.ports.evidence import EvidenceUnavailable, ForkDetected
from tests.support.heads import head_of, leaves_of

_S = 1_000_000_000


@dataclass
class Clock:
    """A clock that a test moves."""

    now_ns: int = 500 * _S

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Log:
    """A log whose head a test moves."""

    size: int = 5
    broken: bool = False

    def read(self) -> Head:
        if self.broken:
            raise EvidenceUnavailable("log.head: gone")
        return head_of(leaves_of(self.size))


@dataclass
class FakeAnchor:
    """Fails as often as it is told to, then keeps."""

    name: str = "tsa"
    failures: list[Exception] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    hang: threading.Event | None = None

    def keep(self, head: Head) -> Kept:
        if self.hang is not None:
            self.hang.wait(20)
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append(head.checkpoint.size)
        return Kept("kept", ".tsr", b"")


@dataclass
class Shelf:
    """Remembers."""

    puts: list[tuple[int, str]] = field(default_factory=list)
    since: float | None = None
    full: bool = False

    def has(self, head: Head, name: str) -> bool:
        return (head.checkpoint.size, name) in self.puts

    def put(self, head: Head, name: str, kept: Kept) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "5.tsa.tsr")
        self.puts.append((head.checkpoint.size, name))

    def seconds_since(self) -> float | None:
        return self.since


def job(
    log: Log, anchors: list[FakeAnchor], shelf: Shelf, clock: Clock, **more: float | tuple[float, ...]
) -> Anchoring:
    settings = {"every_s": 0.02, "stale_s": 60.0, "retries_s": (0.01, 0.01), **more}
    return Anchoring(log, anchors, shelf, clock, **settings)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


async def test_a_head_is_anchored_when_it_has_moved_and_only_then() -> None:
    log, anchor, shelf = Log(), FakeAnchor(), Shelf()
    anchoring = job(log, [anchor], shelf, Clock())
    anchoring.start()
    await until(lambda: anchor.kept)
    await asyncio.sleep(0.1)
    assert anchor.kept == [5], "the same head is not stamped again"
    log.size = 9
    await until(lambda: anchor.kept == [5, 9])
    await anchoring.stop()
    log.size = 12
    await asyncio.sleep(0.1)
    assert anchor.kept == [5, 9] and shelf.puts == [(5, "tsa"), (9, "tsa")]


async def test_one_anchor_that_fails_keeps_no_other_from_it_and_is_tried_again_alone() -> None:
    bad, good = FakeAnchor("bad", [AnchorUnavailable("no answer"), AnchorUnavailable("no answer")]), FakeAnchor("good")
    anchoring = job(Log(), [bad, good], Shelf(), Clock())
    anchoring.start()
    await until(lambda: bad.kept)
    await anchoring.stop()
    assert good.kept == [5] and anchoring.degraded() == []


async def test_retries_have_an_end() -> None:
    anchor = FakeAnchor(failures=[AnchorUnavailable("no answer")] * 100)
    anchoring = job(Log(), [anchor], Shelf(), Clock(), every_s=3_600.0)
    anchoring.start()
    await until(lambda: len(anchor.failures) <= 97)
    await asyncio.sleep(0.2)
    await anchoring.stop()
    assert len(anchor.failures) == 97


@pytest.mark.parametrize("refusal", [ForkDetected("another history"), TimestampInvalid("another nonce")])
async def test_a_fork_or_a_lie_is_told_at_once_and_not_tried_again_at_once(refusal: Exception) -> None:
    anchor = FakeAnchor(failures=[refusal] * 5)
    anchoring = job(Log(), [anchor], Shelf(), Clock(), every_s=3_600.0)
    anchoring.start()
    await until(anchoring.degraded)
    await asyncio.sleep(0.1)
    await anchoring.stop()
    assert len(anchor.failures) == 4
    assert anchoring.degraded() == [f"anchor tsa: {refusal}"]


async def test_a_stale_anchor_is_told_with_its_reason() -> None:
    clock, anchor = Clock(), FakeAnchor(failures=[AnchorUnavailable("no answer within 15 s")] * 9)
    anchoring = job(Log(), [anchor], Shelf(), clock, every_s=3_600.0)
    anchoring.start()
    await until(lambda: len(anchor.failures) == 6)
    await asyncio.sleep(0.05)
    assert anchoring.degraded() == [] and anchoring.age_s() == 0
    clock.now_ns += 61 * _S
    assert anchoring.degraded() == ["the log's head has not been anchored yet: tsa: no answer within 15 s"]
    assert anchoring.age_s() == 61
    await anchoring.stop()


async def test_the_age_counts_from_before_a_restart_and_starts_anew_with_success() -> None:
    clock, anchor, hang = Clock(), FakeAnchor(), threading.Event()
    anchor.hang = hang
    anchoring = job(Log(), [anchor], Shelf(since=7_200.0), clock, every_s=3_600.0)
    anchoring.start()
    await until(lambda: anchoring.age_s() == 7_200)
    assert anchoring.degraded() == ["the log's head has not been anchored for 120 minutes"]
    hang.set()
    await until(lambda: anchoring.age_s() == 0)
    assert anchoring.degraded() == []
    clock.now_ns += 30 * _S
    assert anchoring.age_s() == 30
    await anchoring.stop()


async def test_a_head_that_does_not_move_does_not_grow_stale() -> None:
    clock = Clock()
    anchoring = job(Log(), [FakeAnchor()], Shelf(), clock)
    anchoring.start()
    await until(lambda: anchoring.age_s() == 0)
    clock.now_ns += 3_600 * _S
    await until(lambda: anchoring.age_s() == 0)
    await anchoring.stop()


async def test_a_head_that_cannot_be_read_is_told() -> None:
    clock = Clock()
    anchoring = job(Log(broken=True), [FakeAnchor()], Shelf(), clock, every_s=3_600.0)
    anchoring.start()
    await asyncio.sleep(0.1)
    clock.now_ns += 61 * _S
    assert anchoring.degraded() == ["the log's head has not been anchored yet: the log's head: log.head: gone"]
    await anchoring.stop()


async def test_stopping_waits_for_nobody() -> None:
    anchor, hang = FakeAnchor(), threading.Event()
    anchor.hang = hang
    anchoring = job(Log(), [anchor], Shelf(), Clock())
    anchoring.start()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.5):
        await anchoring.stop()
    hang.set()


def test_an_answer_that_cannot_be_kept_is_a_failure() -> None:
    (outcome,) = anchor_head(Log().read(), [FakeAnchor()], Shelf(full=True))
    assert outcome.failed == "unavailable" and "5.tsa.tsr: No space left on device" in outcome.words


def test_degraded_is_no_part_of_ready() -> None:
    body = HealthBody(ready=True, calls=0, capacity=4, because=[], degraded=["old"])
    assert body.ready and body.model_dump()["degraded"] == ["old"]
