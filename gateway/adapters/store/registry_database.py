"""The registry's file: its tables, and the two connections to it.

Changes and readings have a connection and a thread each. Changes happen in the order they were asked for; a reading
sees every change that was acknowledged before it, and waits neither for changes nor for whoever has the file locked
for writing: the write-ahead log lets it read on (https://sqlite.org/wal.html, section 2.2).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from gateway.adapters.store.faults import STRANGE, STRANGE_VALUES, describe
from gateway.adapters.store.files import private_folder
from gateway.adapters.store.schema import open_engine, open_reader
from gateway.ports.registry import RegistryUnavailable

_T = TypeVar("_T")

SCHEMA_VERSION = 1

PATIENCE_S = 5.0
"""How long a change or a reading may wait for a locked file, the time in the queue included."""

metadata = sa.MetaData()

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("started_at", sa.Integer, nullable=False, index=True),
    sa.Column("ended_at", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
)
"""Times are microseconds since 1970, UTC."""

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("recording", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, sa.ForeignKey("calls.call_id"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("frames", sa.Integer, nullable=False),
    sa.Column("opened_at", sa.Integer, nullable=False),
    sa.Column("closed_at", sa.Integer),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("created_at", sa.Integer, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False),
)

acknowledgements = sa.Table(
    "acknowledgements",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("acknowledged_at", sa.Integer, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)


class RegistryDatabase:
    """The file behind `SqliteCallRegistry` and `SqliteApiKeys`. The constructor blocks until it is open.

    *read_only*: nothing is made, and every change raises. Raises `RegistryUnavailable`.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only:
            engine = open_reader(path)
        else:
            _make_file(path)
            engine = open_engine(path)
        self._changes = _Line(path, engine, "BEGIN IMMEDIATE", "registry")
        self._readings = _Line(path, open_reader(path), "BEGIN", "registry-reader")
        try:
            if read_only:
                self._readings.wait_for(lambda connection: _check_tables(connection, path))
            else:
                self._changes.wait_for(lambda connection: _make_tables(connection, path))
        except BaseException as error:
            self.close()
            if isinstance(error, STRANGE_VALUES):
                raise RegistryUnavailable(f"the registry database {path} is damaged: {STRANGE}") from None
            raise

    async def work(self, action: Callable[[sa.Connection], _T]) -> _T:
        """Run *action* in one durable transaction. Raises `RegistryUnavailable`, and what *action* raises."""
        return await self._changes.run(action)

    async def read(self, action: Callable[[sa.Connection], _T]) -> _T:
        """Run *action*, which changes nothing. Raises `RegistryUnavailable`, for damaged rows too, and `KeyError`."""
        try:
            return await self._readings.run(action)
        except STRANGE_VALUES:
            reason = STRANGE
        raise RegistryUnavailable(f"the registry database {self._readings.path} is damaged: {reason}")

    async def shred(self, action: Callable[[sa.Connection], _T]) -> _T:
        """Like `work`, and also overwrite the pages as they were, which the write-ahead log still holds."""
        return await self._changes.run(action, afterwards="PRAGMA wal_checkpoint(TRUNCATE)")

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what is under way. Closing twice does no harm."""
        self._readings.close()
        self._changes.close()


class _Line:
    """One connection and the only thread that uses it."""

    def __init__(self, path: Path, engine: sa.Engine, begin: str, name: str) -> None:
        self.path = path
        self._engine = engine
        self._begin = begin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sa.Connection | None = None

    async def run(self, action: Callable[[sa.Connection], _T], afterwards: str = "") -> _T:
        give_up = time.monotonic() + PATIENCE_S
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, action, give_up, afterwards)
        except RuntimeError:
            raise RegistryUnavailable(f"the registry database {self.path} is closed") from None
        return await running

    def wait_for(self, action: Callable[[sa.Connection], _T]) -> _T:
        return self._thread.submit(self._run, action, time.monotonic() + PATIENCE_S).result()

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._drop)
        self._thread.shutdown(wait=True)

    def _run(self, action: Callable[[sa.Connection], _T], give_up: float, afterwards: str = "") -> _T:
        """Run *action* in a transaction, then the statement *afterwards*. A file that is still locked at *give_up*
        (CLOCK_MONOTONIC, seconds) is tried once and not waited for."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            connection = self._connection
            left_ms = max(0, int((give_up - time.monotonic()) * 1000))
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {left_ms}")
            connection.exec_driver_sql(self._begin)
            try:
                result = action(connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                with contextlib.suppress(sa.exc.SQLAlchemyError):
                    connection.exec_driver_sql("ROLLBACK")
                raise
            if afterwards:
                with contextlib.suppress(sa.exc.SQLAlchemyError):
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(PATIENCE_S * 1000)}")
                    connection.exec_driver_sql(afterwards)
            return result
        except sa.exc.SQLAlchemyError as error:
            reason = describe(error)
        self._drop()
        raise RegistryUnavailable(f"the registry database {self.path} failed: {reason}")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.close()


def _make_file(path: Path) -> None:
    """Make folder and file, for their owner only. Raises `RegistryUnavailable`."""
    try:
        private_folder(path.parent)
        path.touch(mode=0o600)
    except OSError as error:
        reason = describe(error)
    else:
        return
    raise RegistryUnavailable(f"the registry database {path} cannot be made: {reason}")


def _make_tables(connection: sa.Connection, path: Path) -> None:
    _check_version(connection, path, fresh=True)
    metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_tables(connection: sa.Connection, path: Path) -> None:
    _check_version(connection, path)
    for table in metadata.sorted_tables:
        connection.execute(sa.select(table).limit(1)).first()


def _check_version(connection: sa.Connection, path: Path, *, fresh: bool = False) -> None:
    """Raise `RegistryUnavailable` unless the file is a registry of this version, or new where that is welcome."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version == 0 and not fresh:
        raise RegistryUnavailable(f"the registry database {path} is empty, or not a registry: restore it from a backup")
    if version not in (0, SCHEMA_VERSION):
        raise RegistryUnavailable(f"the registry database {path} has schema {version}, this program {SCHEMA_VERSION}")
