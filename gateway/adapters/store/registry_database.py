"""The registry's database, and the two connections to it.

Changes and readings have a connection and a thread each. Changes happen in the order they were asked for; a reading
sees every change that was acknowledged before it, and waits neither for changes nor for whoever has a file locked
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
import structlog

from gateway.adapters.store import migrations
from gateway.adapters.store.databases import Database, DatabaseUnusable, SqliteFile
from gateway.adapters.store.faults import STRANGE, STRANGE_VALUES, describe
from gateway.adapters.store.files import private_folder
from gateway.adapters.store.migrations import REGISTRY, transaction
from gateway.ports.registry import RegistryUnavailable

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

PATIENCE_S = 5.0
"""How long a change or a reading may wait for a locked database, the time in the queue included."""
QUIET_S = 1.0
"""A connection over a network that was not used for so long is tried before work is given to it."""


class RegistryDatabase:
    """The database behind `SqliteCallRegistry` and `SqliteApiKeys`. The constructor blocks until it is open.

    *place*: the file of SQLite, or another database. *read_only*: nothing is made, and every change raises. Raises
    `RegistryUnavailable`.
    """

    def __init__(self, place: Path | Database, *, read_only: bool = False) -> None:
        database = SqliteFile(place) if isinstance(place, Path) else place
        if not read_only and isinstance(database, SqliteFile):
            _make_file(database.path)
        self._changes = _Line(database, "registry", changes=not read_only)
        self._readings = _Line(database, "registry-reader", changes=False)
        try:
            if read_only:
                self._readings.wait_for(_check_tables)
            else:
                self._changes.prepare()
        except BaseException as error:
            self.close()
            if isinstance(error, STRANGE_VALUES):
                raise RegistryUnavailable(f"the registry database {database.label} is damaged: {STRANGE}") from None
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
        raise RegistryUnavailable(f"the registry database {self._readings.label} is damaged: {reason}")

    async def shred(self, action: Callable[[sa.Connection], _T], table: str) -> _T:
        """Like `work`, and also destroy what was deleted from *table* or overwritten in it."""
        return await self._changes.run(action, shred=table)

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what is under way. Closing twice does no harm."""
        self._readings.close()
        self._changes.close()


class _Line:
    """One connection and the only thread that uses it."""

    def __init__(self, database: Database, name: str, *, changes: bool) -> None:
        self.label = database.label
        self._database = database
        self._changes = changes
        self._engine = database.writer() if changes else database.reader()
        self._begin = database.begin if changes else database.begin_reading
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sa.Connection | None = None
        self._used_at = 0.0

    async def run(self, action: Callable[[sa.Connection], _T], shred: str = "") -> _T:
        give_up = time.monotonic() + PATIENCE_S
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, action, give_up, shred)
        except RuntimeError:
            raise RegistryUnavailable(f"the registry database {self.label} is closed") from None
        return await running

    def wait_for(self, action: Callable[[sa.Connection], _T]) -> _T:
        return self._thread.submit(self._run, action, time.monotonic() + PATIENCE_S).result()

    def prepare(self) -> None:
        """Make the tables, or see that they are those of this program. Raises `RegistryUnavailable`."""

        def prepare() -> None:
            connection = self._connected(PATIENCE_S)
            migrations.prepare(connection, self._database, REGISTRY)

        self._thread.submit(self._in_words, prepare).result()

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._drop)
        self._thread.shutdown(wait=True)

    def _run(self, action: Callable[[sa.Connection], _T], give_up: float, shred: str = "") -> _T:
        """Run *action* in a transaction, then destroy what it left in the table *shred*. A database that is still
        locked at *give_up* (CLOCK_MONOTONIC, seconds) is tried once and not waited for."""

        def run() -> _T:
            connection = self._connected(give_up - time.monotonic())
            with transaction(connection, self._begin):
                result = action(connection)
            if shred:
                try:
                    self._database.wait_at_most(connection, PATIENCE_S)
                    self._database.shred(connection, shred)
                except sa.exc.SQLAlchemyError as error:
                    _log.warning("destroyed values not swept yet", reason=describe(error))
            return result

        return self._in_words(run)

    def _in_words(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (sa.exc.SQLAlchemyError, DatabaseUnusable) as error:
            reason = describe(error)
        self._drop()
        raise RegistryUnavailable(f"the registry database {self.label} failed: {reason}")

    def _connected(self, wait_s: float) -> sa.Connection:
        """Return the connection, made anew where it was lost while nobody used it."""
        now, before = time.monotonic(), self._used_at
        self._used_at = now
        if self._connection is not None and self._database.remote and now - before > QUIET_S:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except sa.exc.SQLAlchemyError:
                self._drop()
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._changes:
                self._database.claim(self._connection, alone=False)
        self._database.wait_at_most(self._connection, wait_s)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.close()


def is_there(database: Database) -> bool:
    """Whether there is a registry. Raises `RegistryUnavailable`, and `OSError` for a folder that may not be seen."""
    try:
        return database.exists()
    except (sa.exc.SQLAlchemyError, DatabaseUnusable) as error:
        reason = describe(error)
    raise RegistryUnavailable(f"the registry database {database.label} cannot be opened: {reason}")


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


def _check_tables(connection: sa.Connection) -> None:
    migrations.check(connection, REGISTRY)
    for table in REGISTRY.metadata.sorted_tables:
        connection.execute(sa.select(table).limit(1)).first()
