"""The `asterisk` path beside what anybody gets from the same Asterisk in the same run: a bare AMI client, a menu."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from gateway.adapters.softphone import Call
from gateway.domain import commands as do
from tests.pbx.scene import Scene, hears_only, speaking
from tests.pbx.served import served
from tests.pbx.whole import Whole, whole
from tests.support.ami import Ami, Packet, logged_in
from tests.support.mixed import AGENT, PERSON
from tests.support.serving import children

TALK_S = 1.0
NOTICE_MS = 300
"""Length of the rig's "thank you": it is heard to its end before the call goes on."""


@dataclass
class Found:
    """Milliseconds, by what was measured and whose they are."""

    ours: dict[str, list[float]] = field(default_factory=dict)
    bare: dict[str, list[float]] = field(default_factory=dict)

    def note(self, whose: dict[str, list[float]], what: str, from_ns: int, to_ns: int) -> None:
        whose.setdefault(what, []).append((to_ns - from_ns) / 1e6)


async def when(ami: Ami, name: str, after: int, **fields: str) -> int:
    """Wait for an event past number *after* and return when it was read."""

    def found() -> int | None:
        wanted = {"Event": name, **fields}.items()
        return next((n for n in range(after, len(ami.events)) if wanted <= ami.events[n].items()), None)

    async with asyncio.timeout(15):
        while (number := found()) is None:  # noqa: ASYNC110 (a few events a call; the clock is the reader's)
            await asyncio.sleep(0.002)
    return ami.arrived_ns[number]


async def press(call: Call, digit: str) -> int:
    """Press a key, and return when it went down."""
    down = time.monotonic_ns()
    await call.send_digit(digit, 80)
    return down


async def our_call(w: Whole, found: Found) -> None:
    """One call through the gateway: yes, a pause by key, one over the use case."""
    observer = w.observer
    after = len(observer.events)
    caller, session = await w.call()
    await w.asked(session)
    down = await press(caller, "1")
    agent = await w.agent_answers()
    started = await when(observer, "MixMonitorStart", after)
    ((opened, _),) = w.journal.of(session.call_id, do.OpenRecorder)
    found.note(found.ours, "digit to recorder started, less the notice", down + NOTICE_MS * 1_000_000, started)
    found.note(found.ours, "allowed to recorder started", opened, started)
    await w.connected(caller, agent)
    for key in "*7":
        await press(agent, key)
        await asyncio.sleep(0.1)
    after = len(observer.events)
    down = await press(agent, "1")
    found.note(found.ours, "key down to muted", down, await when(observer, "MixMonitorMute", after))
    for key in "*72":
        await press(agent, key)
        await asyncio.sleep(0.1)
    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
    asked = time.monotonic_ns()
    outcome = await w.gateway.switchboard.pause(session.call_id, actor="agent:bench", reason="agent_key")
    assert outcome.observed
    found.note(found.ours, "pause asked for to observed", asked, time.monotonic_ns())
    await caller.hang_up()
    await asyncio.wait_for(session.over.wait(), 15)


async def bare_call(w: Whole, bare: Ami, found: Found) -> None:
    """The same with a client that does nothing else: a key starts a MixMonitor, another mutes it. *bare* may start one;
    it is told of keys and recorders over the other user's connection."""
    events = w.observer
    after = len(events.events)
    call = await w.outside.call(f"sip:7400@127.0.0.1:{w.switch.sip_port}", from_number="+4915550100")
    await call.answered(10)
    await when(events, "Newchannel", after)
    channel = next(event["Uniqueid"] for event in events.events[after:] if event["Event"] == "Newchannel")
    after = len(events.events)
    down = time.monotonic_ns()
    sending = call.send_digit("1", 80)
    await when(events, "DTMFBegin", after, Digit="1")
    answer: Packet = await bare.action("MixMonitor", Channel=channel, File="bare.wav", Options="i(BARE)")
    assert answer["Response"] == "Success"
    found.note(
        found.bare, "digit to recorder started, less the notice", down, await when(events, "MixMonitorStart", after)
    )
    await sending
    recorder = await w.observer.variable(channel, "BARE")
    after = len(events.events)
    down = time.monotonic_ns()
    sending = call.send_digit("2", 80)
    await when(events, "DTMFEnd", after, Digit="2")
    mute = {"Channel": channel, "Direction": "both", "State": "1", "MixMonitorID": recorder}
    asked = time.monotonic_ns()
    await events.action("MixMonitorMute", **mute)
    found.note(found.bare, "pause asked for to observed", asked, time.monotonic_ns())
    found.note(found.bare, "key down to muted", down, await when(events, "MixMonitorMute", after))
    await sending
    await call.hang_up()


async def processor_ms(s: Scene, pids: tuple[int, ...], one: Callable[[], Awaitable[None]], calls: int) -> float:
    """Processor milliseconds a call that *pids* used for calls made one after the other, the idle cost taken off."""
    begun, before = time.monotonic(), machine.processes_cpu(pids)
    await asyncio.sleep(5)
    idle = (machine.processes_cpu(pids) - before) / (time.monotonic() - begun)
    begun, before = time.monotonic(), machine.processes_cpu(pids)
    for _ in range(calls):
        await one()
    await s.all_over()
    used = machine.processes_cpu(pids) - before - idle * (time.monotonic() - begun)
    return 1000 * used / calls


async def one_call(s: Scene, uri: str, wait_packets: int) -> None:
    """Say yes to whoever asks, talk, hang up."""
    caller = speaking(await s.outside.call(uri, from_number="+4915550100"), PERSON)
    await caller.until(lambda: len(caller.received) > wait_packets, 20)
    await caller.send_digit("1", 80)
    agent = speaking(await s.agent.incoming(20), AGENT)
    await agent.accept()
    await caller.until(lambda: hears_only(caller, AGENT), 20)
    await asyncio.sleep(TALK_S)
    await caller.hang_up()


async def run(folder: Path, quick: bool) -> dict[str, Any]:
    """Measure. Needs the Asterisk of `make asterisk`."""
    calls = 3 if quick else 25
    found = Found()
    (folder / "whole").mkdir()
    async with whole(folder / "whole", judged=False) as w:
        secret = w.switch.secrets["consent-gateway-recorder"]
        async with logged_in(w.switch.ami_port, "consent-gateway-recorder", secret) as bare:
            for _ in range(calls):
                await our_call(w, found)
                await bare_call(w, bare, found)
    (folder / "served").mkdir()
    async with served(folder / "served", calls=2, judged=False) as (s, process):
        assert process.process is not None and s.switch.process is not None
        gateway, switch = (process.process.pid, *children(process.process.pid)), (s.switch.process.pid,)
        menu = f"sip:7700@127.0.0.1:{s.switch.sip_port}"
        count = 2 if quick else 10
        cost = {
            "gateway": await processor_ms(s, gateway, lambda: one_call(s, s.switch.sip, 30), count),
            "Asterisk, with the gateway asking": await processor_ms(
                s, switch, lambda: one_call(s, s.switch.sip, 30), count
            ),
            "Asterisk, Read() and MixMonitor": await processor_ms(s, switch, lambda: one_call(s, menu, 10), count),
        }
    return {"calls": calls, "ours": summary(found.ours), "bare": summary(found.bare), "processor_ms_a_call": cost}


def summary(values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"n": len(found), "p50_ms": machine.quantile(found, 0.5), "p99_ms": machine.quantile(found, 0.99)}
        for name, found in values.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{'':46}{'n':>4}{'p50 ms':>9}{'p99 ms':>9}{'x bare p50':>12}")
    for name, row in found["ours"].items():
        bare = found["bare"].get(name)
        ratio = f"{row['p50_ms'] / bare['p50_ms']:12.1f}" if bare else ""
        print(f"{name:46}{row['n']:4}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{ratio}")
        if bare:
            print(f"{'  a bare AMI client':46}{bare['n']:4}{bare['p50_ms']:9.2f}{bare['p99_ms']:9.2f}{1:12.1f}")
    base = found["processor_ms_a_call"]["Asterisk, Read() and MixMonitor"]
    print(f"processor, calls of about {TALK_S + 3:.0f} s one after the other:")
    for name, cost in found["processor_ms_a_call"].items():
        print(f"{name:46}{cost:9.1f} ms a call {cost / base:8.1f}")
