"""The gateway as a process of its own beside a real Asterisk, and killed: the call goes on, what is on disk is true."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.adapters.softphone import Softphone
from tests.e2e.test_kill import verify_all
from tests.pbx.scene import AGENT, PERSON, Scene, heard, hears, level, speaking
from tests.support import asterisk
from tests.support.ami import logged_in
from tests.support.serving import Served

pytestmark = pytest.mark.slow
SECRET = 0x10


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Scene, Served]]:
    """A PBX whose gateway is a process of its own. The scene's gateway phone is not used."""
    async with (
        await Softphone.open(user="unused") as unused,
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
    ):
        process = Served(folder, agent.address)
        async with asterisk.running(
            gateway=f"127.0.0.1:{process.sip_port}", agent=agent.address, trunk=outside.address
        ) as switch:
            secret = switch.secrets["consent-gateway"]
            (folder / "ami.secret").write_text(f"{secret}\n")
            process.config.write_text(
                f'{process.config.read_text()}[[asterisk]]\nami = "127.0.0.1:{switch.ami_port}"\n'
                f'secret_file = "{folder / "ami.secret"}"\nsource = "127.0.0.1:{switch.sip_port}"\n'
                f'agents = ["PJSIP/agent"]\nspool = "{switch.spool / "monitor"}"\n'
            )
            await process.start()
            try:
                async with logged_in(switch.ami_port, "consent-gateway", secret) as observer:
                    await switch.cli_until("pjsip show contacts", " Avail ")
                    yield Scene(switch, unused, agent, outside, observer, None, observer), process  # type: ignore[arg-type]
            finally:
                await process.stop()
                process.kill_workers()


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
        speaking(caller, SECRET)
        await agent.until(lambda: hears(agent, SECRET), 5)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await s.all_over()
        kept = heard(s.switch.recordings()[0])
        assert level(PERSON) + level(AGENT) in kept
        assert not kept & {level(SECRET), level(SECRET) + level(AGENT)}
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-2:] == ["call.recovered", "call.ended"]
