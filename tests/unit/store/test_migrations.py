"""From every version of the tables to the one of this program, on SQLite and PostgreSQL: nothing is lost, models and
steps agree, and what does not fit is refused in words."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.adapters.store import migrations
from gateway.adapters.store.databases import Database, DatabaseUnusable, SqliteFile
from gateway.adapters.store.evidence_log import EvidenceReader, PostgresEvidenceLog, SqliteEvidenceLog
from gateway.adapters.store.fsck import fsck
from gateway.adapters.store.migrations import EVIDENCE, REGISTRY, Kind, configuration, transaction
from gateway.adapters.store.migrations.__main__ import write_step
from gateway.adapters.store.postgresql import REGISTRY_SCHEMA, PostgresSchema, log_schema
from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.evidence.bundle import verify_bundle
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.registry import RegistryUnavailable, spell_key
from tests.support.postgres import Cluster
from tests.unit.store.first.make_first import ARRIVED, ORIGIN, write_key

FIRST = Path(__file__).with_name("first")
KINDS = pytest.mark.parametrize("kind", [EVIDENCE, REGISTRY], ids=lambda kind: kind.name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database that nobody has used."""
    if request.param == "sqlite":
        return SqliteFile(tmp_path / "some.db")
    cluster = request.getfixturevalue("postgres_cluster")
    return PostgresSchema(cluster.server(request.getfixturevalue("postgres_database")), REGISTRY_SCHEMA)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder as the program left it before versions were kept."""
    write_key(tmp_path / "keys")
    shutil.copy(FIRST / "log.head", tmp_path / "keys")
    for name in ("evidence", "registry"):
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            connection.executescript((FIRST / f"{name}.sql").read_text())
        connection.close()
    return tmp_path


@contextmanager
def connected(database: Database) -> Iterator[sa.Connection]:
    with database.writer().connect() as connection:
        yield connection


def walk(database: Database, kind: Kind, to: str = "head") -> None:
    """Make the tables by the steps, one after the other, as far as *to*."""
    with connected(database) as connection, transaction(connection, database.begin):
        database.make_room(connection)
        command.upgrade(configuration(connection, kind), to)


def shape(connection: sa.Connection, kind: Kind) -> dict[str, Any]:
    """What is known of every table, the order of its columns left out."""
    inspector = sa.inspect(connection)
    found: dict[str, Any] = {}
    for table in inspector.get_table_names():
        columns = {
            str(column["name"]): {**column, "type": str(column["type"])} for column in inspector.get_columns(table)
        }
        found[table] = [
            columns,
            sorted(map(str, inspector.get_indexes(table))),
            sorted(map(str, inspector.get_foreign_keys(table))),
            sorted(map(str, inspector.get_unique_constraints(table))),
            sorted(str(check["sqltext"]) for check in inspector.get_check_constraints(table)),
            inspector.get_pk_constraint(table)["constrained_columns"],
        ]
        if connection.dialect.name == "sqlite":
            words = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": table})
            found[table].append("WITHOUT ROWID" in words.scalar_one())
        else:
            options = connection.execute(
                sa.text(
                    "SELECT main.reloptions, toast.reloptions FROM pg_class main "
                    "LEFT JOIN pg_class toast ON toast.oid = main.reltoastrelid WHERE main.oid = to_regclass(:name)"
                ),
                {"name": table},
            )
            found[table].append([list(value or []) for value in options.one()])
    assert set(found) <= {*kind.metadata.tables, "alembic_version"}
    return found


# --- models and steps ----------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("way", ["models", "steps"])
def test_models_and_steps_do_not_differ(place: Database, kind: Kind, way: str) -> None:
    if way == "steps":
        walk(place, kind)
    with connected(place) as connection:
        migrations.prepare(connection, place, kind)
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, kind.metadata) == []
        assert migrations.stored(connection, kind) == kind.newest


@KINDS
def test_both_ways_make_the_same_tables(place: Database, kind: Kind, tmp_path: Path) -> None:
    with connected(place) as connection:
        migrations.prepare(connection, place, kind)
        models = shape(connection, kind)
        for table in reversed(kind.metadata.sorted_tables):
            connection.execute(sa.text(f"DROP TABLE {table.name}"))
        connection.execute(sa.text("DROP TABLE alembic_version"))
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text("PRAGMA user_version = 0"))
    walk(place, kind)
    with connected(place) as connection:
        assert shape(connection, kind) == models


@KINDS
def test_steps_are_one_line_of_numbers(kind: Kind) -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(configuration(None, kind))  # type: ignore[arg-type]
    steps = list(script.walk_revisions())[::-1]
    assert [step.revision for step in steps] == [f"{number:04}" for number in range(1, len(steps) + 1)]
    assert [step.down_revision for step in steps] == [None, *(step.revision for step in steps[:-1])]
    assert script.get_current_head() == kind.newest
    assert all(Path(step.path).name.startswith(f"v{step.revision}_") for step in steps)


def test_the_next_step_writes_itself(tmp_path: Path) -> None:
    """What a developer runs after he changed the models."""
    metadata = sa.MetaData()
    for table in REGISTRY.metadata.sorted_tables:
        table.to_metadata(metadata)
    sa.Table("holds", metadata, sa.Column("call_id", sa.Text, primary_key=True))
    steps = tmp_path / "registry"
    shutil.copytree(REGISTRY.steps, steps)
    kind = Kind(str(steps), metadata, REGISTRY.landmark)
    path = Path(write_step(kind, "legal holds"))
    assert path == steps / f"v{int(REGISTRY.newest) + 1:04}_legal_holds.py"
    assert "op.create_table(\n" in path.read_text() or "op.create_table('holds'" in path.read_text()
    migrations._newest.cache_clear()
    database = SqliteFile(tmp_path / "some.db")
    walk(database, REGISTRY)
    assert migrations.upgrade(database, kind) == REGISTRY.newest
    with connected(database) as connection:
        assert sa.inspect(connection).has_table("holds")


# --- from today's files --------------------------------------------------------------------------------


async def test_a_log_of_before_is_taken_over_whole(old: Path) -> None:
    assert [call.call_id for call in EvidenceReader(old / "evidence.db").calls()] == ["call1", "call2"]
    log = SqliteEvidenceLog(old / "evidence.db", old / "keys", ORIGIN)
    assert (await log.append("call3", "call.arrived", ARRIVED)).index == 5
    bundle = await log.export("call1")
    assert b"+4915550100" in bundle and b"+4915550100" not in await log.export("call2")
    assert verify_bundle(bundle, log.verifier_key()).entries == 2
    await log.aclose()
    assert fsck(old / "evidence.db", old / "keys") == []


async def test_a_registry_of_before_is_taken_over_whole(old: Path) -> None:
    with pytest.raises(RegistryUnavailable, match=r"it has schema 1, this program .*: run: consent-gateway db upgrade"):
        RegistryDatabase(old / "registry.db", read_only=True)
    database = RegistryDatabase(old / "registry.db")
    registry = SqliteCallRegistry(database)
    assert [call.call_id for call in await registry.open_calls()] == ["call2"]
    assert [recording.recording for recording in await registry.open_recordings()] == ["call2-1"]
    assert (await registry.recording("call1-1")).wrapped == b"wrapped"
    assert (await registry.recording("call1-1")).frames == 3
    assert await SqliteApiKeys(database).check(spell_key(bytes(8).hex(), bytes(32)))
    await database.aclose()
    with sqlite3.connect(old / "registry.db") as connection:
        known = connection.execute("PRAGMA user_version").fetchone()
    assert known == (int(REGISTRY.newest),), "a program of before refuses the file"


@KINDS
def test_an_upgrade_says_from_what_and_is_done_once(old: Path, kind: Kind) -> None:
    database = SqliteFile(old / f"{kind.name}.db")
    assert migrations.upgrade(database, kind) == "0001"
    assert migrations.upgrade(database, kind) == kind.newest
    assert migrations.version(database, kind) == kind.newest


def test_an_upgrade_waits_for_no_gateway_that_runs(old: Path) -> None:
    log = SqliteEvidenceLog(old / "evidence.db", old / "keys", ORIGIN)
    with pytest.raises(DatabaseUnusable, match="stop the gateway first"):
        migrations.upgrade(SqliteFile(old / "evidence.db"), EVIDENCE)
    log.close()


# --- an upgrade on PostgreSQL --------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_shared_registry_is_upgraded_by_an_operator(postgres_cluster: Cluster, postgres_database: str) -> None:
    place = PostgresSchema(postgres_cluster.server(postgres_database), REGISTRY_SCHEMA)
    walk(place, REGISTRY, "0001")
    row = "INSERT INTO consent_registry.calls VALUES ('call1', 1795853010398889, NULL, 'open', '', 'default')"
    postgres_cluster.run(postgres_database, row)
    for read_only in (False, True):
        with pytest.raises(
            RegistryUnavailable, match=r"it has schema 1, this program .: run: consent-gateway db upgrade"
        ):
            RegistryDatabase(place, read_only=read_only)
    assert migrations.upgrade(place, REGISTRY) == "0001"
    database = RegistryDatabase(place)
    assert (await SqliteCallRegistry(database).call("call1")).state == "open"
    with pytest.raises(DatabaseUnusable, match="a gateway that runs"):
        migrations.upgrade(place, REGISTRY)
    await database.aclose()
    assert migrations.upgrade(place, REGISTRY) == REGISTRY.newest


# --- what does not fit ---------------------------------------------------------------------------------


@KINDS
def test_a_database_of_a_newer_program_is_refused(place: Database, kind: Kind) -> None:
    with connected(place) as connection:
        migrations.prepare(connection, place, kind)
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0099'"))
        for refuse in (migrations.prepare, lambda connection, _, kind: migrations.check(connection, kind)):
            with pytest.raises(DatabaseUnusable, match=r"it has schema 99, this program .: a newer program made it"):
                refuse(connection, place, kind)
    with pytest.raises(DatabaseUnusable, match="a newer program"):
        migrations.upgrade(place, kind)


async def test_a_log_that_is_older_than_the_program_does_not_start_on_postgresql(
    place: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """And does by itself in a file, which nobody else can have open."""
    steps = tmp_path / "steps"
    shutil.copytree(EVIDENCE.steps, steps)
    (steps / "v0002_nothing.py").write_text(
        'from alembic import op\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE extra (id INTEGER)")\n'
    )

    def open_log() -> SqliteEvidenceLog | PostgresEvidenceLog:
        if isinstance(place, SqliteFile):
            return SqliteEvidenceLog(place.path, tmp_path / "keys", ORIGIN)
        server = request.getfixturevalue("postgres_cluster").server(request.getfixturevalue("postgres_database"))
        return PostgresEvidenceLog(server, tmp_path / "keys", ORIGIN)

    log = open_log()
    await log.append("call1", "call.arrived", ARRIVED)
    await log.aclose()
    monkeypatch.setattr(
        Kind, "steps", property(lambda kind: steps if kind is EVIDENCE else migrations.FOLDER / kind.name)
    )
    if isinstance(place, PostgresSchema):
        with pytest.raises(
            EvidenceUnavailable, match=r"cannot be used: it has schema 1, this program 2: run: consent-g"
        ):
            open_log()
        server = request.getfixturevalue("postgres_cluster").server(request.getfixturevalue("postgres_database"))
        assert migrations.upgrade(PostgresSchema(server, log_schema(ORIGIN)), EVIDENCE) == "0001"
    log = open_log()
    assert (await log.append("call1", "call.ended", {"cause": "bye", "entries": 2})).index == 1
    assert not await log.fsck()
    await log.aclose()


def test_a_step_that_fails_leaves_nothing_behind(
    place: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(place, REGISTRY, "0001")
    before = with_shape(place)
    steps = tmp_path / "steps"
    shutil.copytree(REGISTRY.steps, steps)
    number = f"{int(REGISTRY.newest) + 1:04}"
    (steps / f"v{number}_broken.py").write_text(
        f'from alembic import op\nrevision = "{number}"\ndown_revision = "{REGISTRY.newest}"\n\n\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE extra (id INTEGER)")\n    op.execute("NONSENSE")\n'
    )
    kind = Kind(str(steps), REGISTRY.metadata, REGISTRY.landmark)
    with pytest.raises(sa.exc.DBAPIError):
        migrations.upgrade(place, kind)
    assert with_shape(place) == before
    assert migrations.version(place, kind) == "0001"


def with_shape(place: Database) -> dict[str, Any]:
    with connected(place) as connection:
        return shape(connection, REGISTRY)
