"""A registry that somebody else has locked: calls are answered, asked and paused all the same (invariant 4)."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.adapters.store import registry_database
from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.api.app import make_app
from gateway.app.tasks import spawn
from gateway.evidence.bundle import verify_bundle
from gateway.ports import media
from gateway.ports.keys import FakeKeyStore, RecordingKey
from gateway.ports.registry import RegistryUnavailable
from tests.unit.app.desk import AGENT, CALL, CALLER, Desk

RECORDING = f"{CALL}-1"
FILE = "registry.db"


@contextlib.contextmanager
def locked(folder: Path, how: str = "EXCLUSIVE") -> Iterator[None]:
    """Another program writes to the registry and does not come to an end."""
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute(f"BEGIN {how}")
    other.execute("DELETE FROM api_keys WHERE key_id = 'nobody'")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[RegistryDatabase]:
    opened = RegistryDatabase(tmp_path / FILE)
    yield opened
    await opened.aclose()


@pytest.fixture
async def desk(tmp_path: Path, database: RegistryDatabase) -> AsyncIterator[Desk]:
    """A desk whose registry is a real file."""
    opened = await Desk(tmp_path, registry=SqliteCallRegistry(database)).open()  # type: ignore[arg-type]
    yield opened
    await opened.board.drain(cause="test over", wait_s=0.1)


async def test_a_call_is_answered_asked_and_connected(desk: Desk, tmp_path: Path) -> None:
    begun = time.monotonic()
    with locked(tmp_path):
        await desk.talks()
        assert time.monotonic() - begun < 1.0, "nothing of the call waited for the lock"
        assert not desk.sent(media.RecordOpen), "no recorder without a registry that has its key"
    opened = await desk.sends(media.RecordOpen)
    desk.gate("on")
    await desk.ends()
    assert opened.recording == RECORDING
    assert (await desk.registry.recording(RECORDING)).state == "closed"
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_an_agents_pause_is_answered(desk: Desk, database: RegistryDatabase, tmp_path: Path) -> None:
    _, clear = await SqliteApiKeys(database).create("anna", "agent", "anna")
    app = make_app(desk.board, SqliteApiKeys(database), desk.policies, is_ready=list)
    headers = {"Authorization": f"Bearer {clear}"}
    await desk.records()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        with locked(tmp_path):
            waits = [spawn(desk.registry.call_verdict(CALL, "granted"), name="change") for _ in range(3)]
            begun = time.monotonic()
            asked = spawn(client.post("/v1/agents/anna/pause"), name="pause")
            assert (await desk.sends(media.RecordPause)).recording == RECORDING
            desk.gate("paused")
            answer = await asked
            assert time.monotonic() - begun < 1.0
            assert not any(change.done() for change in waits), "changes wait for the lock"
        await asyncio.gather(*waits)
    assert (answer.status_code, answer.json()["observed"], answer.json()["recorder"]) == (200, True, "paused")


async def test_a_pause_goes_before_the_recorder_that_is_not_open_yet(desk: Desk, tmp_path: Path) -> None:
    with locked(tmp_path):
        await desk.talks()
        outcome = spawn(desk.board.pause(CALL, actor="anna"), name="pause")
        await desk.until(lambda: desk.board.views()[0]["holds"])
        await desk.until(lambda: "pause" in [facts["command"] for facts in desk.facts("recorder.command")])
        assert not desk.sent(media.RecordPause), "nobody can pause what is not there"
    await desk.sends(media.RecordPause)
    sent = [type(command) for command in desk.server.sent]
    assert sent.index(media.RecordPause) == sent.index(media.RecordOpen) + 1
    desk.gate("paused")
    assert (await outcome).observed


@pytest.mark.parametrize("how", ["caller withdraws", "caller hangs up"])
async def test_a_recorder_that_is_not_wanted_any_more_is_never_opened(desk: Desk, tmp_path: Path, how: str) -> None:
    with locked(tmp_path):
        await desk.talks()
        await desk.until(lambda: desk.facts("recorder.command"))
        if how == "caller withdraws":
            assert (await desk.board.withdraw(CALL, actor="anna")).observed
            assert desk.board.views()[0]["verdict"] == "withdrawn"
        else:
            desk.report(media.LegEnded, CALLER, 200, "remote")
        await desk.until(lambda: desk.facts("recording.closed"))
    desk.report(media.LegEnded, CALLER, 200, "remote")
    desk.report(media.LegEnded, AGENT, 200, "local")
    await desk.over()
    for _ in range(500):
        states = [record.state for record in await desk.registry.recordings(CALL)]
        if states == ["destroyed"]:
            break
        await asyncio.sleep(0.01)
    assert states == ["destroyed"], "its key is not kept for nothing"
    assert not desk.sent(media.RecordOpen) and not desk.sent(media.RecordClose)
    assert desk.facts("recording.closed") == [
        {
            "recording": RECORDING,
            "failed": "",
            "purged": False,
            "sha256": "",
            "size": 0,
            "frames": 0,
            "checked": "no file",
            "spans": [],
        }
    ]
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_a_registry_that_stays_locked_leaves_the_call_unrecorded(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_database, "PATIENCE_S", 0.1)
    with locked(tmp_path):
        await desk.talks()
        await desk.until(lambda: desk.facts("recording.closed"))
        assert desk.facts("recording.closed")[0]["failed"] == "the registry did not take the recording's key"
        assert not desk.sent(media.RecordOpen) and not desk.sent(media.HangUp)
        desk.report(media.LegEnded, CALLER, 200, "remote")
        desk.report(media.LegEnded, AGENT, 200, "local")
        await desk.over()
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


class BrokenKeys(FakeKeyStore):
    """A key store whose disk is gone."""

    def new_recording_key(self, recording: str) -> RecordingKey:
        raise OSError("no disk")


async def test_a_recorder_that_cannot_be_opened_is_a_failed_recording(desk: Desk) -> None:
    desk.services.keys = BrokenKeys()
    await desk.talks()
    await desk.until(lambda: desk.facts("recording.closed"))
    assert desk.facts("recording.closed")[0]["failed"] == "the recorder could not be opened"
    assert not desk.sent(media.HangUp)


async def test_changes_wait_together_and_not_one_after_the_other(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_database, "PATIENCE_S", 0.3)
    with locked(tmp_path, "IMMEDIATE"):
        begun = time.monotonic()
        asked = [desk.registry.call_started(f"call{number}", policy="p") for number in range(10)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - begun < 1.0
    assert all(isinstance(answer, RegistryUnavailable) for answer in answers)
    assert "locked" in str(answers[0]) and str(tmp_path / FILE) in str(answers[0])
    await desk.registry.call_started("call1", policy="p")
