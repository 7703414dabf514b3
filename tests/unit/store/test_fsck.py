"""fsck finds every kind of damage and names the place."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.adapters.store import schema
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.adapters.store.fsck import FsckProblem, _Check, fsck
from gateway.evidence import canonical, merkle
from gateway.evidence.checkpoint import Verifier

PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A closed log of two calls, five entries each, with personal values."""
    log = SqliteEvidenceLog(tmp_path / "evidence.db", tmp_path / "keys", "gateway.example/log")
    for number in range(5):
        for call in ("call1", "call2"):
            await log.append(
                call, "call.arrived" if number == 0 else "step.made", PARTIES, {"name": f"{call} {number}"}
            )
    await log.aclose()
    return tmp_path


def problems(folder: Path) -> list[FsckProblem]:
    return fsck(folder / "evidence.db", folder / "keys")


def change(folder: Path, statement: str) -> None:
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        assert connection.exec_driver_sql(statement).rowcount


async def test_a_sound_log_has_no_problems(folder: Path) -> None:
    assert problems(folder) == []


async def test_an_erasure_is_no_problem_and_a_silent_one_is(folder: Path) -> None:
    log = SqliteEvidenceLog(folder / "evidence.db", folder / "keys", "gateway.example/log")
    await log.erase_personal("call1", "request")
    await log.aclose()
    assert problems(folder) == []
    change(folder, "DELETE FROM personal WHERE idx = 1")
    assert [str(found) for found in problems(folder)] == [
        "entry 1 of the log: the value of 'name' is gone, and no entry says that it was erased"
    ]


DAMAGE = {
    "UPDATE entries SET data = CAST(replace(data, 'customer', 'x') AS BLOB) WHERE idx = 4": "entry 4 .*do not hash",
    "UPDATE entries SET data = CAST(replace(data, ':', ': ') AS BLOB) WHERE idx = 4": "entry 4 .*not the canonical",
    "UPDATE entries SET data = x'00' WHERE idx = 4": "entry 4 .*is no entry",
    "UPDATE entries SET leaf_hash = zeroblob(32) WHERE idx = 4": "entry 4 .*do not hash",
    "UPDATE entries SET seq = 77 WHERE idx = 4": "entry 4 .*another call or number",
    "UPDATE entries SET call_id = 'x' WHERE idx = 4": "entry 4 .*another call or number",
    "DELETE FROM entries WHERE idx = 4": "entry 4 of the log: is missing; entry 5 follows",
    "DELETE FROM entries WHERE idx = 9": "covers 10 entries, the database holds 9: it was cut short",
    "UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 1": "entry 7 .*node 1 of level 2 above it",
    "DELETE FROM nodes WHERE level = 1 AND idx = 0": "10 entries has 8 inner nodes",
    "UPDATE tree SET frontier = x'' WHERE id = 1": "stored frontier is not that of the 10 entries",
    "UPDATE tree SET size = 9 WHERE id = 1": "stored frontier is not that",
    "UPDATE about SET origin = 'x' WHERE id = 1": "another log or key",
    "UPDATE about SET schema_version = 9 WHERE id = 1": "another version",
    "UPDATE personal SET value = 'x' WHERE idx = 3": "entry 3 .*not the one committed to",
    "UPDATE personal SET salt = x'00' WHERE idx = 3": "entry 3 .*not the one committed to",
    "UPDATE personal SET name = 'x' WHERE idx = 3": "entry 3 .*which the entry does not commit to",
    "UPDATE personal SET idx = 99 WHERE idx = 3": "1 values that belong to no entry",
}


@pytest.mark.parametrize("statement", DAMAGE)
async def test_damage_is_found_and_named(folder: Path, statement: str) -> None:
    change(folder, statement)
    found = "\n".join(map(str, problems(folder)))
    assert re.search(DAMAGE[statement], found), found


async def test_a_rewritten_history_is_found_by_the_signed_head(folder: Path) -> None:
    """Somebody with the database, but without the key, rewrites an entry and everything above it."""
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        row = connection.execute(text("SELECT * FROM entries WHERE idx = 9")).one()
        data = row.data.replace(b"customer", b"employee")
        tree = merkle.Frontier()
        for idx in range(10):
            stored = connection.execute(text("SELECT leaf_hash FROM entries WHERE idx = :i"), {"i": idx}).scalar_one()
            for level, index, node in tree.append(merkle.leaf_hash(data) if idx == 9 else stored):
                values = {"level": level, "idx": index, "hash": node}
                connection.execute(text("UPDATE nodes SET hash = :hash WHERE level = :level AND idx = :idx"), values)
        canonical.decode(data)
        values = {"data": data, "leaf": merkle.leaf_hash(data)}
        connection.execute(text("UPDATE entries SET data = :data, leaf_hash = :leaf WHERE idx = 9"), values)
        connection.execute(text("UPDATE tree SET frontier = :hashes"), {"hashes": b"".join(tree.hashes)})
    assert [str(found) for found in problems(folder)] == [
        "the last signed head (log.head): the first 10 entries do not hash to its root: the history was changed"
    ]


async def test_a_missing_or_forged_head_is_found(folder: Path) -> None:
    head = folder / "keys" / "log.head"
    good = head.read_text()
    head.write_text(good.replace("\n10\n", "\n9\n"))
    assert "cannot be trusted" in str(problems(folder)[0])
    head.unlink()
    assert "is missing" in str(problems(folder)[0])


async def test_a_file_that_is_no_database_is_a_problem_not_a_crash(folder: Path) -> None:
    data = bytearray((folder / "evidence.db").read_bytes())
    data[:16] = b"not a database  "
    (folder / "evidence.db").write_bytes(data)
    assert "cannot be read" in str(problems(folder)[0])


async def test_damaged_pages_are_found(folder: Path) -> None:
    data = bytearray((folder / "evidence.db").read_bytes())
    for place in range(8_192, len(data), 4_096):
        data[place : place + 64] = b"\xaa" * 64
    (folder / "evidence.db").write_bytes(data)
    assert problems(folder)


async def test_an_erased_value_that_is_back_is_found(folder: Path) -> None:
    """It fits its commitment: a backup brings it back as it was."""
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        kept = connection.execute(text("SELECT * FROM personal WHERE idx = 2")).mappings().one()
    log = SqliteEvidenceLog(folder / "evidence.db", folder / "keys", "gateway.example/log")
    await log.erase_personal("call1", "request")
    await log.append("call1", "step.made", PARTIES, {"name": "said after the erasure"})
    await log.aclose()
    assert problems(folder) == []
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        connection.execute(schema.personal.insert(), dict(kept))
    assert [str(found) for found in problems(folder)] == [
        "entry 2 of the log: has a personal value that entry 5 of its call says was erased"
    ]


@pytest.mark.parametrize("kind", ["trigger", "view"])
async def test_what_runs_inside_the_database_is_found(folder: Path, kind: str) -> None:
    change_schema = {
        "trigger": "CREATE TRIGGER x AFTER INSERT ON entries BEGIN DELETE FROM personal; END",
        "view": "CREATE VIEW x AS SELECT * FROM entries",
    }
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        connection.exec_driver_sql(change_schema[kind])
    assert [str(found) for found in problems(folder)] == [
        f"the database: has 1 {kind}s, this program makes none: what is written may be changed"
    ]


async def test_a_gateway_that_signs_during_the_check_has_lost_nothing(folder: Path) -> None:
    """The head that belongs to what is read is the one from before."""
    head = folder / "keys" / "log.head"
    older = head.read_text()
    log = SqliteEvidenceLog(folder / "evidence.db", folder / "keys", "gateway.example/log")
    await log.append("call1", "step.made", PARTIES)
    await log.aclose()
    newer = head.read_text()
    change(folder, "DELETE FROM entries WHERE idx = 10")
    assert "covers 11 entries" in "\n".join(map(str, problems(folder)))
    head.write_text(older)
    with schema.open_engine(folder / "evidence.db").connect() as connection:
        check = _Check(connection, Verifier.parse((folder / "keys" / "log.pub").read_text()), head)
        head.write_text(newer)
        list(check.log())
        assert list(check.head()) == []
