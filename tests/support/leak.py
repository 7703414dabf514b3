"""The leak test: random calls with numbered packets, each recording compared packet by packet with the commands.

Anyone can repeat it: `.venv/bin/python -m tests.support.leak --calls 200 --at-once 8 --seed 1`.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gateway.adapters.recorder.reader import open_recording
from gateway.adapters.softphone import Call, CallFailed, Softphone
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.bootstrap import Gateway
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import Phase
from gateway.evidence.bundle import verify_bundle
from tests.support import gateway as support
from tests.support import numbered

OPENING_NS = 500_000_000
"""After an opening so much sent audio may be missing: what was under way, and looking whether it still is. It takes
70 ms where the processor is free (`opening_ms` of the report); on a crowded one the looking comes late."""
SHUTTING_NS = 60_000_000
"""What comes out of the jitter buffer so shortly before a gate shuts, or later, may be missing."""
HOLD_NS = 1_500_000_000
"""Around a re-INVITE of a leg, its stream is set up anew."""
MOST_REFUSALS = 600
"""How often a caller calls again who was turned away: a second apart."""


@dataclass(slots=True)
class CallResult:
    """What one call gave."""

    number: str
    plan: str
    verdict: str = ""
    recordings: int = 0
    recorded_packets: int = 0
    leaked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    opening_ms: list[float] = field(default_factory=list)
    pause_reach_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: int = 0
    latest_ms: float = 0.0


@dataclass(slots=True)
class Totals:
    """Sums over all calls."""

    calls: list[CallResult] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        openings = [ms for call in self.calls for ms in call.opening_ms]
        return {
            "calls": len(self.calls),
            "verdicts": {v: sum(c.verdict == v for c in self.calls) for v in sorted({c.verdict for c in self.calls})},
            "recordings": sum(c.recordings for c in self.calls),
            "recorded_packets": sum(c.recorded_packets for c in self.calls),
            "leaked": [leak for c in self.calls for leak in c.leaked],
            "lost": [loss for c in self.calls for loss in c.lost],
            "wrong": [wrong for c in self.calls for wrong in c.wrong],
            "refused_and_tried_again": sum(c.refused for c in self.calls),
            "latest_packet_ms": round(max((c.latest_ms for c in self.calls), default=0.0), 1),
            "opening_ms": {"p50": _quantile(openings, 0.5), "p99": _quantile(openings, 0.99)},
        }


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 1) if values else None


@dataclass(slots=True)
class World:
    """The gateway under test with its two sides."""

    gateway: Gateway
    journal: support.Journal
    caller_phone: Softphone
    agent_phone: Softphone
    agents: dict[str, asyncio.Future[Call]] = field(default_factory=dict)
    to_judge: list[tuple[CallSession, "CallResult", Call, Call | None, "Held"]] = field(default_factory=list)
    """Judged when every phone is silent: decrypting and verifying in this process would make the phones send late."""

    def agent_of(self, call_id: str) -> "asyncio.Future[Call]":
        return self.agents.setdefault(call_id, asyncio.get_running_loop().create_future())

    async def answer_for_ever(self) -> None:
        """The agent's side: answer every call, speak numbered packets."""
        while True:
            call = await self.agent_phone.incoming(3600)
            call.audio_source = numbered.source
            call.stream.audio_during_digit = True
            call_id = next(value for name, value in call.headers if name.lower() == "x-consent-call-id")
            spawn(self._accept(call, call_id), name="test agent")

    async def _accept(self, call: Call, call_id: str) -> None:
        try:
            await call.accept()
        except CallFailed:
            return
        future = self.agent_of(call_id)
        if not future.done():
            future.set_result(call)


@dataclass(slots=True)
class Held:
    """When a leg's stream was set up anew."""

    caller: list[int] = field(default_factory=list)
    agent: list[int] = field(default_factory=list)


async def one_call(world: World, rng: random.Random, number: str) -> CallResult:
    """Place one random call and judge its recordings."""
    plan = rng.choices(["yes", "no", "silence", "hangup_early", "early_key"], [70, 10, 5, 8, 7])[0]
    result = CallResult(number, plan)
    held = Held()
    session: CallSession | None = None
    agent: Call | None = None
    try:
        call = await _place(world, result)
    except (TimeoutError, CallFailed) as error:
        result.wrong.append(f"{number} ({plan}): not answered, {error or type(error).__name__}")
        return result
    try:
        session = await support.session_of(world.gateway, number)
        await _answer(plan, rng, call)
        await session.wait_for(lambda: session.call.phase in (Phase.TALKING, Phase.ENDING, Phase.OVER), 20_000)
        if session.call.phase is Phase.TALKING:
            agent = await asyncio.wait_for(asyncio.shield(world.agent_of(session.call_id)), 5)
            await _talk(world, rng, session, call, agent, held)
        ends = call if agent is None or rng.random() < 0.6 else agent
        await ends.hang_up()
        await asyncio.wait_for(session.over.wait(), 20)
    except (TimeoutError, CallFailed) as error:
        result.wrong.append(f"{number} ({plan}): {type(error).__name__}")
        await call.hang_up()
    if session is not None and session.over.is_set():
        world.to_judge.append((session, result, call, agent, held))
    return result


async def _place(world: World, result: CallResult) -> Call:
    """A call that was answered. An overloaded gateway refuses new calls (503): then it is tried again."""
    while True:
        call = await world.caller_phone.call(
            f"sip:line@{world.gateway.front.address}", from_number=result.number, audio_during_digit=True
        )
        call.audio_source = numbered.source
        try:
            await call.answered(10)
            return call
        except CallFailed as failure:
            result.refused += 1
            if failure.code != 503 or result.refused > MOST_REFUSALS:
                raise
        await asyncio.sleep(1.0)


async def _answer(plan: str, rng: random.Random, call: Call) -> None:
    if plan == "hangup_early":
        await asyncio.sleep(rng.uniform(0, 0.8))
        await call.hang_up()
    elif plan == "early_key":
        await call.send_digit("1", 60)
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        await call.send_digit("1", 80)
    elif plan != "silence":
        await asyncio.sleep(rng.uniform(0.35, 1.2))
        await call.send_digit("1" if plan == "yes" else "2", rng.choice([60, 100, 160]))


async def _talk(world: World, rng: random.Random, session: CallSession, caller: Call, agent: Call, held: Held) -> None:
    """Random things in the middle of a call."""
    board = world.gateway.switchboard
    call_id = session.call_id
    await asyncio.sleep(rng.uniform(0.3, 1.0))
    for _ in range(rng.randint(0, 5)):
        if session.over.is_set() or caller.is_over or agent.is_over:
            return
        what = rng.choices(
            ["pause", "resume", "agent_pause", "agent_resume", "withdraw", "reconsent", "hold", "flap"],
            [22, 18, 14, 14, 8, 8, 8, 8],
        )[0]
        if what in ("pause", "resume", "reconsent"):
            await getattr(board, what)(call_id, actor="test")
        elif what == "flap":
            await board.pause(call_id, actor="test")
            await board.resume(call_id, actor="test")
        elif what == "withdraw":
            await _type(caller, "*9")
        elif what == "hold":
            side, times = rng.choice([(caller, held.caller), (agent, held.agent)])
            times.append(time.monotonic_ns())
            await side.hold(music=True)
            await asyncio.sleep(rng.uniform(0.2, 0.6))
            await side.resume()
            times.append(time.monotonic_ns())
        else:
            await _type(agent, "*71" if what == "agent_pause" else "*72")
        if what == "reconsent":
            await asyncio.sleep(rng.uniform(0.4, 0.9))
            await caller.send_digit(rng.choice("1112"), 80)
        await asyncio.sleep(rng.uniform(0.1, 1.2))


async def _type(call: Call, digits: str) -> None:
    for digit in digits:
        if not call.is_over:
            await call.send_digit(digit, 60)
            await asyncio.sleep(0.03)


# --- judging ---


@dataclass(frozen=True, slots=True)
class Window:
    """When one recording was allowed to take audio, in CLOCK_MONOTONIC ns."""

    opened_ns: int
    closed_ns: int
    pauses: tuple[tuple[int, int], ...]
    look_behind_ns: int

    def forbidden(self, sent_ns: int) -> bool:
        if sent_ns < self.opened_ns or sent_ns > self.closed_ns:
            return True
        return any(begin - self.look_behind_ns <= sent_ns < end for begin, end in self.pauses)

    def place(self, sent_ns: int) -> str:
        """Where *sent_ns* lies between the commands, in words and ms."""
        marks = [("opening", self.opened_ns), ("closing", self.closed_ns)]
        marks += [(name, at_ns) for begin, end in self.pauses for name, at_ns in (("pause", begin), ("resume", end))]
        near = sorted(marks, key=lambda mark: abs(mark[1] - sent_ns))[:3]
        return ", ".join(f"{(sent_ns - at_ns) / 1e6:+.1f} ms from the {name}" for name, at_ns in near)

    def required(self, sent_ns: int, out_ns: int, held: list[int]) -> bool:
        """Whether a packet that was sent then and is out of the jitter buffer by *out_ns* must have been recorded."""
        if sent_ns < self.opened_ns + OPENING_NS or out_ns > self.closed_ns - SHUTTING_NS:
            return False
        near_pause = any(
            out_ns > begin - self.look_behind_ns - SHUTTING_NS and sent_ns < end + OPENING_NS
            for begin, end in self.pauses
        )
        return not near_pause and not any(abs(sent_ns - at_ns) < HOLD_NS for at_ns in held)


def _window(journal: support.Journal, call_id: str, recording: str, look_behind_ms: int) -> Window:
    """From the journal: openings and resumes count from the command, pauses and the end from when they reached the
    media process (if they did)."""

    def entries(kind: type) -> list[tuple[int, Any]]:
        return [(at, what) for at, what in journal.of(call_id, kind) if getattr(what, "recording", "") == recording]

    opened_ns = entries(do.OpenRecorder)[0][0]
    ends = [at for at, _ in entries(do.CloseRecorder)] + [at for at, _ in journal.of(call_id, ev.LegEnded)]
    closed_ns = min(at for at in ends if at >= opened_ns)
    closed_ns = max([closed_ns, *(what.asked_ns for _, what in entries(ev.RecorderClosed))])
    reached = [what.asked_ns for _, what in entries(ev.RecorderObserved) if what.state == "paused"]
    resumes = [at for at, _ in entries(do.ResumeRecorder)]
    spans = []
    for commanded, _ in entries(do.PauseRecorder):
        end = next((at for at in resumes if at >= commanded), closed_ns + 10**12)
        begin = next((at for at in reached if commanded <= at < end), commanded)
        spans.append((begin, end))
    return Window(opened_ns, closed_ns, tuple(spans), look_behind_ms * 1_000_000)


async def _judge(
    world: World, session: CallSession, result: CallResult, caller: Call, agent: Call | None, held: Held
) -> None:
    call_id, journal, services = session.call_id, world.journal, world.gateway.services
    result.verdict = str(session.call.verdict)
    bundle = await services.evidence.export(call_id)
    try:
        verify_bundle(bundle, services.evidence.verifier_key())
    except ValueError as error:
        result.wrong.append(f"{result.number} ({result.plan}): {error}")
    opened = {what.recording for _, what in journal.of(call_id, do.OpenRecorder)}  # type: ignore[union-attr]
    for record in await services.registry.recordings(call_id):
        if record.recording not in opened:
            result.wrong.append(f"{record.recording}: nobody opened it")
        if not await asyncio.to_thread(Path(record.path).exists):
            continue
        result.recordings += 1
        identity = services.keys.unwrap(record.recording, record.wrapped)
        samples = open_recording(record.path, identity).samples
        seen = [what for _, what in journal.of(call_id, ev.RecorderObserved)]
        first = next(what for what in seen if what.recording == record.recording)  # type: ignore[union-attr]
        window = _window(journal, call_id, record.recording, session.call.rules.look_behind_ms)
        begun_ns = first.at_ns - first.at_frame * 20_000_000  # type: ignore[union-attr]
        for side, phone, column, at in (("caller", caller, 0, held.caller), ("agent", agent, 1, held.agent)):
            if phone is None:
                continue
            _judge_side(result, side, samples[:, column], dict(phone.sent), begun_ns, window, at)


def _judge_side(
    result: CallResult,
    side: str,
    samples: "np.ndarray[Any, np.dtype[np.int16]]",
    sent: dict[int, int],
    begun_ns: int,
    window: Window,
    held: list[int],
) -> None:
    who = f"{result.number} ({result.plan}) {side}"
    try:
        heard = numbered.packets(samples, begun_ns, sent)
    except numbered.Foreign as error:
        result.wrong.append(f"{who}: {error}")
        return
    verdict = numbered.compare(
        heard, sent, window.forbidden, lambda at_ns, out_ns: window.required(at_ns, out_ns, held)
    )
    result.recorded_packets += verdict.recorded
    late = {packet: late_ns / 1e6 for packet, late_ns in numbered.lateness_ns(sent).items()}
    result.latest_ms = max([result.latest_ms, *late.values()])
    for packet, length in verdict.leaked.items():
        result.leaked.append(
            f"{who}: packet {packet}, {length} samples, {window.place(sent[packet])}; sent {late[packet]:.1f} ms late"
        )
    for packet in verdict.lost:
        got = heard[packet].samples if packet in heard else 0
        around = max(late.get(near, 0.0) for near in range(packet - 4, packet + 5))
        result.lost.append(
            f"{who}: packet {packet} ({got} samples), {window.place(sent[packet])}; "
            f"sent {late[packet]:.1f} ms late, its neighbours up to {around:.1f} ms"
        )
    if heard:
        result.opening_ms.append((min(sent[packet] for packet in heard) - window.opened_ns) / 1e6)


async def run(folder: Path, *, calls: int, at_once: int, seed: int, **policy: str) -> Totals:
    """Run *calls* random calls, *at_once* at a time, against a fresh gateway below *folder*."""
    totals = Totals()
    rng = random.Random(seed)
    async with await Softphone.open(user="agent") as agent_phone, await Softphone.open() as caller_phone:
        made = support.settings(folder, agent_phone.address, calls=at_once, **policy)
        async with support.running(made) as (gateway, journal):
            world = World(gateway, journal, caller_phone, agent_phone)
            agents = spawn(world.answer_for_ever(), name="test agents")
            numbers = iter(range(calls))

            async def worker() -> None:
                for index in numbers:
                    totals.calls.append(await one_call(world, random.Random(rng.random()), f"+49{seed}{index:05}"))

            await asyncio.gather(*(worker() for _ in range(min(at_once, gateway.pool.max_calls))))
            agents.cancel()
            for judged in world.to_judge:
                await _judge(world, *judged)
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description="Random calls with numbered packets; counts leaked and lost ones.")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--look-behind-ms", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        totals = asyncio.run(
            run(
                Path(folder),
                calls=asked.calls,
                at_once=asked.at_once,
                seed=asked.seed,
                recording=f"look_behind_ms = {asked.look_behind_ms}",
            )
        )
    report = totals.report()
    print(json.dumps(report, indent=2))
    raise SystemExit(1 if report["leaked"] or report["lost"] or report["wrong"] else 0)


if __name__ == "__main__":
    main()
