"""The gateway as a process of its own beside a real Asterisk, and killed: the call goes on, what is on disk is true."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.test_kill import verify_all
from tests.pbx.scene import heard
from tests.pbx.served import served
from tests.support.cast import still_hear
from tests.support.mixed import AGENT, PERSON

pytestmark = pytest.mark.slow


async def test_a_gateway_killed_in_the_prompt_costs_nobody_his_call(tmp_path: Path) -> None:
    async with served(tmp_path) as (s, process):
        caller = await s.call()
        await caller.until(lambda: len(caller.received) > 20, 10)
        await process.kill_control()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.nothing_recorded()
        await process.start()
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-2:] == ["call.recovered", "call.ended"] and "recorder.command" not in kinds


async def test_a_gateway_killed_in_the_call_stops_its_recorder_when_it_is_back(tmp_path: Path) -> None:
    async with served(tmp_path) as (s, process):
        caller = await s.call()
        await caller.until(lambda: len(caller.received) > 20, 10)
        await caller.send_digit("1", 80)
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        channel = (await s.observer.event("MixMonitorStart"))["Uniqueid"]
        await process.kill_control()
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        await process.start()
        async with asyncio.timeout(5):
            while await s.recorders(channel):  # noqa: ASYNC110 (Asterisk's console calls nobody back)
                await asyncio.sleep(0.05)
        assert await s.observer.variable(channel, "CONSENT_VERDICT") == "unknown"
        await still_hear(caller, agent)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await s.all_over()
        assert {PERSON, AGENT} in heard(s.switch.recordings()[0])
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-2:] == ["call.recovered", "call.ended"]
