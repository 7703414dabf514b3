"""The log of evidence, on SQLite or PostgreSQL."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.adapters.store import migrations, schema
from gateway.adapters.store.databases import Database, DatabaseUnusable, SqliteFile
from gateway.adapters.store.faults import STRANGE, STRANGE_VALUES, describe
from gateway.adapters.store.files import AlreadyRunning, FileLock, private_folder
from gateway.adapters.store.fsck import FsckProblem, check_log
from gateway.adapters.store.log_key import HEAD_FILE, ForkLock, load_signer
from gateway.adapters.store.postgresql import PostgresSchema, PostgresServer, log_schema
from gateway.adapters.store.tree_state import Place, read_nodes
from gateway.adapters.store.writer import Append, LogWriter, Sign, WriterStatistics
from gateway.evidence import canonical, merkle
from gateway.evidence.bundle import Logged, Opening, build_bundle
from gateway.evidence.canonical import Entry, Json
from gateway.evidence.checkpoint import Signer, parse_checkpoint
from gateway.evidence.errors import EvidenceInvalid
from gateway.ports.evidence import EvidenceUnavailable, ForkDetected, LoggedCall, Receipt, copy_facts

_T = TypeVar("_T")


def _now() -> datetime:
    return datetime.now(UTC)


class EvidenceReader:
    """Reads the log in *place* beside the process that writes it. Blocking; any thread may call it."""

    def __init__(self, place: Path | Database) -> None:
        self._database = SqliteFile(place) if isinstance(place, Path) else place
        self._engine = self._database.reader()

    def entries(self, call_id: str) -> Sequence[Entry]:
        """Return the call's entries in order. Raises `KeyError`, `EvidenceUnavailable`."""
        return self.read(_entries, call_id)

    def calls(self) -> Sequence[LoggedCall]:
        """Return every call of the log, oldest first. Raises `EvidenceUnavailable`."""
        return self.read(_calls)

    def check(self) -> None:
        """Raise `EvidenceUnavailable` when the file cannot be read as a log at all."""
        self.read(_about)

    def read(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Run *work* in one read transaction: what it sees belongs together, and writers do not wait for it."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql(self._database.begin_reading)
                return work(connection, *arguments)
        except (sa.exc.SQLAlchemyError, OSError, DatabaseUnusable) as error:
            reason = describe(error)
        except EvidenceInvalid as error:
            reason = f"it holds damaged evidence ({error}): `evidence fsck` says where"
        except STRANGE_VALUES:
            reason = STRANGE
        except LookupError as error:
            if isinstance(error, KeyError):
                raise
            reason = str(error)
        raise EvidenceUnavailable(f"the evidence database {self._database.label} cannot be read: {reason}")


class DatabaseEvidenceLog:
    """`EvidenceLog` in a database, with the log's key and fork lock in a folder of their own.

    The constructor opens everything (it blocks, briefly) and raises `ForkDetected` when the database is not
    the one this key signed last, `EvidenceUnavailable` when it cannot be opened, another process has it or the key
    is damaged, `OSError` when the key is missing or could be read by others. The reader methods may be used from any
    task. *lock*: held for the log's life, and let go of at its end. *new*: the log is being made, and its key with it.
    """

    def __init__(
        self,
        database: Database,
        keys_dir: Path,
        origin: str,
        *,
        new: bool,
        lock: FileLock | None = None,
        clock: Callable[[], datetime] = _now,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._keys_dir = keys_dir
        self._clock = clock
        self._randomness = randomness
        self._locks: list[FileLock | ForkLock] = [] if lock is None else [lock]
        try:
            self._signer = load_signer(keys_dir, origin, create=new)
            fork_lock = _take_fork_lock(keys_dir, self._signer)
            self._locks.insert(0, fork_lock)
            self._writer = LogWriter(database, self._signer, fork_lock, mono_ns)
            self._reader = EvidenceReader(database)
            self._writer.start()
        except BaseException as error:
            self._release()
            if isinstance(error, ValueError):
                raise EvidenceUnavailable(str(error)) from None
            raise

    @property
    def origin(self) -> str:
        return self._signer.verifier.name

    @property
    def statistics(self) -> WriterStatistics:
        """Commits, entries, failures and checkpoints since the start."""
        return self._writer.statistics

    def verifier_key(self) -> str:
        return str(self._signer.verifier)

    async def append(
        self, call_id: str, kind: str, facts: Mapping[str, Json], personal: Mapping[str, str] | None = None
    ) -> Receipt:
        return await self._append(call_id, kind, facts, personal or {}, erase=False)

    async def _append(
        self, call_id: str, kind: str, facts: Mapping[str, Json], personal: Mapping[str, str], *, erase: bool
    ) -> Receipt:
        copied = copy_facts(facts)
        sealed = {name: (self._randomness(canonical.SALT_BYTES), value) for name, value in personal.items()}
        at = canonical.timestamp(self._clock())
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._writer.submit(Append(call_id, kind, at, copied, sealed, future, erase))
        return await future

    async def export(self, call_id: str) -> bytes:
        note = await self.checkpoint()
        return await asyncio.to_thread(self._reader.read, self._build, call_id, note)

    async def checkpoint(self) -> str:
        """Return a signed note over everything appended before. Raises `ForkDetected`, `EvidenceUnavailable`."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._writer.submit(Sign(future))
        return await future

    async def entries(self, call_id: str) -> Sequence[Entry]:
        return await asyncio.to_thread(self._reader.entries, call_id)

    async def calls(self) -> Sequence[LoggedCall]:
        return await asyncio.to_thread(self._reader.calls)

    async def erase_personal(self, call_id: str, authority: str) -> Receipt:
        count = await asyncio.to_thread(self._reader.read, _count_personal, call_id)
        facts: dict[str, Json] = {"authority": authority, "count": count}
        return await self._append(call_id, "personal.erased", facts, {}, erase=True)

    async def fsck(self) -> Sequence[FsckProblem]:
        """Read everything again and return what is wrong, in words; empty when nothing is."""
        head = self._keys_dir / HEAD_FILE
        return await asyncio.to_thread(self._reader.read, check_log, self._signer.verifier, head)

    async def aclose(self) -> None:
        """Write what waits, sign the head, let go of the locks."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """The same, blocking. Closing twice does no harm."""
        self._writer.close()
        self._release()

    def _release(self) -> None:
        while self._locks:
            self._locks.pop(0).release()

    def _build(self, connection: sa.Connection, call_id: str, note: str) -> bytes:
        head, _ = parse_checkpoint(note)
        found = connection.execute(
            sa.select(schema.entries.c.idx, schema.entries.c.seq, schema.entries.c.data)
            .where(schema.entries.c.call_id == call_id, schema.entries.c.idx < head.size)
            .order_by(schema.entries.c.seq)
        ).all()
        if not found:
            raise KeyError(call_id)
        wanted: set[Place] = set()

        def ask(level: int, index: int) -> bytes:
            wanted.add((level, index))
            return bytes(merkle.HASH_BYTES)

        for row in found:
            merkle.inclusion_proof(row.idx, head.size, ask)
        known = read_nodes(connection, wanted)

        def node(level: int, index: int) -> bytes:
            return known[level, index]

        logged = [Logged(row.idx, row.data, merkle.inclusion_proof(row.idx, head.size, node)) for row in found]
        return build_bundle(call_id, logged, note, openings_of(connection, call_id, head.size), self._signer)


class SqliteEvidenceLog(DatabaseEvidenceLog):
    """The log in the file *path*."""

    def __init__(self, path: Path, keys_dir: Path, origin: str, **ports: Any) -> None:
        canonical.check_origin(origin)
        private_folder(path.parent)
        fresh = not path.exists()
        path.touch(mode=0o600)
        try:
            lock = FileLock(path.with_name(f"{path.name}.lock"))
        except AlreadyRunning as error:
            raise ForkDetected(f"a second instance: {error}") from None
        new = fresh or not path.stat().st_size
        super().__init__(SqliteFile(path), keys_dir, origin, new=new, lock=lock, **ports)


class PostgresEvidenceLog(DatabaseEvidenceLog):
    """The log *origin* in a schema of its own on *server*."""

    def __init__(self, server: PostgresServer, keys_dir: Path, origin: str, **ports: Any) -> None:
        canonical.check_origin(origin)
        database = PostgresSchema(server, log_schema(origin))
        super().__init__(database, keys_dir, origin, new=not is_there(database), **ports)


def is_there(database: Database) -> bool:
    """Whether there is a log already. Raises `EvidenceUnavailable`, and `OSError` for a folder that may not be seen."""
    try:
        return database.exists()
    except (sa.exc.SQLAlchemyError, DatabaseUnusable) as error:
        reason = describe(error)
    raise EvidenceUnavailable(f"the evidence database {database.label} cannot be opened: {reason}")


def _take_fork_lock(keys_dir: Path, signer: Signer) -> ForkLock:
    try:
        return ForkLock(keys_dir, signer)
    except AlreadyRunning as error:
        raise ForkDetected(f"a second instance signs with this key: {error}") from None


def _about(connection: sa.Connection) -> None:
    migrations.check(connection, migrations.EVIDENCE)
    for table in schema.metadata.sorted_tables:
        connection.execute(sa.select(table).limit(1)).first()


def _entries(connection: sa.Connection, call_id: str) -> list[Entry]:
    query = sa.select(schema.entries.c.data).where(schema.entries.c.call_id == call_id).order_by(schema.entries.c.seq)
    found = connection.execute(query).scalars().all()
    if not found:
        raise KeyError(call_id)
    return [canonical.decode(data) for data in found]


def _calls(connection: sa.Connection) -> list[LoggedCall]:
    first = schema.entries.alias()
    query = (
        sa.select(first.c.call_id, first.c.data, sa.func.count(schema.entries.c.idx))
        .join(schema.entries, schema.entries.c.call_id == first.c.call_id)
        .where(first.c.seq == 0)
        .group_by(first.c.idx)
        .order_by(first.c.idx)
    )
    return [LoggedCall(call_id, canonical.decode(data).at, count) for call_id, data, count in connection.execute(query)]


def _count_personal(connection: sa.Connection, call_id: str) -> int:
    _entries(connection, call_id)
    query = (
        sa.select(sa.func.count())
        .select_from(schema.personal.join(schema.entries, schema.entries.c.idx == schema.personal.c.idx))
        .where(schema.entries.c.call_id == call_id)
    )
    return int(connection.execute(query).scalar_one())


def openings_of(connection: sa.Connection, call_id: str, size: int) -> list[Opening]:
    """Return what still opens the commitments of a call's entries in the tree of *size* leaves."""
    query = (
        sa.select(schema.entries.c.seq, schema.personal.c.name, schema.personal.c.salt, schema.personal.c.value)
        .join(schema.personal, schema.personal.c.idx == schema.entries.c.idx)
        .where(schema.entries.c.call_id == call_id, schema.entries.c.idx < size)
    )
    return [Opening(row.seq, row.name, row.salt, row.value) for row in connection.execute(query)]
