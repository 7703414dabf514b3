"""The gateway as a process of its own beside a real Asterisk, and killed: the call goes on, what is on disk is true."""

import asyncio
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.softphone import Call
from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.bootstrap import Folders
from gateway.ports.registry import PbxPlace, RecordingRecord
from tests.e2e.test_kill import recordings, verify_all
from tests.pbx.scene import Scene, heard
from tests.pbx.served import served
from tests.support.cast import still_hear
from tests.support.mixed import AGENT, PERSON
from tests.unit.cli.test_commands import run

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


async def recorded(s: Scene) -> tuple[Call, Call, str]:
    """A caller who said yes, the agent he talks to, and the channel that is recorded."""
    caller = await s.call()
    await caller.until(lambda: len(caller.received) > 20, 10)
    await caller.send_digit("1", 80)
    agent = await s.agent_answers()
    await s.connected(caller, agent)
    return caller, agent, (await s.observer.event("MixMonitorStart"))["Uniqueid"]


async def closed(folder: Path) -> tuple[dict[str, Any], RecordingRecord]:
    """What log and registry say of the one recording of a call that was recovered, as soon as they do."""
    folders = Folders(folder / "var")
    async with asyncio.timeout(10):
        while True:
            (call,) = EvidenceReader(folders.evidence).calls()
            facts = {entry.kind: dict(entry.facts) for entry in EvidenceReader(folders.evidence).entries(call.call_id)}
            if "call.ended" in facts:
                break
            await asyncio.sleep(0.05)
    (record,) = await recordings(folder, call.call_id)
    return facts["recording.closed"], record


def forget_the_file(folder: Path) -> None:
    """As if the gateway had been killed before it saw its recorder."""
    with sqlite3.connect(Folders(folder / "var").registry) as registry:
        registry.execute(
            "UPDATE recordings SET path = ? WHERE path LIKE 'asterisk:%.wav'", (str(PbxPlace("asterisk")),)
        )
        assert registry.execute("SELECT changes()").fetchone() == (1,)


@pytest.mark.parametrize("seen", [True, False], ids=["recorder seen", "killed before"])
async def test_a_gateway_killed_in_the_call_stops_its_recorder_when_it_is_back(tmp_path: Path, seen: bool) -> None:
    async with served(tmp_path) as (s, process):
        caller, agent, channel = await recorded(s)
        await process.kill_control()
        if not seen:
            forget_the_file(tmp_path)
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        await process.start()
        async with asyncio.timeout(5):
            while await s.recorders(channel):  # noqa: ASYNC110 (Asterisk's console calls nobody back)
                await asyncio.sleep(0.05)
        assert await s.observer.variable(channel, "CONSENT_VERDICT") == "unknown"
        facts, record = await closed(tmp_path)
        await still_hear(caller, agent)
        await asyncio.sleep(0.5)
        await caller.hang_up()
        await s.all_over()
        (file,) = s.switch.recordings()
        assert facts["sha256"] == record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (facts["size"], facts["file"], facts["failed"]) == (
            file.stat().st_size,
            file.name,
            "control process lost",
        )
        assert record.kept_by is not None and record.kept_by.file.endswith(f"consent/{file.name}")
        assert {PERSON, AGENT} in heard(file)
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-3:] == ["call.recovered", "recording.closed", "call.ended"]


async def test_a_call_that_ended_while_its_gateway_was_away_is_closed_with_its_whole_file(tmp_path: Path) -> None:
    async with served(tmp_path) as (s, process):
        caller, agent, _ = await recorded(s)
        await process.kill_control()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.all_over()
        await process.start()
        facts, record = await closed(tmp_path)
        (file,) = s.switch.recordings()
        assert facts["sha256"] == record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert facts["failed"] == "control process lost" and record.frames > 50
        verified = await asyncio.to_thread(
            run, "recordings", "verify", record.recording, "--config", process.config, "--json"
        )
        assert (verified.code, verified.json["ok"]) == (0, True)
        assert await process.stop() == 0
        await verify_all(tmp_path)


async def test_a_gateway_that_is_back_before_its_asterisk_can_be_seen_says_nothing_of_a_file_that_grows(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as (s, process):
        caller, agent, channel = await recorded(s)
        await process.kill_control()
        whole = process.config.read_text()
        process.config.write_text(whole.replace(f'ami = "127.0.0.1:{s.switch.ami_port}"', 'ami = "127.0.0.1:9"'))
        await process.start()
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-1] == "call.recovered" and "recording.closed" not in kinds
        process.config.write_text(whole)
        await process.start()
        facts, _ = await closed(tmp_path)
        (file,) = s.switch.recordings()
        assert await s.recorders(channel) == 0
        assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        await caller.hang_up()
        assert await process.stop() == 0
        ((_, kinds),) = (await verify_all(tmp_path)).items()
        assert kinds[-3:] == ["call.recovered", "recording.closed", "call.ended"]
