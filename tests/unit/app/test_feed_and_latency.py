"""The feed goes on where a reader was; the latency tap pairs what belongs together."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.app.feed import Change, Feed
from gateway.app.latency import LatencyTap
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev


def filled(count: int, keep: int = 2_000) -> Feed:
    feed = Feed(keep=keep)
    for number in range(1, count + 1):
        feed.publish("call", {"n": number})
    return feed


async def numbers(changes: AsyncIterator[Change]) -> list[int]:
    return [change.number async for change in changes]


@pytest.mark.parametrize(("after", "expected"), [(0, [1, 2, 3]), (1, [2, 3]), (3, []), (99, [1, 2, 3])])
async def test_a_reader_goes_on_where_he_was(after: int, expected: list[int]) -> None:
    feed = filled(3)
    feed.close()
    assert await numbers(feed.follow(after)) == expected
    assert feed.number == 3


async def test_a_slow_reader_is_told_by_a_gap() -> None:
    feed = filled(10, keep=3)
    feed.close()
    assert await numbers(feed.follow(2)) == [8, 9, 10]


async def test_a_reader_waits_for_news_and_misses_none() -> None:
    feed = filled(1)
    seen: list[int] = []

    async def read() -> None:
        async for change in feed.follow(0):
            seen.append(change.number)
            if change.number == 2:
                feed.publish("call", {"during": "reading"})

    readers = [spawn(read(), name="reader"), spawn(numbers(feed.follow(3)), name="other reader")]
    await asyncio.sleep(0)
    assert seen == [1]
    feed.publish("call", {})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    feed.publish("call", {})
    feed.close()
    await asyncio.gather(*readers)
    assert seen == [1, 2, 3, 4]
    assert readers[1].result() == [1, 2, 3, 4]


async def test_a_task_that_fails_is_told_by_its_type_only(capsys: pytest.CaptureFixture[str]) -> None:
    failures: list[BaseException] = []

    async def fails() -> None:
        raise ValueError("quotes a caller")

    task = spawn(fails(), name="one", on_failure=failures.append)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert isinstance(failures[0], ValueError)
    shown = capsys.readouterr().out
    assert "ValueError" in shown and "quotes a caller" not in shown
    forgotten = spawn(asyncio.sleep(9), name="two", on_failure=failures.append)
    forgotten.cancel()
    await asyncio.wait([forgotten])
    await asyncio.sleep(0)
    assert len(failures) == 1


# --- latency ---------------------------------------------------------------------------------------------------------


def ms(value: float) -> int:
    return int(value * 1_000_000)


def digit(counted: bool) -> do.AppendEvidence:
    return do.AppendEvidence("answer.digit", {"counted": counted}, 1)


VERDICT = do.AppendEvidence("verdict", {}, 2)


def test_a_spoken_answer_is_measured_from_where_its_end_was_known() -> None:
    tap = LatencyTap()
    for at, counted in ((10, False), (100, True)):
        spoken = ev.AnswerSpoken(at_ns=ms(at), leg="caller", began_ns=0, hearings=())
        tap("c", spoken, ms(at + 60))
        tap("c", do.AppendEvidence("answer.speech", {"counted": counted}, 1), ms(at + 61))
    tap("c", VERDICT, ms(162))
    tap("c", ev.EvidenceDurable(at_ns=ms(165), token=2), ms(165))
    assert tap.of("c")["answer_to_verdict"] == 65.0


def test_the_three_latencies_of_a_call() -> None:
    measured: list[tuple[str, float]] = []
    tap = LatencyTap(observe=lambda name, seconds: measured.append((name, seconds)))

    def event(what: ev.Event) -> None:
        tap("c", what, what.at_ns)

    event(ev.DigitPressed(at_ns=ms(10), leg="caller", value="7"))
    tap("c", digit(False), ms(11))
    event(ev.DigitPressed(at_ns=ms(100), leg="caller", value="1"))
    tap("c", digit(True), ms(101))
    tap("c", VERDICT, ms(102))
    event(ev.DigitPressed(at_ns=ms(105), leg="caller", value="4"))
    event(ev.EvidenceDurable(at_ns=ms(108), token=9))
    event(ev.EvidenceDurable(at_ns=ms(110), token=2))
    event(ev.EvidenceDurable(at_ns=ms(190), token=2))
    event(ev.LegAnswered(at_ns=ms(90), leg="caller"))
    event(ev.LegAnswered(at_ns=ms(200), leg="agent"))
    event(ev.RecorderObserved(at_ns=ms(230), recording="r", state="on"))
    event(ev.PauseRequested(at_ns=ms(300), reason="x", actor="y"))
    tap("c", do.PauseRecorder("r", "x"), ms(301))
    event(ev.RecorderObserved(at_ns=ms(340), recording="r", state="paused"))
    event(ev.RecorderObserved(at_ns=ms(400), recording="r", state="on"))
    tap("c", do.PauseRecorder("r", "key"), ms(500))
    event(ev.RecorderObserved(at_ns=ms(520), recording="r", state="paused"))
    event(ev.RecorderObserved(at_ns=ms(530), recording="r", state="paused"))
    assert tap.of("c") == {"answer_to_verdict": 10.0, "verdict_to_recording": 30.0, "pause_to_silence": 40.0}
    assert [(name, round(seconds * 1_000)) for name, seconds in measured] == [
        ("answer_to_verdict", 10),
        ("verdict_to_recording", 30),
        ("pause_to_silence", 40),
        ("pause_to_silence", 20),
    ]
    tap.forget("c")
    tap.forget("c")
    assert tap.of("c") == {"answer_to_verdict": None, "verdict_to_recording": None, "pause_to_silence": None}


def test_where_a_pbx_connects_them_the_recording_is_waited_for_from_the_telling_of_the_verdict() -> None:
    tap = LatencyTap()
    tap("c", VERDICT, ms(100))
    tap("c", ev.EvidenceDurable(at_ns=ms(110), token=2), ms(110))
    tap("c", do.OpenRecorder("r", 2, "returned to the PBX"), ms(5_000))
    tap("c", ev.RecorderObserved(at_ns=ms(5_030), recording="r", state="on"), ms(5_030))
    assert tap.of("c")["verdict_to_recording"] == 30.0


def test_what_never_happened_has_no_latency() -> None:
    tap = LatencyTap()
    tap("c", VERDICT, 0)
    tap("c", ev.EvidenceDurable(at_ns=5, token=2), 5)
    tap("c", ev.RecorderObserved(at_ns=9, recording="r", state="paused"), 9)
    assert set(tap.of("c").values()) == {None}
    assert set(tap.of("other").values()) == {None}
