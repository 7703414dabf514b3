"""The versions of the tables: which one a database has, which one this program needs, and the way from one to the
other.

The steps are Alembic's, one file each below `evidence/` and `registry/`, and the version is kept where Alembic keeps
it. Alembic itself is loaded only when there is a step to take: a new database gets the newest tables at once.
How to add a step: docs/databases.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from gateway.adapters.store import registry_tables, schema
from gateway.adapters.store.databases import Database, DatabaseUnusable

if TYPE_CHECKING:
    from alembic.config import Config

_log = structlog.get_logger(__name__)

FOLDER = Path(__file__).parent
FIRST = "0001"
"""The tables of databases that were made before their version was kept where Alembic keeps it."""
UPGRADE = "run: consent-gateway db upgrade"

_versions = sa.MetaData()
_version = sa.Table(
    "alembic_version",
    _versions,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of database: the *name* of its folder of steps, its tables, and the one that shows it was made."""

    name: str
    metadata: sa.MetaData
    landmark: sa.Table

    @property
    def steps(self) -> Path:
        return FOLDER / self.name

    @property
    def newest(self) -> str:
        """The version this program needs, such as "0002"."""
        return _newest(self.steps)


EVIDENCE = Kind("evidence", schema.metadata, schema.about)
REGISTRY = Kind("registry", registry_tables.metadata, registry_tables.calls)


@cache
def _newest(steps: Path) -> str:
    return max(path.name[1:5] for path in steps.glob("v[0-9][0-9][0-9][0-9]_*.py"))


def stored(connection: sa.Connection, kind: Kind) -> str | None:
    """Return the version of the database; None for one without our tables."""
    inspector = sa.inspect(connection)
    if inspector.has_table(_version.name):
        found = connection.execute(sa.select(_version.c.version_num)).scalar()
        return None if found is None else str(found)
    if connection.dialect.name == "sqlite" and kind is REGISTRY:
        known = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    elif kind is EVIDENCE and inspector.has_table(schema.about.name):
        known = connection.execute(sa.select(schema.about.c.schema_version)).scalar() or 0
    else:
        known = 0
    return f"{known:04}" if known else None


def check(connection: sa.Connection, kind: Kind) -> None:
    """Raise `DatabaseUnusable` unless the database has the version that this program needs."""
    found = stored(connection, kind)
    if found != kind.newest:
        raise DatabaseUnusable(_mismatch(found, kind))


def _mismatch(found: str | None, kind: Kind) -> str:
    if found is None:
        return "it is empty, or not of this program: --config names the right one, or restore it from a backup"
    versions = f"it has schema {say_version(found)}, this program {say_version(kind.newest)}"
    return f"{versions}: a newer program made it, use that one" if found > kind.newest else f"{versions}: {UPGRADE}"


def say_version(version: str | None) -> str:
    """Spell a version for people: "2" for "0002", "-" for none."""
    return "-" if version is None else version.lstrip("0") or "0"


def prepare(connection: sa.Connection, database: Database, kind: Kind) -> None:
    """Make the tables of a new database; refuse one of another version, or bring it up to date where nobody else can
    have it open. Raises `DatabaseUnusable`."""
    with transaction(connection, database.begin):
        database.make_room(connection)
        found = stored(connection, kind)
        if found is None:
            kind.metadata.create_all(connection)
            _versions.create_all(connection)
            connection.execute(sa.insert(_version), {"version_num": kind.newest})
            _mark(connection, kind, kind.newest)
        elif found != kind.newest:
            if found > kind.newest or not database.upgrades_itself:
                raise DatabaseUnusable(_mismatch(found, kind))
            _steps(connection, kind, found)
            _log.warning(
                "database upgraded", database=kind.name, before=say_version(found), now=say_version(kind.newest)
            )


def upgrade(database: Database, kind: Kind) -> str:
    """Take every step that is missing, all in one transaction, while no gateway has the database; return the version
    before. Raises `DatabaseUnusable`, `SQLAlchemyError`, `OSError`."""
    with database.held(), database.writer().connect() as connection:
        database.claim(connection, alone=True)
        with transaction(connection, database.begin):
            found = stored(connection, kind)
            if found is None or found > kind.newest:
                raise DatabaseUnusable(_mismatch(found, kind))
            if found != kind.newest:
                _steps(connection, kind, found)
        return found


def version(database: Database, kind: Kind) -> str | None:
    """Return the version of a database, None for one that has none. Raises `SQLAlchemyError`, `OSError`."""
    with database.reader().connect() as connection:
        return stored(connection, kind)


def _steps(connection: sa.Connection, kind: Kind, found: str) -> None:
    from alembic import command

    if not sa.inspect(connection).has_table(_version.name):
        _versions.create_all(connection)
        connection.execute(sa.insert(_version), {"version_num": found})
    command.upgrade(configuration(connection, kind), "head")
    _mark(connection, kind, kind.newest)


def configuration(connection: sa.Connection, kind: Kind) -> "Config":
    """Return Alembic's configuration for *kind* on *connection*, whose transaction is the caller's."""
    from alembic.config import Config

    made = Config(attributes={"connection": connection, "metadata": kind.metadata})
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.set_main_option("version_locations", str(kind.steps).replace("%", "%%"))
    made.set_main_option("path_separator", "newline")
    made.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    return made


def _mark(connection: sa.Connection, kind: Kind, version: str) -> None:
    """Write the version where programs look that know no other place: they then refuse what they cannot read."""
    if kind is EVIDENCE:
        connection.execute(sa.update(schema.about).values(schema_version=int(version)))
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")


@contextmanager
def transaction(connection: sa.Connection, begin: str) -> Iterator[None]:
    """A transaction in words on a connection in autocommit; whatever is raised inside undoes everything."""
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with suppress(sa.exc.SQLAlchemyError):
            connection.exec_driver_sql("ROLLBACK")
        raise
