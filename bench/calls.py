"""What a call costs: CPU while asking, bridged and recorded; memory; calls per worker and per core.

The workers' CPU is read over a window with the calls up, less a window of the same idle pool. The test phones live in
the control process; their media thread is taken out of its figure, their few SIP messages outside the windows are not.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from gateway.adapters.softphone import Call, Softphone
from gateway.adapters.softphone.media import ENGINE
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.bootstrap import Gateway
from gateway.domain import events as ev
from gateway.domain.call import Phase
from tests.support import gateway as support
from tests.support import numbered

COUNTS = (1, 8)
SETTLE_S = 0.7


@dataclass(frozen=True, slots=True)
class Window:
    """CPU in per cent of one core over one window."""

    workers: float
    control: float
    phones: float
    others: float


async def watch(pids: tuple[int, ...], seconds: float) -> Window:
    """Measure for *seconds*: the processes *pids*, this process without and with its phones, and all others."""
    engine = ENGINE._thread
    phones = engine.native_id if engine is not None else None

    def read() -> tuple[float, ...]:
        return time.monotonic(), machine.processes_cpu(pids), time.process_time(), machine.thread_cpu(phones)

    everybody = machine.everybody()
    before = read()
    await asyncio.sleep(seconds)
    after = read()
    took, workers, own, media = (b - a for a, b in zip(before, after, strict=True))
    others = machine.others(everybody, machine.everybody(), (*pids, os.getpid()))
    return Window(*(100 * part / took for part in (workers, own - media, media, others)))


@dataclass(slots=True)
class Desk:
    """A gateway with phones on both sides."""

    gateway: Gateway
    journal: support.Journal
    caller: Softphone
    prefix: str
    placed: int = 0

    async def place(self, count: int) -> list[tuple[Call, CallSession]]:
        """Bring up *count* calls and wait until all of them are being asked."""
        up = []
        for _ in range(count):
            self.placed += 1
            number = f"+49{self.prefix}{self.placed:04}"
            call = await self.caller.call(
                f"sip:line@{self.gateway.front.address}", from_number=number, audio_during_digit=True
            )
            call.audio_source = numbered.source
            session = await support.session_of(self.gateway, number)
            await call.answered(10)
            up.append((call, session))
        await asyncio.sleep(SETTLE_S)
        return up


@asynccontextmanager
async def desk(folder: Path, calls: int, **more: Any) -> AsyncIterator[tuple[Desk, Softphone]]:
    """A running gateway for *calls* calls and the agents' phone, which nobody answers yet."""
    async with await Softphone.open(user="agent") as agents, await Softphone.open() as caller:
        made = support.settings(folder, agents.address, calls=calls, **more)
        async with support.running(made) as (gateway, journal):
            yield Desk(gateway, journal, caller, f"{time.time_ns() % 10**6:06}"), agents


async def answer_all(agents: Softphone) -> None:
    """The agents: take every call and talk in numbered packets."""
    while True:
        call = await agents.incoming(3600)
        call.audio_source = numbered.source
        await call.accept()


async def answer_with(up: list[tuple[Call, CallSession]], key: str) -> None:
    """Every caller presses *key*; return when all of them talk."""
    for call, session in up:
        await call.send_digit(key, 80)
        if not await session.wait_for(lambda session=session: session.call.phase is Phase.TALKING, 15_000):
            raise RuntimeError("a call did not reach its agent: this machine has no room for the measurement")
    await asyncio.sleep(SETTLE_S)


async def hang_up(up: list[tuple[Call, CallSession]]) -> None:
    for call, session in up:
        await call.hang_up()
        await asyncio.wait_for(session.over.wait(), 20)


async def measure(folder: Path, count: int, seconds: float) -> dict[str, Any]:
    """Measure *count* calls at once in every state."""
    async with desk(folder, count, lengths_ms={"ask": round(seconds * 1_000) + 20_000}) as (at, agents):
        answering = spawn(answer_all(agents), name="bench agents")
        pids = at.gateway.pool.worker_pids
        await asyncio.sleep(1)
        windows = {"idle": await watch(pids, seconds)}
        up = await at.place(count)
        windows["asking"] = await watch(pids, seconds)
        await answer_with(up, "2")
        windows["bridged"] = await watch(pids, seconds)
        await hang_up(up)
        up = await at.place(count)
        await answer_with(up, "1")
        recording = sum(
            any(what.state == "on" for _, what in at.journal.of(session.call_id, ev.RecorderObserved))
            for _, session in up
        )
        if recording < count:
            raise RuntimeError(f"only {recording} of {count} calls are being recorded")
        windows["recorded"] = await watch(pids, seconds)
        memory = [machine.resident_mb(pid) for pid in pids]
        control_mb = machine.resident_mb(os.getpid())
        gap = at.gateway.pool.worst_gap_ms
        await hang_up(up)
        answering.cancel()
    idle = windows["idle"]
    states = {
        name: {
            "workers_percent": window.workers,
            "per_call_percent": (window.workers - idle.workers) / count,
            "control_percent": window.control,
            "control_per_call_percent": (window.control - idle.control) / count,
            "phones_percent": window.phones,
            "others_percent": window.others,
        }
        for name, window in windows.items()
    }
    return {
        "calls": count,
        "workers": len(pids),
        "states": states,
        "worker_rss_mb": {"mean": sum(memory) / len(memory), "max": max(memory)},
        "control_rss_mb": control_mb,
        "worst_gap_p99_ms": gap,
    }


async def measure_peer(folder: Path, counts: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Measure the bare pjsua2 process, idle and with so many calls."""
    prompts = support.write_prompts(folder / "peer", lengths_ms={"ask": round(seconds * 1_000) + 20_000})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.peer", str(prompts / "en" / "ask.wav")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    port = 0
    while not port:  # the library writes its own lines before the peer's
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the bare pjsua2 process did not come up")
        if line.startswith(b"port "):
            port = int(line.split()[1])
    await asyncio.sleep(1)
    idle = await watch((process.pid,), seconds)
    rows = []
    async with await Softphone.open() as phone:
        up: list[Call] = []
        for count in counts:
            while len(up) < count:
                call = await phone.call(f"sip:peer@127.0.0.1:{port}")
                call.audio_source = numbered.source
                await call.answered(10)
                up.append(call)
            await asyncio.sleep(SETTLE_S)
            heard = [len(call.received) for call in up]
            window = await watch((process.pid,), seconds)
            packets = [len(call.received) - already for call, already in zip(up, heard, strict=True)]
            silent = sum(not call.received[-1][3].strip(b"\xff\x7f") for call in up)
            if silent or min(packets) < 45 * seconds:
                raise RuntimeError(f"the bare pjsua2 process did not play: {packets} packets, {silent} silent")
            rows.append({"calls": count, "per_call_percent": (window.workers - idle.workers) / count})
            rows[-1]["process_percent"] = window.workers
            rows[-1]["others_percent"] = window.others
        memory = machine.resident_mb(process.pid)
    process.stdin.close()
    await process.wait()
    return {"idle_percent": idle.workers, "rows": rows, "rss_mb": memory}


async def library() -> dict[str, Any]:
    """Ask the loaded library itself, in a process of its own."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.adapters.sip.library"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asked.communicate()
    return dict(json.loads(said.splitlines()[-1]))


async def run(folder: Path, quick: bool) -> dict[str, Any]:
    seconds = 3.0 if quick else 10.0
    loaded = await library()
    dialogs = int(loaded["max_calls"])
    peer = await measure_peer(folder, tuple(dict.fromkeys((1, min(4, dialogs)))), seconds)
    rows = []
    for count in COUNTS:
        place = folder / f"calls{count}"
        place.mkdir()
        rows.append(await measure(place, count, seconds))
    bare = peer["rows"][-1]["per_call_percent"]  # one call of it is too little to be measured steadily
    for row in rows:
        for state in ("asking", "bridged", "recorded"):
            row["states"][state]["ratio_to_peer"] = row["states"][state]["per_call_percent"] / bare
        for state in row["states"].values():
            per_worker = state["workers_percent"] / row["workers"]
            state["process_ratio_to_peer"] = per_worker / peer["rows"][-1]["process_percent"]
    full = rows[-1]
    recorded = full["states"]["recorded"]
    return {
        "window_s": seconds,
        "library": {"pjsua2": loaded["version"], "dialogs_per_process": dialogs},
        "calls_per_worker": dialogs // 2,
        "peer": peer,
        "measured": rows,
        "calls_per_core": {
            "workers_only": 100 * full["calls"] / recorded["workers_percent"],
            "workers_and_control": 100 * full["calls"] / (recorded["workers_percent"] + recorded["control_percent"]),
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    peer, loaded = found["peer"], found["library"]
    print(f"CPU in per cent of one core over {found['window_s']:.0f} s; per call: less the idle pool")
    print(f"{'':34}{'workers':>9}{'per call':>10}{'ratio':>8}{'control':>9}{'phones':>8}{'others':>8}")
    print(f"{'bare pjsua2, idle':34}{peer['idle_percent']:9.2f}")
    base = peer["rows"][-1]["per_call_percent"]
    for row in peer["rows"]:
        name = f"bare pjsua2 plays a file, {row['calls']} up"
        each = row["per_call_percent"]
        print(
            f"{name:34}{row['process_percent']:9.2f}{each:10.2f}{each / base:8.2f}{'':17}{row['others_percent']:8.1f}"
        )
    for row in found["measured"]:
        for state, seen in row["states"].items():
            name = f"{row['calls']} calls, {row['workers']} workers: {state}"
            each = f"{seen['per_call_percent']:10.2f}{seen['ratio_to_peer']:8.2f}" if state != "idle" else " " * 18
            tail = f"{seen['control_percent']:9.2f}{seen['phones_percent']:8.1f}{seen['others_percent']:8.1f}"
            print(f"{name:34}{seen['workers_percent']:9.2f}{each}{tail}")
    whole = found["measured"][-1]["states"]["recorded"]["process_ratio_to_peer"]
    print(
        f"a whole worker with {found['measured'][-1]['calls'] // found['measured'][-1]['workers']} recorded calls "
        f"takes {whole:.1f} times the bare process with {peer['rows'][-1]['calls']} calls, idle cost included"
    )
    for row in found["measured"]:
        rss = row["worker_rss_mb"]
        print(
            f"memory at {row['calls']} calls: {rss['mean']:.0f} MB a worker (most {rss['max']:.0f}), control with the "
            f"phones {row['control_rss_mb']:.0f} MB, peer {peer['rss_mb']:.0f} MB; "
            f"worst p99 gap between conference ticks {row['worst_gap_p99_ms']:.1f} ms (20 is perfect)"
        )
    per_core = found["calls_per_core"]
    print(
        f"calls per worker: {found['calls_per_worker']} (pjsua2 {loaded['pjsua2']} allows "
        f"{loaded['dialogs_per_process']} dialogs a process, a call is two)"
    )
    print(
        f"recorded calls per core, extrapolated from CPU: {per_core['workers_only']:.0f} by the workers with their "
        f"idle cost, {per_core['workers_and_control']:.0f} with the control process"
    )
