"""The pool around its workers: whatever a process does, a caller has an answer in time, and nobody's words leak."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.pool import RecogniserPool, Sizes, open_recogniser, workers_for
from gateway.app.tasks import spawn
from gateway.ports.recogniser import (
    Failure,
    NoRecogniser,
    NotRecognised,
    Recognised,
    RecogniserUnusable,
    Recognition,
)
from tests.support.spoken import ARGV, SECRET, Act, utterance

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """Whatever happens, no word that was said is in a log."""
    with capture_logs() as logs:
        yield logs
    assert SECRET not in repr(logs)


@asynccontextmanager
async def pool(*, part: str = "any", **sizes: float) -> AsyncIterator[RecogniserPool]:
    opened = RecogniserPool([Choice(part)], Sizes(**{"workers": 1, **sizes}), argv=ARGV)  # type: ignore[arg-type]
    await opened.start()
    try:
        yield opened
    finally:
        pids = opened.worker_pids
        await opened.stop()
        assert not any(runs(pid) for pid in pids)


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only its zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ask(opened: RecogniserPool, act: Act) -> Failure | None:
    """Return why there was no answer."""
    recognition = await opened.recognise(utterance(act), "en")
    return recognition.failure if isinstance(recognition, NotRecognised) else None


@pytest.mark.parametrize("act", [Act.CRASH, Act.RUBBISH, Act.OTHER_JOB, Act.NO_SUCH_ENGINE])
async def test_a_worker_that_breaks_costs_one_answer_and_is_replaced(act: Act, logged: list[EventDict]) -> None:
    async with pool() as opened:
        before = opened.worker_pids
        assert await ask(opened, act) is Failure.UNAVAILABLE
        await until(lambda: bool(opened.engines) and opened.worker_pids != before)
        assert await ask(opened, Act.ANSWER) is None
    assert "a speech worker was lost" in [entry["event"] for entry in logged]


async def test_a_second_look_says_whose_it_is() -> None:
    async with pool(part="two") as opened:
        first, second = opened.engines
        recognition = await opened.recognise(utterance(Act.SECOND_LOOK), "en")
        assert isinstance(recognition, Recognised) and len(recognition.hearings) == 2
        assert (recognition.engine, recognition.second) == (first, second)
        assert recognition.cpu_ms == 2
        recognition = await opened.recognise(utterance(Act.ANSWER), "en")
        assert isinstance(recognition, Recognised) and recognition.second is None


@pytest.mark.parametrize("act", [Act.SECOND_HANGS, Act.SECOND_CRASHES, Act.SECOND_FAILS])
async def test_where_the_second_look_is_late_or_lost_the_first_counts_alone(act: Act) -> None:
    async with pool(part="two", deadline_s=0.6, hung_after_s=5) as opened:
        recognition = await opened.recognise(utterance(act), "en")
        assert isinstance(recognition, Recognised)
        assert recognition.second is None and len(recognition.hearings) == 1


async def test_who_was_not_listened_to_comes_before_a_second_look() -> None:
    async with pool(part="two") as opened:
        order: list[Act] = []

        async def asks(act: Act) -> None:
            await opened.recognise(utterance(act), "en")
            order.append(act)

        acts = (Act.SECOND_LOOK, Act.ANSWER, Act.SLOW)
        await asyncio.gather(*(asks(act) for act in acts))
        assert order == [Act.ANSWER, Act.SLOW, Act.SECOND_LOOK]


async def test_a_second_look_is_not_taken_for_somebody_who_has_gone() -> None:
    async with pool(part="two") as opened:
        asked = spawn(opened.recognise(utterance(Act.SECOND_LOOK), "en"), name="asks")
        slow = spawn(opened.recognise(utterance(Act.SLOW), "en"), name="asks")
        await asyncio.sleep(0.1)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        assert isinstance(await slow, Recognised)
        assert await ask(opened, Act.ANSWER) is None


async def test_a_worker_that_hangs_is_late_and_replaced() -> None:
    async with pool(deadline_s=0.2, hung_after_s=0.4) as opened:
        [before] = opened.worker_pids
        assert await ask(opened, Act.HANG) is Failure.LATE
        await until(lambda: not runs(before))
        await until(lambda: bool(opened.engines) and before not in opened.worker_pids)
        assert await ask(opened, Act.ANSWER) is None


async def test_who_waits_behind_a_worker_that_is_lost_is_not_kept_waiting() -> None:
    async with pool(deadline_s=30, hung_after_s=0.3) as opened:
        given = await asyncio.gather(ask(opened, Act.HANG), ask(opened, Act.ANSWER))
        assert given == [Failure.UNAVAILABLE] * 2
        assert await ask(opened, Act.ANSWER) is Failure.UNAVAILABLE, "while it is started again"


async def test_more_than_may_wait_is_full_at_once() -> None:
    async with pool(waiting=2) as opened:
        first = [spawn(ask(opened, act), name="asks") for act in (Act.SLOW, Act.ANSWER, Act.ANSWER)]
        await asyncio.sleep(0)
        begun = time.monotonic()
        assert await ask(opened, Act.ANSWER) is Failure.FULL
        assert time.monotonic() - begun < 0.1
        assert await asyncio.gather(*first) == [None] * 3
        assert await ask(opened, Act.ANSWER) is None


async def test_a_late_answer_is_nobody_elses() -> None:
    async with pool(deadline_s=0.1) as opened:
        assert await ask(opened, Act.SLOW) is Failure.LATE
        assert await ask(opened, Act.ANSWER) is Failure.LATE, "the worker is still at the first"
        await asyncio.sleep(0.3)
        assert await ask(opened, Act.ANSWER) is None


async def test_who_hangs_up_makes_room() -> None:
    async with pool(waiting=1) as opened:
        slow = spawn(ask(opened, Act.SLOW), name="asks")
        gone = spawn(ask(opened, Act.ANSWER), name="asks")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert await ask(opened, Act.ANSWER) is None
        assert await slow is None


async def test_an_engine_that_fails_is_unavailable_and_goes_on() -> None:
    async with pool() as opened:
        before = opened.worker_pids
        assert await ask(opened, Act.FAIL) is Failure.UNAVAILABLE
        assert await ask(opened, Act.ANSWER) is None
        assert opened.worker_pids == before


async def test_workers_listen_side_by_side() -> None:
    async with pool(workers=2) as opened:
        given: list[Recognition] = await asyncio.gather(
            *(opened.recognise(utterance(Act.SLOW), "en") for _ in range(2))
        )
        processes = {each.engine.version for each in given if isinstance(each, Recognised)}
        assert processes == {str(pid) for pid in opened.worker_pids}


async def test_one_of_two_workers_is_enough() -> None:
    async with pool(workers=2) as opened:
        assert await ask(opened, Act.CRASH) is Failure.UNAVAILABLE
        assert await ask(opened, Act.ANSWER) is None


async def test_who_waits_when_the_pool_stops_is_told() -> None:
    async with pool(deadline_s=30) as opened:
        waiting = [spawn(ask(opened, act), name="asks") for act in (Act.HANG, Act.ANSWER)]
        await asyncio.sleep(0.05)
        await opened.stop()
        assert await asyncio.gather(*waiting) == [Failure.UNAVAILABLE] * 2


async def test_a_pool_can_be_started_again() -> None:
    async with pool() as opened:
        await opened.stop()
        await opened.start()
        assert await ask(opened, Act.ANSWER) is None


@pytest.mark.parametrize(
    ("part", "because"),
    [("unusable", "no such model: install it"), ("dies", "ended before"), ("never ready", "within 0.5 s")],
)
async def test_a_pool_that_cannot_start_says_why_and_leaves_nothing(part: str, because: str) -> None:
    opened = RecogniserPool(
        [Choice(part)], Sizes(workers=2, ready_within_s=5 if part != "never ready" else 0.5), argv=ARGV
    )
    with pytest.raises(RecogniserUnusable, match=because):
        await opened.start()
    assert opened.worker_pids == () and opened.engines == ()


async def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(RecogniserUnusable, match="ended before"):
        await RecogniserPool([Choice("any")], Sizes(workers=1), argv=("/no/such/program",)).start()


async def test_without_a_model_speech_is_off_and_the_log_says_what_helps(logged: list[EventDict]) -> None:
    recogniser = await open_recogniser([Choice("small")], Sizes(workers=1))
    assert isinstance(recogniser, NoRecogniser)
    assert await recogniser.recognise(utterance(Act.ANSWER), "en") == NotRecognised(Failure.UNAVAILABLE)
    [entry] = logged
    assert entry["event"].startswith("speech is off") and 'no model "small"' in entry["because"]
    assert isinstance(await open_recogniser([]), NoRecogniser)


KILLED = """
import asyncio
from gateway.adapters.speech.models import Choice
from gateway.adapters.speech.pool import RecogniserPool, Sizes
from tests.support.spoken import ARGV, Act, utterance

async def main():
    pool = RecogniserPool([Choice("any")], Sizes(workers=2, deadline_s=60, hung_after_s=60), argv=ARGV)
    await pool.start()
    print(*pool.worker_pids, flush=True)
    await pool.recognise(utterance(Act.HANG), "en")

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [False, True])
async def test_no_worker_outlives_a_gateway_that_is_killed(stopped: bool) -> None:
    """One of the two hangs; *stopped*: both cannot even notice that their socket has ended."""
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert gateway.stdout is not None
    pids = [int(pid) for pid in (await gateway.stdout.readline()).split()]
    assert len(pids) == 2 and all(runs(pid) for pid in pids)
    if stopped:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not any(runs(pid) for pid in pids), within_s=5)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 3), (5, 4), (64, 4)])
def test_one_core_is_left_to_the_media_and_memory_to_others(cores: int, workers: int) -> None:
    assert workers_for(cores) == workers
