"""What the log and the registry need of the database they live in, and the embedded one: a file of SQLite."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from gateway.adapters.store.files import AlreadyRunning, FileLock
from gateway.adapters.store.schema import open_engine, open_reader


class DatabaseUnusable(RuntimeError):
    """The database is there and must not be used as it is; the text says why and what helps, without any value."""


class Database(Protocol):
    """One database. Connections are in autocommit: transactions begin and end in words, never implicitly.

    *label*: how to call it in a message; never a password. *begin*, *begin_reading*: the words that begin a
    transaction that changes something, and one that sees a single state of everything. *remote*: a connection may be
    lost while nobody uses it. *upgrades_itself*: nobody else can have it open, so a start may bring its tables up to
    date; elsewhere an operator says when.
    """

    label: str
    begin: str
    begin_reading: str
    remote: bool
    upgrades_itself: bool

    def writer(self) -> sa.Engine:
        """Return an engine whose commits are durable when they return. Connecting raises `DatabaseUnusable`."""
        ...

    def reader(self) -> sa.Engine:
        """Return an engine that can only read."""
        ...

    def exists(self) -> bool:
        """Whether anything was kept there before. Raises `SQLAlchemyError`, `OSError`, `DatabaseUnusable`."""
        ...

    def claim(self, connection: sa.Connection, *, alone: bool) -> None:
        """Hold the database as long as *connection* lives: *alone*, or beside others that do not ask for it alone.
        Raises `DatabaseUnusable`."""
        ...

    def held(self) -> AbstractContextManager[object]:
        """Keep the gateway from starting meanwhile, where the connection cannot. Raises `DatabaseUnusable`."""
        ...

    def make_room(self, connection: sa.Connection) -> None:
        """Inside the transaction that makes the first tables: keep others from making them too."""
        ...

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that all have the same columns."""
        ...

    def wait_at_most(self, connection: sa.Connection, seconds: float) -> None:
        """How long the next statements may wait for somebody else's lock."""
        ...

    def shred(self, connection: sa.Connection, table: str) -> None:
        """Destroy what was just deleted from *table*, or overwritten in it, as far as the database reaches. Outside a
        transaction."""
        ...

    def refuses(self, text: str) -> str:
        """Say why *text* cannot be kept; "" when it can."""
        ...


class SqliteFile:
    """`Database` in one file, whose folder belongs to one gateway."""

    begin = "BEGIN IMMEDIATE"
    begin_reading = "BEGIN"
    remote = False
    upgrades_itself = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = str(path)

    def writer(self) -> sa.Engine:
        return open_engine(self.path)

    def reader(self) -> sa.Engine:
        return open_reader(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    def claim(self, connection: sa.Connection, *, alone: bool) -> None:
        """A file lock does this, and SQLite's lock for each transaction."""

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            lock = FileLock(self.path.with_name(f"{self.path.name}.lock"))
        except AlreadyRunning as error:
            raise DatabaseUnusable(f"{error}: stop the gateway first") from None
        try:
            yield
        finally:
            lock.release()

    def make_room(self, connection: sa.Connection) -> None:
        """`BEGIN IMMEDIATE` has."""

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        connection.execute(sa.insert(table), rows)

    def wait_at_most(self, connection: sa.Connection, seconds: float) -> None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(0, int(seconds * 1000))}")

    def shred(self, connection: sa.Connection, table: str) -> None:
        """`secure_delete` has overwritten the pages; the write-ahead log still holds them as they were."""
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def refuses(self, text: str) -> str:
        return ""
