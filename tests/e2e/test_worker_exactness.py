"""What is recorded, packet by packet, with workers alone: callers and agents whose packets say their own number."""

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.recorder import check_against_spans, open_recording
from gateway.adapters.softphone import Call, Softphone
from gateway.ports.media import RecordClose, RecorderClosed, RecorderObserved, RecordOpen, RecordPause, RecordResume
from tests.e2e.worker_support import Key, Rig, offer_video_first, running_pool
from tests.support import numbered
from tests.support.leak import Window

pytestmark = pytest.mark.slow


@dataclass
class Script:
    """One recorded call and the times at which commands were issued."""

    recording: str
    opened_ns: int = 0
    pauses: list[tuple[int, int]] = field(default_factory=list)

    def window(self, rig: Rig, closed: RecorderClosed) -> tuple[int, Window]:
        """When the recording's first frame was handled, and what it may hold."""
        seen = [event for event in rig.have(RecorderObserved) if event.recording == self.recording]
        paused = [event.asked_ns for event in seen if event.state == "paused"]
        pauses = tuple((next(at for at in paused if at >= begin), end) for begin, end in self.pauses)
        begun_ns = seen[0].mono_ns - seen[0].at_frame * numbered.PACKET_NS
        return begun_ns, Window(self.opened_ns, closed.asked_ns, pauses, 0)


async def play_script(rig: Rig, path: Path, key: Key, seed: int, seconds: float) -> list[str]:
    """Record one call with random pauses; return everything that is wrong with the recording, in words."""
    rng = random.Random(seed)
    async with await Softphone.open(host="127.0.0.1") as caller, await Softphone.open(host="127.0.0.1") as agent:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source = agent_call.audio_source = numbered.source
        await asyncio.sleep(0.3 + rng.random() / 5)
        script = Script(f"r-{leg}", time.monotonic_ns())
        rig.pool.send(RecordOpen(script.recording, leg, agent_leg, str(path), key.recipient, cause="granted"))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.3 + rng.random())
            if rng.random() < 0.5:
                paused_ns = time.monotonic_ns()
                rig.pool.send(RecordPause(script.recording, "agent_key"))
                await asyncio.sleep(0.1 + rng.random())
                script.pauses.append((paused_ns, time.monotonic_ns()))
                rig.pool.send(RecordResume(script.recording, "agent_key"))
        await asyncio.sleep(0.5)
        rig.pool.send(RecordClose(script.recording, "end"))
        closed = await rig.event(RecorderClosed, lambda event: event.recording == script.recording)
        sides = [dict(call.sent), dict(agent_call.sent)]
        await call.hang_up()
    return await asyncio.to_thread(judge, rig, script, closed, path, key, sides)


def judge(
    rig: Rig, script: Script, closed: RecorderClosed, path: Path, key: Key, sides: list[dict[int, int]]
) -> list[str]:
    assert closed.failed == ""
    recording = open_recording(path, key.identity)
    check_against_spans(recording.samples, closed.spans)
    begun_ns, window = script.window(rig, closed)
    problems: list[str] = []
    for side, sent in enumerate(sides):
        heard = numbered.packets(recording.samples[:, side], begun_ns, sent)
        verdict = numbered.compare(heard, sent, window.forbidden, lambda at, out: window.required(at, out, []))
        assert verdict.recorded > 100, "the recording holds next to nothing"
        for what, found in (("leaked", list(verdict.leaked)), ("lost", verdict.lost)):
            problems += [f"{closed.recording} side {side}: {n} {what}, {window.place(sent[n])}" for n in found]
    return problems


async def test_one_call_is_recorded_packet_for_packet(tmp_path: Path) -> None:
    key = Key.new()
    async with running_pool(1) as rig:
        problems = await play_script(rig, tmp_path / "r.age", key, 1, 20)
    assert problems == []


async def test_all_calls_a_pool_can_carry_are_recorded_packet_for_packet(tmp_path: Path) -> None:
    key = Key.new()
    async with running_pool(8) as rig:
        results = await asyncio.gather(
            *(play_script(rig, tmp_path / f"{n}.age", key, n, 20) for n in range(rig.pool.max_calls))
        )
        print(f"99th percentile of the gap between conference ticks: {rig.pool.worst_gap_ms} ms")
        print(*(problem for problems in results for problem in problems), sep="\n")
    assert [problem for problems in results for problem in problems] == []


async def test_a_line_that_carries_every_packet_twice_lets_nothing_old_through(tmp_path: Path) -> None:
    """The copies are counted as received too, but they take no place in the jitter buffer."""
    assert await old_packets(tmp_path / "r.age", copies_late_by=(0, 1)) == []


async def test_a_line_that_offered_video_first_lets_nothing_old_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_video_first(monkeypatch)
    assert await old_packets(tmp_path / "r.age") == []


async def old_packets(path: Path, copies_late_by: tuple[int, ...] = ()) -> list[int]:
    """Record a call whose jitter buffers are deep. Return how old, in ms, each recorded packet was at the opening that
    had been sent before it. *copies_late_by*: see `send_twice`, one figure a side."""
    key = Key.new()
    async with (
        running_pool(1, jitter_buffer_ms=200) as rig,
        await Softphone.open(host="127.0.0.1") as caller,
        await Softphone.open(host="127.0.0.1") as agent,
    ):
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source = agent_call.audio_source = numbered.source
        for side, late_by in zip((call, agent_call), copies_late_by, strict=False):
            send_twice(side, late_by)
        await asyncio.sleep(1)
        opened_ns = time.monotonic_ns()
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient, cause="granted"))
        await asyncio.sleep(1.5)
        rig.pool.send(RecordClose("r", "end"))
        closed = await rig.event(RecorderClosed)
        begun_ns, window = Script("r", opened_ns).window(rig, closed)
        sides = [dict(call.sent), dict(agent_call.sent)]
    recording = open_recording(path, key.identity)
    old: list[int] = []
    for side_number, sent in enumerate(sides):
        heard = numbered.packets(recording.samples[:, side_number], begun_ns, sent)
        verdict = numbered.compare(heard, sent, window.forbidden, lambda at, out: False)
        assert verdict.recorded > 30
        old += [(opened_ns - sent[n]) // 1_000_000 for n in verdict.leaked]
    return old


def send_twice(call: Call, late_by: int) -> None:
    """From now on each packet goes out twice, the second time after *late_by* others."""
    once, held = call.stream.transmit, deque[bytes]()

    def transmit(datagram: bytes) -> None:
        once(datagram)
        held.append(datagram)
        if len(held) > late_by:
            once(held.popleft())

    call.stream.transmit = transmit  # type: ignore[method-assign]
