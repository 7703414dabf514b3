"""What is recorded, packet by packet: callers and agents whose packets say their own number."""

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.recorder import check_against_spans, open_recording
from gateway.adapters.softphone import Call, Softphone
from gateway.ports.media import RecordClose, RecorderClosed, RecordOpen, RecordPause, RecordResume, Span
from tests.e2e.worker_support import Key, Rig, numbered, packet_numbers, running_pool, unwrap

pytestmark = pytest.mark.slow

IN_FLIGHT_NS = 5_000_000
"""A packet stamped this shortly before a command may pass it on the way: the stamp is taken before sendto."""


@dataclass
class Script:
    """One recorded call and the times at which commands were issued."""

    opened_ns: int = 0
    pauses: list[tuple[int, int]] = field(default_factory=list)
    closed_ns: int = 0
    closed: RecorderClosed | None = None


async def play_script(rig: Rig, path: Path, key: Key, seed: int, seconds: float) -> tuple[Script, list[str]]:
    rng = random.Random(seed)
    script = Script()
    async with await Softphone.open(host="127.0.0.1") as caller, await Softphone.open(host="127.0.0.1") as agent:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source, agent_call.audio_source = numbered(), numbered(100)
        await asyncio.sleep(0.3 + rng.random() / 5)
        recording = f"r-{leg}"
        script.opened_ns = time.monotonic_ns()
        rig.pool.send(RecordOpen(recording, leg, agent_leg, str(path), key.recipient, cause="granted"))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.3 + rng.random())
            if rng.random() < 0.5:
                paused_ns = time.monotonic_ns()
                rig.pool.send(RecordPause(recording, "agent_key"))
                await asyncio.sleep(0.1 + rng.random())
                script.pauses.append((paused_ns, time.monotonic_ns()))
                rig.pool.send(RecordResume(recording, "agent_key"))
        await asyncio.sleep(0.5)
        script.closed_ns = time.monotonic_ns()
        rig.pool.send(RecordClose(recording, "end"))
        script.closed = await rig.event(RecorderClosed, lambda event: event.recording == recording)
        problems = judge(script, path, key, call, agent_call)
        await call.hang_up()
    return script, problems


def judge(script: Script, path: Path, key: Key, *calls: Call) -> list[str]:
    """Everything that is wrong with the recording, in words."""
    assert script.closed is not None
    assert script.closed.failed == ""
    recording = open_recording(path, key.identity)
    check_against_spans(recording.samples, script.closed.spans)
    problems: list[str] = []
    for side, call in enumerate(calls):
        sent = dict(call.sent)
        numbers = packet_numbers(recording.samples[:, side])
        first = 100 if side else 0
        unwrapped = unwrap(numbers, max(sent) + first)
        frames = [None if number is None else number - first for number in unwrapped]
        problems += leaks(script, side, frames, sent)
        problems += losses(script.closed.spans, side, frames)
    return problems


def leaks(script: Script, side: int, frames: list[int | None], sent: dict[int, int]) -> list[str]:
    problems = []
    for number in (frame for frame in frames if frame is not None):
        at = sent[number]
        if at < script.opened_ns:
            problems.append(f"side {side}: packet {number} was sent {(script.opened_ns - at) / 1e6:.1f} ms too early")
        for paused, resumed in script.pauses:
            if paused + IN_FLIGHT_NS < at < resumed:
                problems.append(f"side {side}: packet {number} was sent in a pause")
    return problems


def losses(spans: tuple[Span, ...], side: int, frames: list[int | None]) -> list[str]:
    """Holes inside a span that is on, after its opening skip."""
    problems = []
    for span in spans:
        if span.state != "on":
            continue
        part = frames[span.from_frame : span.to_frame]
        while part and part[0] is None:
            part = part[1:]
        for before, after in itertools.pairwise(part):
            if before is None or after is None:
                problems.append(f"side {side}: silence inside a recorded span")
            elif after != before + 1:
                problems.append(f"side {side}: packet {before} is followed by {after}")
    return problems


async def test_one_call_is_recorded_packet_for_packet(tmp_path: Path) -> None:
    key = Key.new()
    async with running_pool(1) as rig:
        _, problems = await play_script(rig, tmp_path / "r.age", key, 1, 20)
    assert problems == []


async def test_all_calls_a_pool_can_carry_are_recorded_packet_for_packet(tmp_path: Path) -> None:
    key = Key.new()
    async with running_pool(8) as rig:
        results = await asyncio.gather(
            *(play_script(rig, tmp_path / f"{n}.age", key, n, 20) for n in range(rig.pool.max_calls))
        )
        print(rig.pool.worst_gap_ms)
    assert [problem for _, problems in results for problem in problems] == []
