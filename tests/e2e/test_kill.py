"""Processes killed and disks filled in the middle of calls: never a frame without durable evidence, never a caller cut
off by a dead control process, always a log that verifies, and a restart that takes over."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.recorder.reader import open_recording
from gateway.adapters.softphone import Call, Softphone
from gateway.adapters.store.evidence_log import EvidenceReader, SqliteEvidenceLog
from gateway.adapters.store.fsck import fsck
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.app.tasks import spawn
from gateway.bootstrap import Folders
from gateway.domain.call import Phase
from gateway.domain.commands import OpenRecorder
from gateway.evidence.bundle import verify_bundle
from gateway.ports.registry import RecordingRecord
from tests.support import gateway as support
from tests.support import numbered
from tests.support.serving import Served

RECORDED_TAIL_S = 3.2
"""A crash may take the last 3 s of a recording; 0.2 s more is the way to the disk."""


@asynccontextmanager
async def phones() -> AsyncIterator[tuple[Softphone, Softphone]]:
    async with await Softphone.open() as caller, await Softphone.open(user="agent") as agent:
        yield caller, agent


async def place(phone: Softphone, uri: str) -> Call:
    call = await phone.call(uri, from_number="+4915550100", audio_during_digit=True)
    call.audio_source = numbered.source
    await call.answered(10)
    return call


async def accept(phone: Softphone) -> Call:
    agent = await phone.incoming(15)
    agent.audio_source = numbered.source
    agent.stream.audio_during_digit = True
    await agent.accept()
    return agent


async def audio_flows(one: Call, other: Call, for_s: float = 1.0) -> bool:
    before = len(one.received), len(other.received)
    await asyncio.sleep(for_s)
    wanted = for_s * 50 * 0.7
    return len(one.received) - before[0] > wanted and len(other.received) - before[1] > wanted


async def recordings(folder: Path, call_id: str) -> list[RecordingRecord]:
    database = RegistryDatabase(Folders(folder / "var").registry)
    try:
        return list(await SqliteCallRegistry(database).recordings(call_id))
    finally:
        await database.aclose()


def sent_before(call: Call, record: RecordingRecord, folder: Path, begun_ns: int) -> list[int]:
    """When the packets of *call* that the recording holds were sent."""
    identity = FileKeyStore(Folders(folder / "var").keys).unwrap(record.recording, record.wrapped)
    samples = open_recording(record.path, identity).samples
    sent = dict(call.sent)
    return [sent[packet] for packet in numbered.packets(samples[:, 0], begun_ns, sent)]


async def verify_all(folder: Path) -> dict[str, list[str]]:
    """Check the log and every call's bundle, with the gateway gone; returns the kinds of entries per call."""
    folders = Folders(folder / "var")
    assert fsck(folders.evidence, folders.keys) == []
    log = SqliteEvidenceLog(folders.evidence, folders.keys, "consent-gateway/local")
    kinds = {}
    try:
        for logged in await log.calls():
            verify_bundle(await log.export(logged.call_id), log.verifier_key())
            kinds[logged.call_id] = [entry.kind for entry in await log.entries(logged.call_id)]
    finally:
        await log.aclose()
    for call_id, found in kinds.items():
        allowed = [i for i, kind in enumerate(found) if kind == "verdict"]
        for place_, kind in enumerate(found):
            assert kind != "recorder.observed" or (allowed and allowed[0] < place_), call_id
    return kinds


@pytest.mark.parametrize("moment_s", [0.2, 0.75, 1.4, 2.5, 4.5])
async def test_a_killed_worker_costs_its_call_and_nothing_else(tmp_path: Path, moment_s: float) -> None:
    async with phones() as (caller, agent):
        async with support.running(support.settings(tmp_path, agent.address)) as (gateway, journal):
            call = await place(caller, f"sip:sales@{gateway.front.address}")
            session = await support.session_of(gateway, "+4915550100")
            answering = spawn(accept(agent), name="agent")
            begun = time.monotonic()
            if moment_s > 0.6:
                await asyncio.sleep(0.65)
                await call.send_digit("1", 60)
            await asyncio.sleep(max(0.0, moment_s - (time.monotonic() - begun)))
            for pid in gateway.pool.worker_pids:
                os.kill(pid, signal.SIGKILL)
            killed_ns = time.monotonic_ns()
            await asyncio.wait_for(session.over.wait(), 10)
            assert str(session.call.verdict) in ("unanswered", "granted")
            answering.cancel()
            call.vanish()
            async with asyncio.timeout(10):
                while not gateway.pool.free_calls:  # noqa: ASYNC110 (the pool has no event for it)
                    await asyncio.sleep(0.05)
            again = await place(caller, f"sip:sales@{gateway.front.address}")
            await again.hang_up()
            records = await gateway.services.registry.recordings(session.call_id)
        kinds = (await verify_all(tmp_path))[session.call_id]
        assert kinds[-1] == "call.ended"
        for record in (record for record in records if record.size):
            opened_ns = journal.of(session.call_id, OpenRecorder)[0][0]
            identity = FileKeyStore(Folders(tmp_path / "var").keys).unwrap(record.recording, record.wrapped)
            audio = open_recording(record.path, identity)
            assert (killed_ns - opened_ns) / 1e9 - audio.duration_ms / 1000 < RECORDED_TAIL_S


async def test_a_dead_control_process_leaves_the_conversation_up_and_unrecorded(tmp_path: Path) -> None:
    async with phones() as (caller, agent_phone):
        served = Served(tmp_path, agent_phone.address)
        await served.start()
        call = await place(caller, served.sip)
        await asyncio.sleep(0.65)
        await call.send_digit("1", 60)
        agent = await accept(agent_phone)
        begun_ns = time.monotonic_ns()
        await asyncio.sleep(2.5)
        await served.kill_control()
        killed_ns = time.monotonic_ns()
        assert await audio_flows(call, agent, 3.0), "the conversation was cut"
        assert not call.is_over and not agent.is_over
        await served.start()
        fresh = await place(caller, served.sip)
        await asyncio.sleep(0.65)
        await fresh.send_digit("1", 60)
        fresh_agent = await accept(agent_phone)
        assert await audio_flows(fresh, fresh_agent) and await audio_flows(call, agent), (
            "old and new calls side by side"
        )
        await call.hang_up()
        await agent.ended(5)
        await fresh.hang_up()
        await fresh_agent.ended(5)
        await asyncio.sleep(0.5)
        assert await served.stop() == 0
    kinds = await verify_all(tmp_path)
    assert len(kinds) == 2
    old = next(call_id for call_id, found in kinds.items() if "call.recovered" in found)
    assert kinds[old][-1] == "call.ended"
    (record,) = await recordings(tmp_path, old)
    assert record.state == "closed" and record.size > 0
    times = sent_before(call, record, tmp_path, begun_ns)
    assert len(times) > 50, "what was recorded before is there"
    assert max(times) < killed_ns + 100_000_000, "nothing was recorded after control died"
    new = next(call_id for call_id in kinds if call_id != old)
    assert "recording.closed" in kinds[new]


@pytest.mark.parametrize("moment_s", [0.1, 0.5, 0.9])
async def test_a_caller_who_was_being_asked_reaches_the_agent_without_control(tmp_path: Path, moment_s: float) -> None:
    async with phones() as (caller, agent_phone):
        served = Served(tmp_path, agent_phone.address)
        await served.start()
        call = await place(caller, served.sip)
        await asyncio.sleep(moment_s)
        await served.kill_control()
        agent = await accept(agent_phone)
        assert await audio_flows(call, agent)
        await agent.hang_up()
        await call.ended(5)
        await served.start()
        assert await served.stop() == 0
    (kinds,) = (await verify_all(tmp_path)).values()
    assert kinds[-1] == "call.ended" and "recorder.observed" not in kinds
    assert list((tmp_path / "var" / "recordings").iterdir()) == []


async def test_both_killed_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(20261124)
    async with phones() as (caller, agent_phone):
        served = Served(tmp_path, agent_phone.address)
        for _ in range(6):
            await served.start()
            call = await place(caller, served.sip)
            answering = spawn(accept(agent_phone), name="agent")
            moment_s = rng.uniform(0, 4)
            await asyncio.sleep(min(moment_s, 0.65))
            if moment_s > 0.65:
                await call.send_digit("1", 60)
                await asyncio.sleep(moment_s - 0.65)
            first, second = rng.sample([served.kill_control, None], 2)
            for act in (first, second):
                if act is None:
                    served.kill_workers()
                else:
                    await act()
            answering.cancel()
            call.vanish()
            for left in agent_phone.calls:
                left.vanish()
        await served.start()
        assert await served.stop() == 0
    kinds = await verify_all(tmp_path)
    assert kinds and all(found[-1] == "call.ended" for found in kinds.values())
    for call_id in kinds:
        for record in await recordings(tmp_path, call_id):
            assert record.state in ("closed", "destroyed")
            if record.size:
                identity = FileKeyStore(Folders(tmp_path / "var").keys).unwrap(record.recording, record.wrapped)
                open_recording(record.path, identity)


# --- disk full ---


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of *size* at *folder*: a full disk, not a pretended one."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing fits any more."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for block in (65_536, 4_096, 512, 1):
            try:
                while True:
                    file.write(b"\0" * block)
            except OSError:
                continue
    return path


@pytest.mark.parametrize("when", ["asking", "recording", "paused"])
async def test_a_full_disk_stops_the_recording_and_not_the_call(tmp_path: Path, when: str) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        async with (
            phones() as (caller, agent_phone),
            support.running(support.settings(disk, agent_phone.address)) as (gateway, _),
        ):
            async with asyncio.timeout(60):
                call = await place(caller, f"sip:sales@{gateway.front.address}")
                session = await support.session_of(gateway, "+4915550100")
                filler = await asyncio.to_thread(fill, disk / "var") if when == "asking" else None
                await asyncio.sleep(0.65)
                await call.send_digit("1", 60)
                agent = await accept(agent_phone)
                assert await session.wait_for(lambda: session.call.phase is Phase.TALKING, 10_000)
                if when != "asking":
                    assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
                    await asyncio.sleep(1.0)
                if when == "paused":
                    await gateway.switchboard.pause(session.call_id, actor="test")
                if filler is None:
                    filler = await asyncio.to_thread(fill, disk / "var")
                if when == "paused":
                    outcome = await gateway.switchboard.resume(session.call_id, actor="test")
                    assert not (outcome.accepted and outcome.observed), "resumed without durable evidence"
                assert await audio_flows(call, agent, 3.0), "the call was cut by a full disk"
                assert session.call.recorder.observed == "off" or not session.call.provable or when == "recording"
                assert await session.wait_for(lambda: session.call.recorder.observed == "off", 8_000)
                await call.hang_up()
                await asyncio.wait_for(session.over.wait(), 15)
                filler.unlink()
                again = await place(caller, f"sip:sales@{gateway.front.address}")
                later = next(s for s in gateway.switchboard.sessions.values() if s is not session)
                await asyncio.sleep(0.65)
                await again.send_digit("1", 60)
                await accept(agent_phone)
                assert await later.wait_for(lambda: later.call.recorder.observed == "on", 8_000), (
                    "space again: recorded"
                )
                await again.hang_up()
                await asyncio.wait_for(later.over.wait(), 15)
        kinds = await verify_all(disk)
        assert kinds[later.call_id][-1] == "call.ended"


def test_a_reader_sees_the_log_beside_the_gateway(tmp_path: Path) -> None:
    """`EvidenceReader` needs no lock: the night shift can look while the gateway runs."""
    log = SqliteEvidenceLog(tmp_path / "evidence.db", tmp_path / "keys", "test/log")
    try:
        asyncio.run(log.append("01M877PC266RB7879CZY42H3DF", "call.arrived", {"parties": []}))
        assert [call.entries for call in EvidenceReader(tmp_path / "evidence.db").calls()] == [1]
    finally:
        log.close()
