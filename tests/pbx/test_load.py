"""Two hundred calls at five a second through one gateway and one Asterisk: all asked, all right, nothing leaked."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from gateway.adapters.softphone import Call
from gateway.app.tasks import spawn
from tests.e2e.test_kill import verify_all
from tests.pbx.figures import FIGURES
from tests.pbx.scene import Scene, heard, hears_only, speaking
from tests.pbx.served import served
from tests.support.mixed import AGENT, PERSON
from tests.support.serving import children

pytestmark = pytest.mark.slow
CALLS, PER_SECOND = 200, 5
ANSWERS = {"1": "granted", "2": "refused", "": "unanswered"}


def processor_s(*pids: int) -> float:
    """Processor time that processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(*pids: int) -> float:
    """Memory that processes have of their own, and their share of the rest."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def one_call(s: Scene, key: str) -> str:
    """Call, answer by *key* (or not at all), talk for a second, hang up. Returns the verdict the agent was told."""
    caller = speaking(await s.outside.call(s.switch.sip, from_number="+4915550100"), PERSON)
    await caller.until(lambda: len(caller.received) > 25, 20)
    if key:
        await caller.send_digit(key, 80)
    await caller.until(lambda: hears_only(caller, AGENT), 30)
    await asyncio.sleep(1)
    await caller.hang_up()
    return ANSWERS[key]


async def answer_all(s: Scene, told: list[tuple[str, str]]) -> None:
    """The agents take every call, and note what they were told: call id and verdict."""
    while True:
        leg: Call = speaking(await s.agent.incoming(60), AGENT)
        headers = {name.lower(): value for name, value in leg.headers}
        told.append((headers.get("x-consent-call-id", ""), headers.get("x-consent-verdict", "")))
        await leg.accept()


async def test_two_hundred_calls_at_five_a_second(tmp_path: Path) -> None:
    async with served(tmp_path, calls=24) as (s, process):
        assert process.process is not None and s.switch.process is not None
        gateway = process.process.pid, *children(process.process.pid)
        before = processor_s(*gateway), processor_s(s.switch.process.pid)
        told: list[tuple[str, str]] = []
        answering = spawn(answer_all(s, told), name="agents")
        keys = random.Random(22).choices(list(ANSWERS), weights=(6, 2, 2), k=CALLS)
        calling = []
        for key in keys:
            calling.append(spawn(one_call(s, key), name="call"))
            await asyncio.sleep(1 / PER_SECOND)
        wanted = await asyncio.gather(*calling)
        await s.all_over()
        answering.cancel()
        FIGURES["processor ms a call: gateway, Asterisk"] = [
            1000 * (processor_s(*gateway) - before[0]) / CALLS,
            1000 * (processor_s(s.switch.process.pid) - before[1]) / CALLS,
        ]
        FIGURES["memory MB after 200 calls: gateway (13 processes), Asterisk"] = [
            memory_mb(*gateway),
            memory_mb(s.switch.process.pid),
        ]
        assert await process.stop() == 0
        assert Counter(verdict for _, verdict in told) == Counter(wanted)
        files = {path.name.partition("-")[0]: path for path in s.switch.recordings()}
        assert set(files) == {call_id for call_id, verdict in told if verdict == "granted"}
        for call_id, path in files.items():
            assert {PERSON, AGENT} in heard(path), call_id
        assert len(await verify_all(tmp_path)) == CALLS
