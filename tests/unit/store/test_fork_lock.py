"""The log refuses to sign a second history, and says why."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.adapters.store import schema
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.evidence.checkpoint import Checkpoint, sign_checkpoint
from gateway.evidence.merkle import EMPTY_ROOT
from gateway.ports.evidence import EvidenceUnavailable, ForkDetected

PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}
ORIGIN = "gateway.example/log"


def open_log(folder: Path, origin: str = ORIGIN) -> SqliteEvidenceLog:
    return SqliteEvidenceLog(folder / "evidence.db", folder / "keys", origin)


async def write(folder: Path, count: int) -> None:
    log = open_log(folder)
    for _ in range(count):
        await log.append("call1", "call.arrived", PARTIES)
    await log.aclose()


async def test_a_second_instance_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(ForkDetected, match="second instance"):
        open_log(tmp_path)
    with pytest.raises(ForkDetected, match=r"second instance signs with this key"):
        SqliteEvidenceLog(tmp_path / "copy.db", tmp_path / "keys", ORIGIN)
    await log.aclose()
    open_log(tmp_path).close()


async def test_a_restored_backup_is_refused(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    shutil.copy(tmp_path / "evidence.db", tmp_path / "backup.db")
    await write(tmp_path, 2)
    shutil.copy(tmp_path / "backup.db", tmp_path / "evidence.db")
    with pytest.raises(ForkDetected, match=r"holds 3 entries, but a tree of 5 was signed.*restored from a backup"):
        open_log(tmp_path)


async def test_a_restored_backup_that_grew_again_is_refused(tmp_path: Path) -> None:
    """Two histories of one log: the copy went on elsewhere, with another head, and came back longer."""
    await write(tmp_path, 3)
    shutil.copytree(tmp_path, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("elsewhere"))
    await write(tmp_path, 2)
    await write(tmp_path / "elsewhere", 9)
    shutil.copy(tmp_path / "elsewhere" / "evidence.db", tmp_path / "evidence.db")
    with pytest.raises(ForkDetected, match=r"the first 5 entries of the database are not those.*another history"):
        open_log(tmp_path)


async def test_a_new_database_under_an_old_key_is_refused(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    (tmp_path / "evidence.db").unlink()
    with pytest.raises(ForkDetected, match="holds 0 entries, but a tree of 3"):
        open_log(tmp_path)


async def test_a_missing_or_damaged_head_is_refused(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    head = tmp_path / "keys" / "log.head"
    good = head.read_bytes()
    for bad, says in (
        (good[:-9], "does not fit"),
        (good.replace(b"\n3\n", b"\n2\n"), "does not fit"),
        (b"\xff", "damaged"),
    ):
        head.write_bytes(bad)
        with pytest.raises(ForkDetected, match=says):
            open_log(tmp_path)
    head.unlink()
    with pytest.raises(ForkDetected, match="holds 3 entries, but the file that says what was signed last is missing"):
        open_log(tmp_path)
    head.write_bytes(good)
    open_log(tmp_path).close()


async def test_a_missing_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    (tmp_path / "keys" / "log.key").unlink()
    with pytest.raises(FileNotFoundError):
        open_log(tmp_path)
    assert not (tmp_path / "keys" / "log.key").exists()


async def test_another_log_or_key_is_refused(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    (tmp_path / "keys" / "log.head").rename(tmp_path / "log.head")
    with pytest.raises(ForkDetected, match=r"of another key than other\.example/log"):
        open_log(tmp_path, "other.example/log")


async def sign_elsewhere(log: SqliteEvidenceLog, folder: Path) -> None:
    """Another process, on a file system without flock, signs with the same key."""
    note = sign_checkpoint(Checkpoint(ORIGIN, 7, EMPTY_ROOT), log._signer)
    (folder / "keys" / "log.head").write_text(note)


async def test_a_head_signed_by_somebody_else_meanwhile_stops_the_signing(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await log.append("call1", "call.arrived", PARTIES)
    await sign_elsewhere(log, tmp_path)
    with pytest.raises(ForkDetected, match="another instance signed with this key: a tree of 7 entries"):
        await log.export("call1")
    with pytest.raises(ForkDetected, match="another instance signed"):
        await log.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    log.close()


async def test_after_a_failure_the_database_is_compared_with_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path)
    for _ in range(3):
        await log.append("call1", "call.arrived", PARTIES)
    lose_the_last_entry(tmp_path / "evidence.db")
    log._writer._reset()
    with pytest.raises(ForkDetected, match="holds 2 entries, but a tree of 3 was acknowledged as durable"):
        await log.append("call1", "call.arrived", PARTIES)
    log.close()


def lose_the_last_entry(path: Path) -> None:
    with schema.open_engine(path).connect() as connection:
        last = connection.execute(text("SELECT leaf_hash FROM entries WHERE idx = 0")).scalar_one()
        second = connection.execute(text("SELECT hash FROM nodes WHERE level = 1 AND idx = 0")).scalar_one()
        assert last != second
        connection.execute(text("DELETE FROM entries WHERE idx = 2"))
        connection.execute(text("UPDATE tree SET size = 2, frontier = :one"), {"one": second})


def test_a_fork_is_unavailable_evidence() -> None:
    assert issubclass(ForkDetected, EvidenceUnavailable)


async def test_a_crash_before_the_first_head_starts_again(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    (tmp_path / "keys" / "log.head").unlink()
    await write(tmp_path, 1)
