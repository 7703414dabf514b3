"""A schema of a PostgreSQL database, as the log and the registry use it (`docs/adr/0014-postgresql.md`).

Each log has a schema of its own, named after its origin, so that its tables are those of the embedded database and
nothing of one gateway can be mistaken for another's. The registry has one, which all gateways share.
"""

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.pool import NullPool

from gateway.adapters.store.databases import DatabaseUnusable

logging.getLogger("psycopg").propagate = False
"""Its warnings repeat what the server said, which may be a row."""
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_DIALECT: sa.Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]

OLDEST = 14
"""The oldest major version that is supported: the one before has no `idle_session_timeout`."""
CLAIM_S = 5.0
"""How long a lost session may take to be gone before its successor gives up waiting for its lock."""
_TRIES = 10
_TIMEOUTS = {
    **{"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3},
    "tcp_user_timeout": 10_000,
}
_IN_USE, _BEING_MADE = "in use", "being made"
_STATE = """
    SELECT current_setting('server_version_num')::int / 10000 AS version, pg_is_in_recovery() AS standby,
           current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('server_encoding') AS encoding
"""
_SET = "SELECT set_config(name, value, false) FROM unnest(%(names)s::text[], %(values)s::text[]) AS wish (name, value)"
_SESSION = {
    "lock_timeout": "5s",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Where a database is, and who asks. *label* names it in messages; *parameters* are libpq's, the password
    among them."""

    label: str
    parameters: Mapping[str, str] = field(repr=False)


def log_schema(origin: str) -> str:
    """Return the name of the schema of the log *origin*: readable, and never that of another origin.

    >>> log_schema("gateway1.example/log")
    'evidence_gateway1_example_log_5a1f0d9c'
    """
    readable = re.sub(r"[^a-z0-9]+", "_", origin.lower()).strip("_")[:36]
    return f"evidence_{readable}_{hashlib.sha256(origin.encode()).hexdigest()[:8]}"


REGISTRY_SCHEMA = "consent_registry"


class PostgresSchema:
    """`Database` in one schema of a PostgreSQL database."""

    begin = "BEGIN"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    remote = True
    upgrades_itself = False

    def __init__(self, server: PostgresServer, schema: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", schema):
            raise ValueError("a schema's name is lower case letters, digits and underscores")
        self.label = f"{server.label} (schema {schema})"
        self.schema = schema
        self._server = server

    def writer(self) -> sa.Engine:
        return self._engine(durable=True)

    def reader(self) -> sa.Engine:
        return self._engine(durable=False)

    def exists(self) -> bool:
        query = sa.text("SELECT count(*) FROM pg_tables WHERE schemaname = :schema")
        with self.reader().connect() as connection:
            return bool(connection.execute(query, {"schema": self.schema}).scalar_one())

    def claim(self, connection: sa.Connection, *, alone: bool) -> None:
        """The lock belongs to the session, so it is lost with the connection and never later: whoever gets it knows
        that no commit of the one before is still under way."""
        function = "pg_advisory_lock" if alone else "pg_advisory_lock_shared"
        self.wait_at_most(connection, CLAIM_S)
        try:
            connection.execute(sa.text(f"SELECT {function}(:key)"), {"key": self._key(_IN_USE)})
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
        else:
            return
        raise DatabaseUnusable(
            "another process has it in use: a gateway that runs, a second one of this name, or a session whose "
            "connection was lost and that the server has not noticed yet"
            if alone
            else "its tables are being upgraded: try again when that is done"
        )

    def held(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def make_room(self, connection: sa.Connection) -> None:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key(_BEING_MADE)})
        there = sa.text("SELECT to_regnamespace(:schema) IS NOT NULL")
        if not connection.execute(there, {"schema": self.schema}).scalar_one():
            connection.exec_driver_sql(f"CREATE SCHEMA {self.schema}")

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """One statement for all rows, a list for each column: a statement for each row would be most of a commit."""
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        connection.exec_driver_sql(_insertion(table, tuple(columns)), columns)

    def wait_at_most(self, connection: sa.Connection, seconds: float) -> None:
        connection.exec_driver_sql(f"SET lock_timeout = {max(1, int(seconds * 1000))}")

    def shred(self, connection: sa.Connection, table: str) -> None:
        """What another session still sees cannot go yet; autovacuum removes it when it can (`keep_swept`)."""
        connection.exec_driver_sql(f"VACUUM (INDEX_CLEANUP ON) {table}")

    def refuses(self, text: str) -> str:
        return "PostgreSQL keeps no text with a NUL character" if "\0" in text else ""

    def _key(self, purpose: str) -> int:
        digest = hashlib.sha256(f"consent-gateway {self.schema} {purpose}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)

    def _engine(self, *, durable: bool) -> sa.Engine:
        def connect() -> Any:
            import psycopg

            parameters: dict[str, Any] = {**_TIMEOUTS, **self._server.parameters, "autocommit": True}
            made = psycopg.connect(**parameters)
            try:
                if durable:
                    _insist_on_durability(made)
                session = {**_SESSION, "search_path": self.schema}
                if not durable:
                    session["default_transaction_read_only"] = "on"
                made.execute(_SET, {"names": list(session), "values": list(session.values())})
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    made.close()
                raise
            return made

        url = sa.URL.create("postgresql+psycopg")
        return sa.create_engine(
            url, creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT", use_native_hstore=False
        )


@cache
def _insertion(table: sa.Table, columns: tuple[str, ...]) -> str:
    lists = ", ".join(f"%({name})s::{table.c[name].type.compile(_DIALECT)}[]" for name in columns)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({lists})"  # noqa: S608 (our own names)


def _insist_on_durability(connection: Any) -> None:
    """Raise `DatabaseUnusable` unless a commit that has returned survives a power cut."""
    row = connection.execute(_STATE).fetchone()
    version, standby, fsync, full_page_writes, synchronous_commit, encoding = row
    if version < OLDEST:
        raise DatabaseUnusable(f"the server is PostgreSQL {version}: {OLDEST} or later is needed")
    if standby:
        raise DatabaseUnusable("the server is a standby, which cannot be written: name the primary")
    for name, value in (("fsync", fsync), ("full_page_writes", full_page_writes)):
        if value != "on":
            raise DatabaseUnusable(
                f"the server runs with {name} = {value}: what it says is on the disk may be gone after a power cut; "
                f"set {name} = on in postgresql.conf and reload"
            )
    if synchronous_commit not in ("on", "remote_apply"):
        raise DatabaseUnusable(
            f"synchronous_commit is {synchronous_commit}: a commit would return before it is durable; set it to on "
            "(postgresql.conf, ALTER DATABASE or ALTER ROLE ... SET)"
        )
    if encoding != "UTF8":
        raise DatabaseUnusable(f"its encoding is {encoding}: make the database with ENCODING 'UTF8'")


def commits(database: PostgresSchema) -> str:
    """Say how long a durable commit takes. Tries some that change no table: each is a record of the write-ahead log
    that nobody reads. Raises `SQLAlchemyError`, `DatabaseUnusable`."""
    with database.writer().connect() as connection:
        begun = time.monotonic()
        for _ in range(_TRIES):
            connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'consent-gateway', 'doctor')")
        took_ms = (time.monotonic() - begun) * 1000 / _TRIES
    return f"a durable commit takes {took_ms:.1f} ms"
