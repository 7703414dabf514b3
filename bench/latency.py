"""How long a caller's key takes to become a verdict and a recording, and how soon a pause is silence.

Short prompts, real SIP and RTP. Silence is judged from the recording itself: both sides send numbered packets, so the
last one that was recorded, and when it was sent relative to the pause command, is known.
"""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.calls import Desk, desk
from bench.evidence import bare_commits
from gateway.adapters.recorder.reader import open_recording
from gateway.adapters.softphone import Call, CallFailed, Softphone
from gateway.app.latency import LatencyTap
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import Phase
from gateway.domain.recording import RecorderState
from tests.support import gateway as support
from tests.support import numbered

AT_ONCE = 4
FRAME_MS = 20.0
PAUSES = 2
REACH_NS = 600_000_000
"""How far before a pause command its last recorded packet is looked for."""


@dataclass(slots=True)
class Seen:
    """All measurements of a run: milliseconds, or frames of 20 ms."""

    calls: int = 0
    failed: list[str] = field(default_factory=list)
    wire_to_verdict: list[float] = field(default_factory=list)
    tap: dict[str, list[float]] = field(default_factory=dict)
    last_packet: list[float] = field(default_factory=list)
    leaked: int = 0

    def observe(self, name: str, seconds: float) -> None:
        self.tap.setdefault(name, []).append(seconds * 1_000)


async def one_call(at: Desk, agents: dict[str, asyncio.Future[Call]], rng: random.Random, seen: Seen) -> None:
    """One caller who accepts; pauses and resumes by the control's command, then hangs up."""
    at.placed += 1
    number = f"+49{at.prefix}{at.placed:04}"
    call = await at.caller.call(f"sip:line@{at.gateway.front.address}", from_number=number, audio_during_digit=True)
    call.audio_source = numbered.source
    await call.answered(10)
    session = await support.session_of(at.gateway, number)
    await asyncio.sleep(rng.uniform(0.4, 0.7))
    press = await call.send_digit("1", 80)
    await reach(session, lambda: session.call.phase is Phase.TALKING)
    agent = await asyncio.wait_for(asyncio.shield(future_of(agents, session.call_id)), 5)
    await reach(session, lambda: session.call.recorder.observed is RecorderState.ON)
    for _ in range(PAUSES):
        await asyncio.sleep(rng.uniform(0.6, 0.8))
        await at.gateway.switchboard.pause(session.call_id, actor="bench")
        await asyncio.sleep(rng.uniform(0.4, 0.6))
        await at.gateway.switchboard.resume(session.call_id, actor="bench")
    await asyncio.sleep(0.4)
    await call.hang_up()
    await asyncio.wait_for(session.over.wait(), 20)
    seen.calls += 1
    seen.wire_to_verdict.append((verdict_ns(at, session.call_id) - press.down_ns) / 1e6)
    await judge(at, session, (call, agent), seen)


async def reach(session: CallSession, condition: Any) -> None:
    if not await session.wait_for(condition, 15_000):
        raise TimeoutError


def future_of(agents: dict[str, asyncio.Future[Call]], call_id: str) -> asyncio.Future[Call]:
    return agents.setdefault(call_id, asyncio.get_running_loop().create_future())


async def answer_all(phone: Softphone, agents: dict[str, asyncio.Future[Call]]) -> None:
    """The agents, found again by the call's id."""
    while True:
        call = await phone.incoming(3600)
        call.audio_source = numbered.source
        await call.accept()
        call_id = next(value for name, value in call.headers if name.lower() == "x-consent-call-id")
        future_of(agents, call_id).set_result(call)


def verdict_ns(at: Desk, call_id: str) -> int:
    """When the call's first verdict was durable."""
    appended = at.journal.of(call_id, do.AppendEvidence)
    token = next(what.token for _, what in appended if what.kind == "verdict")
    return next(what.at_ns for _, what in at.journal.of(call_id, ev.EvidenceDurable) if what.token == token)


async def judge(at: Desk, session: CallSession, sides: tuple[Call, Call], seen: Seen) -> None:
    """Find, for each pause and side, when the last recorded packet was sent."""
    call_id, services = session.call_id, at.gateway.services
    pauses = [mono for mono, _ in at.journal.of(call_id, do.PauseRecorder)]
    resumes = [mono for mono, _ in at.journal.of(call_id, do.ResumeRecorder)]
    for record in await services.registry.recordings(call_id):
        identity = services.keys.unwrap(record.recording, record.wrapped)
        samples = (await asyncio.to_thread(open_recording, record.path, identity)).samples
        observed = [what for _, what in at.journal.of(call_id, ev.RecorderObserved)]
        first = next(what for what in observed if what.recording == record.recording)
        begun_ns = first.at_ns - first.at_frame * 20_000_000
        for column, phone in enumerate(sides):
            sent = dict(phone.sent)
            heard = numbered.packets(samples[:, column], begun_ns, sent)
            for pause, resume in zip(pauses, resumes, strict=False):
                before = [sent[n] for n in heard if pause - REACH_NS < sent[n] < resume]
                if before:
                    seen.last_packet.append((max(before) - pause) / 1e6 / FRAME_MS)
                seen.leaked += sum(pause <= sent[n] < resume for n in heard)


async def run(folder: Path, quick: bool) -> dict[str, Any]:
    calls, seconds = (12, 1.0) if quick else (80, 3.0)
    before = bare_commits(folder, seconds)
    seen, agents, rng = Seen(), dict[str, asyncio.Future[Call]](), random.Random(1)
    async with desk(folder, AT_ONCE) as (at, phone):
        at.gateway.services.taps.append(LatencyTap(seen.observe))
        answering = spawn(answer_all(phone, agents), name="bench agents")
        numbers = iter(range(calls))

        async def caller() -> None:
            for _ in numbers:
                try:
                    await one_call(at, agents, random.Random(rng.random()), seen)
                except (TimeoutError, CallFailed, numbered.Foreign, StopIteration) as error:
                    code = error.code if isinstance(error, CallFailed) else ""
                    seen.failed.append(f"{type(error).__name__} {code}".rstrip())

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        answering.cancel()
    bare = [took * 1_000 for took in before + bare_commits(folder, seconds)]
    peer = machine.quantile(bare, 0.5)
    rows = {
        "key_down_on_the_wire_to_verdict": seen.wire_to_verdict,
        "key_seen_to_verdict": seen.tap.get("answer_to_verdict", []),
        "verdict_to_recorder": seen.tap.get("verdict_to_recording", []),
        "pause_to_observed": seen.tap.get("pause_to_silence", []),
    }
    return {
        "calls": seen.calls,
        "failed": seen.failed,
        "at_once": AT_ONCE,
        "bare_commit": {"p50_ms": peer, "p99_ms": machine.quantile(bare, 0.99), "n": len(bare)},
        "frame_ms": FRAME_MS,
        "measured": {name: line(values, peer) for name, values in rows.items() if values},
        "pause_to_silence_frames": {
            "n": len(seen.last_packet),
            "earliest": min(seen.last_packet, default=None),
            "p50": machine.quantile(seen.last_packet, 0.5) if seen.last_packet else None,
            "max": max(seen.last_packet, default=None),
            "packets_recorded_after_pause": seen.leaked,
        },
    }


def line(values: list[float], bare_ms: float) -> dict[str, float]:
    p50, p99 = machine.quantile(values, 0.5), machine.quantile(values, 0.99)
    return {
        "n": len(values),
        "p50_ms": p50,
        "p99_ms": p99,
        "commits_p50": p50 / bare_ms,
        "frames_p50": p50 / FRAME_MS,
        "frames_p99": p99 / FRAME_MS,
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    failed = f"{len(found['failed'])} did not go as planned {sorted(set(found['failed'])) or ''}"
    print(f"{found['calls']} calls, {found['at_once']} at a time; {failed}")
    print(f"{'':34}{'n':>6}{'p50 ms':>9}{'p99 ms':>9}{'x commit':>10}{'frames p50':>12}{'frames p99':>12}")
    bare = found["bare_commit"]
    print(f"{'bare one-row commit':34}{bare['n']:6}{bare['p50_ms']:9.2f}{bare['p99_ms']:9.2f}{1:10.1f}")
    for name, row in found["measured"].items():
        start = f"{name.replace('_', ' '):34}{row['n']:6}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}"
        print(f"{start}{row['commits_p50']:10.1f}{row['frames_p50']:12.2f}{row['frames_p99']:12.2f}")
    pause = found["pause_to_silence_frames"]
    if pause["n"]:
        print(
            f"last recorded packet was sent, relative to the pause command, in frames of 20 ms: "
            f"p50 {pause['p50']:+.2f}, latest {pause['max']:+.2f}, earliest {pause['earliest']:+.2f} "
            f"({pause['n']} pauses of one side); "
            f"packets recorded that were sent after it: {pause['packets_recorded_after_pause']}"
        )
