"""Group commit, waiting, failing and signing of the real log."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.adapters.store import schema, writer
from gateway.adapters.store.evidence_log import EvidenceReader, SqliteEvidenceLog
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.checkpoint import Verifier, parse_checkpoint, verify_checkpoint
from gateway.ports.evidence import EvidenceUnavailable

PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}
ORIGIN = "gateway.example/log"


def open_log(folder: Path) -> SqliteEvidenceLog:
    return SqliteEvidenceLog(folder / "evidence.db", folder / "keys", ORIGIN)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEvidenceLog]:
    opened = open_log(tmp_path)
    yield opened
    await opened.aclose()


async def test_appends_that_wait_together_share_a_commit(log: SqliteEvidenceLog) -> None:
    receipts = await asyncio.gather(*(log.append(f"call{number}", "call.arrived", PARTIES) for number in range(2_000)))
    assert sorted(receipt.index for receipt in receipts) == list(range(2_000))
    assert log.statistics.entries == 2_000
    assert log.statistics.commits < 200, "ten appends a commit at the very least"


async def test_one_append_at_a_time_is_one_commit_each_and_waits_for_no_timer(log: SqliteEvidenceLog) -> None:
    began = time.monotonic()
    for _ in range(20):
        await log.append("call1", "call.arrived", PARTIES)
    assert log.statistics.commits == 20
    assert time.monotonic() - began < 20 * 0.1


async def test_a_receipt_is_given_after_the_entry_can_be_read_back(log: SqliteEvidenceLog, tmp_path: Path) -> None:
    before = time.monotonic_ns()
    receipt = await log.append("call1", "call.arrived", PARTIES)
    assert before < receipt.durable_mono_ns < time.monotonic_ns()
    with schema.open_reader(tmp_path / "evidence.db").connect() as connection:
        found = connection.execute(sa.select(schema.entries.c.leaf_hash)).scalar_one()
    assert found == receipt.leaf_hash


async def test_the_database_writes_durably_and_overwrites_what_it_deletes(tmp_path: Path) -> None:
    with schema.open_engine(tmp_path / "x.db").connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 2, 1, 1]


async def test_nobody_else_can_read_the_log_or_its_key(log: SqliteEvidenceLog, tmp_path: Path) -> None:
    await log.append("call1", "call.arrived", PARTIES)
    for name in ("evidence.db", "evidence.db-wal", "keys/log.key", "keys/log.head"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    assert (tmp_path / "keys" / "log.pub").read_text() == log.verifier_key() + "\n"
    (tmp_path / "keys" / "log.key").chmod(0o644)
    await log.aclose()
    with pytest.raises(PermissionError, match="0600"):
        open_log(tmp_path)
    (tmp_path / "keys" / "log.key").chmod(0o600)
    open_log(tmp_path).close()


async def test_the_log_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = open_log(tmp_path)
    await first.append("call1", "call.arrived", PARTIES, {"caller_number": "1"})
    key = first.verifier_key()
    await first.aclose()
    second = open_log(tmp_path)
    assert second.verifier_key() == key
    receipt = await second.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    assert receipt.index == 1
    assert verify_bundle(await second.export("call1"), key).entries == 2
    assert not await second.fsck()
    await second.aclose()


async def test_an_idle_log_signs_its_head_by_itself(
    log: SqliteEvidenceLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_EVERY_S", 0.05)
    await log.append("call1", "call.arrived", PARTIES)
    head = tmp_path / "keys" / "log.head"
    for _ in range(100):
        if parse_checkpoint(head.read_text())[0].size == 1:
            break
        await asyncio.sleep(0.02)
    assert verify_checkpoint(head.read_text(), Verifier.parse(log.verifier_key())).size == 1


async def test_a_busy_log_signs_its_head_between_commits(
    log: SqliteEvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_LATEST_S", 0.0)
    for _ in range(5):
        await log.append("call1", "call.arrived", PARTIES)
    assert log.statistics.checkpoints >= 4


async def test_closing_signs_the_head_and_writes_what_waits(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    appending = [asyncio.ensure_future(log.append("call1", "call.arrived", PARTIES)) for _ in range(50)]  # noqa: TID251
    await asyncio.sleep(0)
    await log.aclose()
    assert [receipt.index for receipt in await asyncio.gather(*appending)] == list(range(50))
    assert parse_checkpoint((tmp_path / "keys" / "log.head").read_text())[0].size == 50
    with pytest.raises(EvidenceUnavailable, match="closed"):
        await log.append("call1", "call.arrived", PARTIES)


async def test_a_log_that_cannot_keep_up_says_so(log: SqliteEvidenceLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 0)
    with pytest.raises(EvidenceUnavailable, match="does not keep up"):
        await log.append("call1", "call.arrived", PARTIES)


async def test_a_failed_commit_fails_every_waiter_and_leaves_nothing_behind(
    log: SqliteEvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930123456"})

    def break_down(*_: object) -> None:
        raise sa.exc.OperationalError("INSERT", {"value": "+4930999999"}, Exception("disk I/O error"))

    with monkeypatch.context() as broken:
        broken.setattr(writer, "save_frontier", break_down)
        results = await asyncio.gather(
            *(log.append("call1", "a.b", {}, {"caller_number": "+4930999999"}) for _ in range(5)),
            return_exceptions=True,
        )
        assert all(type(result) is EvidenceUnavailable for result in results)
        assert "4930" not in " ".join(map(repr, results))
        assert len({id(result) for result in results}) == 5, "each waiter has an error of its own"
    receipt = await log.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    assert receipt.index == 1
    assert verify_bundle(await log.export("call1"), log.verifier_key()).entries == 2
    assert not await log.fsck()


async def test_a_fault_of_ours_does_not_leave_waiters_hanging(
    log: SqliteEvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(writer, "find_tail", lambda *_: 1 / 0)
        with pytest.raises(EvidenceUnavailable, match="ZeroDivisionError"):
            await log.append("call1", "call.arrived", PARTIES)
    await log.append("call1", "call.arrived", PARTIES)


async def test_erased_values_are_gone_from_the_disk(log: SqliteEvidenceLog, tmp_path: Path) -> None:
    secret = "a name that nobody may find any more"
    await log.append("call1", "call.arrived", PARTIES, {"caller_name": secret})
    files = [tmp_path / "evidence.db", tmp_path / "evidence.db-wal"]
    assert any(secret.encode() in file.read_bytes() for file in files)
    await log.erase_personal("call1", "request of the data subject")
    assert not any(secret.encode() in file.read_bytes() for file in files)
    assert not await log.fsck()


async def test_times_and_salts_come_from_the_ports(tmp_path: Path) -> None:
    log = SqliteEvidenceLog(
        tmp_path / "evidence.db",
        tmp_path / "keys",
        ORIGIN,
        clock=lambda: datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC),
        mono_ns=lambda: 42,
        randomness=lambda count: b"s" * count,
    )
    receipt = await log.append("call1", "call.arrived", PARTIES, {"caller_number": "1"})
    assert receipt.durable_mono_ns == 42
    assert (await log.entries("call1"))[0].at == "2026-01-02T03:04:05.678Z"
    assert b'"salt":"' + b"s".hex().encode() * 16 in await log.export("call1")
    await log.aclose()


async def test_a_reader_sees_the_log_while_it_is_written_and_when_it_is_closed(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    reader = EvidenceReader(tmp_path / "evidence.db")
    await log.append("call1", "call.arrived", PARTIES)
    assert reader.entries("call1") == await log.entries("call1")
    await log.aclose()
    assert [call.call_id for call in reader.calls()] == ["call1"]
    with pytest.raises(KeyError):
        reader.entries("nobody")
    with pytest.raises(EvidenceUnavailable, match="SQLITE_CANTOPEN"):
        EvidenceReader(tmp_path / "nothing.db").calls()
