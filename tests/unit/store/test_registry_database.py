"""What the registry does on the disk: it survives, it shreds, it fails in words."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.ports.registry import RegistryUnavailable

WRAPPED = b"a wrapped key that nobody may find any more"


async def fill(path: Path) -> RegistryDatabase:
    database = RegistryDatabase(path)
    registry = SqliteCallRegistry(database)
    await registry.call_started("call1", policy="default")
    await registry.recording_opened("r1", call_id="call1", path="x", recipient="age1x", wrapped=WRAPPED)
    return database


async def test_calls_recordings_and_keys_survive_a_restart(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    _, clear = await SqliteApiKeys(database).create("console", "admin")
    await database.aclose()
    await database.aclose()
    again = RegistryDatabase(tmp_path / "gateway.db")
    assert [call.call_id for call in await SqliteCallRegistry(again).open_calls()] == ["call1"]
    assert (await SqliteCallRegistry(again).recording("r1")).wrapped == WRAPPED
    assert await SqliteApiKeys(again).check(clear)
    assert clear.split("_")[2].encode() not in (tmp_path / "gateway.db").read_bytes()
    await again.aclose()


async def test_a_destroyed_key_is_gone_from_the_disk(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    files = [tmp_path / "gateway.db", tmp_path / "gateway.db-wal"]
    assert any(WRAPPED in file.read_bytes() for file in files)
    await SqliteCallRegistry(database).recording_destroyed("r1")
    assert not any(WRAPPED in file.read_bytes() for file in files)
    await database.aclose()


async def test_nobody_else_can_read_the_registry(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    for name in ("gateway.db", "gateway.db-wal"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    await database.aclose()


async def test_many_changes_at_once_are_all_made(tmp_path: Path) -> None:
    database = RegistryDatabase(tmp_path / "gateway.db")
    registry = SqliteCallRegistry(database)
    await asyncio.gather(*(registry.call_started(f"call{number}", policy="p") for number in range(100)))
    assert len(await registry.open_calls()) == 100
    await database.aclose()


async def test_a_failure_names_no_value_and_is_forgotten_when_it_is_over(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    registry = SqliteCallRegistry(database)
    await database.work(lambda connection: connection.exec_driver_sql("ALTER TABLE calls RENAME TO away") and None)
    with pytest.raises(RegistryUnavailable) as failed:
        await registry.call_started("call2", policy="secret policy")
    assert "secret" not in str(failed.value)
    assert "SQLITE_ERROR" in str(failed.value)
    await database.work(lambda connection: connection.exec_driver_sql("ALTER TABLE away RENAME TO calls") and None)
    await registry.call_started("call2", policy="p")
    await database.aclose()


async def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "gateway.db") as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(RegistryUnavailable, match="schema 9"):
        RegistryDatabase(tmp_path / "gateway.db")


async def test_a_destroyed_key_is_gone_from_the_disk_while_others_read(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    registry = SqliteCallRegistry(database)
    reading = [registry.recording("r1") for _ in range(200)]
    await asyncio.gather(*reading[:100], registry.recording_destroyed("r1"), *reading[100:])
    files = [tmp_path / "gateway.db", tmp_path / "gateway.db-wal"]
    assert not any(WRAPPED in file.read_bytes() for file in files)
    await database.aclose()


async def test_a_reader_makes_and_changes_nothing(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    reader = RegistryDatabase(tmp_path / "gateway.db", read_only=True)
    registry = SqliteCallRegistry(reader)
    assert (await registry.recording("r1")).wrapped == WRAPPED
    with pytest.raises(RegistryUnavailable, match="READONLY"):
        await registry.call_started("call2", policy="p")
    await reader.aclose()
    await database.aclose()


def test_a_reader_does_not_make_the_file(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="CANTOPEN"):
        RegistryDatabase(tmp_path / "gateway.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b"garbage" * 1000, "NOTADB"), (b"SQLite format 3\0" + b"x" * 4080, "NOTADB")]
)
def test_what_is_no_registry_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "gateway.db"
    path.write_bytes(content)
    with pytest.raises(RegistryUnavailable, match=word) as failed:
        RegistryDatabase(path, read_only=True)
    assert str(path) in str(failed.value)
    assert path.read_bytes() == content


async def test_a_closed_registry_says_so(tmp_path: Path) -> None:
    database = await fill(tmp_path / "gateway.db")
    await database.aclose()
    with pytest.raises(RegistryUnavailable, match="closed"):
        await SqliteCallRegistry(database).open_calls()
    with pytest.raises(RegistryUnavailable, match="closed"):
        await SqliteCallRegistry(database).call_started("call2", policy="p")


def test_a_registry_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RegistryUnavailable, match=str(tmp_path)):
        RegistryDatabase(tmp_path / "file" / "gateway.db")
