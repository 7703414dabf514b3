"""The one thread that writes the log: whatever waits when it is free goes into one commit.

Nothing waits for a timer. A receipt leaves after COMMIT returned, and COMMIT returns after the write-ahead log
reached the disk (SQLite: synchronous=FULL; PostgreSQL: synchronous_commit=on). After any failure the connection is
thrown away and the state is read again from the database, so that what memory believes is never more than what the
disk holds.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from gateway.adapters.store import migrations, schema
from gateway.adapters.store.databases import Database, DatabaseUnusable
from gateway.adapters.store.faults import describe
from gateway.adapters.store.log_key import ForkLock
from gateway.adapters.store.migrations import transaction
from gateway.adapters.store.tree_state import Tail, TreeState, find_tail, load_state, read_node, save_frontier
from gateway.evidence import canonical, merkle
from gateway.evidence.canonical import Entry
from gateway.evidence.checkpoint import Checkpoint, Signer
from gateway.evidence.errors import EntryInvalid, EvidenceInvalid
from gateway.ports.evidence import EntryRefused, EvidenceUnavailable, ForkDetected, Receipt

_log = structlog.get_logger(__name__)

MAX_BATCH = 512
"""Entries in one commit. More wait for the next one: a receipt must not wait for a thousand others."""
MAX_WAITING = 16_384
"""Appends that may wait. A disk that hangs must not eat the memory."""
CHECKPOINT_EVERY_S = 1.0
"""An idle log signs its head this long after the last signature."""
CHECKPOINT_LATEST_S = 5.0
"""A busy log signs its head between two commits at least this often."""

QUIET_S = 1.0
"""A connection over a network that was not used for so long is tried before work is given to it."""

_STORE_ERRORS = (sa.exc.SQLAlchemyError, OSError, LookupError, EvidenceInvalid, ValueError)


@dataclass(slots=True)
class Append:
    """An entry to write. *sealed* maps names to (salt, value); *erase* destroys all openings of the call."""

    call_id: str
    kind: str
    at: str
    facts: Mapping[str, Any] = field(repr=False)
    sealed: Mapping[str, tuple[bytes, str]] = field(repr=False)
    future: "asyncio.Future[Receipt]"
    erase: bool = False


@dataclass(slots=True)
class Sign:
    """A wish for a signed checkpoint over everything appended before."""

    future: "asyncio.Future[str]"


Job = Append | Sign
_Outcome = tuple["asyncio.Future[Any]", Any]


@dataclass(slots=True)
class WriterStatistics:
    """Counts since the start."""

    commits: int = 0
    entries: int = 0
    failed_commits: int = 0
    checkpoints: int = 0


class LogWriter:
    """Owns the database's only writing connection. `submit` may be called from any event loop's thread."""

    def __init__(
        self, database: Database, signer: Signer, fork_lock: ForkLock, mono_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.statistics = WriterStatistics()
        self._database = database
        self._engine = database.writer()
        self._signer = signer
        self._fork_lock = fork_lock
        self._mono_ns = mono_ns
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._connection: sa.Connection | None = None
        self._state: TreeState | None = None
        self._durable = Checkpoint(signer.verifier.name, 0, merkle.EMPTY_ROOT)
        self._signed_at = self._used_at = time.monotonic()
        self._fork: ForkDetected | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="evidence-writer", daemon=True)
        self._started: Future[None] = Future()

    def start(self) -> None:
        """Open the database and check it against the fork lock. Raises `ForkDetected`, `EvidenceUnavailable`."""
        self._thread.start()
        self._started.result()

    def submit(self, job: Job) -> None:
        """Queue a job. Raises `EvidenceUnavailable` when the log is closed or the disk does not keep up."""
        with self._closing:
            if self._closed:
                raise EvidenceUnavailable("the log is closed")
            if self._jobs.qsize() >= MAX_WAITING:
                raise EvidenceUnavailable(f"{MAX_WAITING} entries wait already: the disk does not keep up")
            self._jobs.put(job)

    def close(self) -> None:
        """Write what waits, sign the head, and end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    # --- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        failure = self._attempt(self._open)
        if failure is not None:
            self._reset()
            self._started.set_exception(failure)
            return
        self._started.set_result(None)
        running = True
        while running:
            jobs, running = self._collect()
            self._work(jobs)
        if self._unsigned():
            self._sign_quietly()
        self._reset()

    def _collect(self) -> tuple[list[Job], bool]:
        """Wait for work; return all that waits, and whether there will be more. No jobs: time to sign."""
        wait = max(0.0, self._signed_at + CHECKPOINT_EVERY_S - time.monotonic()) if self._unsigned() else None
        jobs: list[Job] = []
        with contextlib.suppress(queue.Empty):
            job = self._jobs.get(timeout=wait)
            while job is not None:
                jobs.append(job)
                if len(jobs) == MAX_BATCH:
                    return jobs, True
                job = self._jobs.get_nowait()
            return jobs, False
        return jobs, True

    def _work(self, jobs: Sequence[Job]) -> None:
        appends = [job for job in jobs if isinstance(job, Append)]
        if appends:
            _settle(self._commit(appends))
        signs = [job for job in jobs if isinstance(job, Sign)]
        if signs:
            _settle([(job.future, self._sign_or_error()) for job in signs])
        elif self._unsigned() and (not jobs or time.monotonic() - self._signed_at > CHECKPOINT_LATEST_S):
            self._sign_quietly()

    def _commit(self, jobs: Sequence[Append]) -> list[_Outcome]:
        """Write *jobs* in one transaction; return what each waiter is to be told."""
        outcomes: list[_Outcome] = []

        def attempt() -> None:
            connection, state = self._opened()
            batch = _Batch(self._signer.verifier.name, state, connection, self._database)
            with transaction(connection, self._database.begin):
                written = [(job.future, batch.add(job)) for job in jobs]
                batch.write()
            durable = self._mono_ns()
            state.frontier = batch.frontier
            state.remember(batch.tails)
            self._durable = Checkpoint(self._signer.verifier.name, batch.frontier.size, batch.frontier.root())
            for future, item in written:
                outcomes.append((future, item.receipt(durable) if isinstance(item, _Row) else item))
            self.statistics.entries += len(batch.rows)

        failure = self._attempt(attempt)
        if failure is None:
            self.statistics.commits += 1
            if any(job.erase for job in jobs):
                self._shred_erased()
            return outcomes
        self._reset()
        self.statistics.failed_commits += 1
        _log.error("evidence not durable", reason=str(failure), waiting=len(jobs))
        return [(job.future, type(failure)(str(failure))) for job in jobs]

    def _shred_erased(self) -> None:
        """Destroy what was just erased as far as the database reaches. The entry that says so is durable already."""
        if self._connection is not None:
            try:
                self._database.shred(self._connection, schema.personal.name)
            except sa.exc.SQLAlchemyError as error:
                _log.warning("erased values not swept yet", reason=describe(error))

    def _attempt(self, action: Callable[[], None]) -> EvidenceUnavailable | None:
        """Like the function; a fork is final, nothing more is written or signed after one."""
        failure = self._fork or _attempt(action, self._database.label)
        if isinstance(failure, ForkDetected):
            self._fork = failure
        return failure

    # --- the checkpoint -------------------------------------------------------------------------------

    def _unsigned(self) -> bool:
        last = self._fork_lock.last
        return last is None or last.size < self._durable.size

    def _sign_or_error(self) -> str | EvidenceUnavailable:
        notes: list[str] = []
        failure = self._attempt(lambda: notes.append(self._sign()))
        return notes[0] if failure is None else failure

    def _sign_quietly(self) -> None:
        outcome = self._sign_or_error()
        if isinstance(outcome, EvidenceUnavailable):
            _log.error("checkpoint not signed", reason=str(outcome))

    def _sign(self) -> str:
        """Return a note over all durable entries."""
        self._signed_at = time.monotonic()
        connection, state = self._opened()
        last = self._fork_lock.last
        if last is not None and last.size == state.frontier.size and last.root == state.frontier.root():
            return self._fork_lock.note
        if last is not None:
            self._check_extends(connection, state, last, "was signed with this key")
        head = Checkpoint(self._signer.verifier.name, state.frontier.size, state.frontier.root())
        note = self._fork_lock.swap(head)
        self.statistics.checkpoints += 1
        return note

    # --- the connection -------------------------------------------------------------------------------

    def _open(self) -> None:
        connection = self._connect()
        migrations.prepare(connection, self._database, migrations.EVIDENCE)
        own_log(connection, self._signer, self._database.begin)
        _, state = self._opened()
        last = self._fork_lock.load()
        if last is not None:
            self._check_extends(connection, state, last, "was signed with this key")
        elif state.frontier.size:
            raise ForkDetected(
                f"the log holds {state.frontier.size} entries, but the file that says what was signed last is missing"
            )
        else:
            self._fork_lock.swap(Checkpoint(self._signer.verifier.name, 0, merkle.EMPTY_ROOT))
        self._durable = Checkpoint(self._signer.verifier.name, state.frontier.size, state.frontier.root())

    def _connect(self) -> sa.Connection:
        now, before = time.monotonic(), self._used_at
        self._used_at = now
        if self._connection is not None and self._database.remote and now - before > QUIET_S:
            self._try_connection(self._connection)
        if self._connection is None:
            self._connection = self._engine.connect()
            self._database.claim(self._connection, alone=True)
        return self._connection

    def _try_connection(self, connection: sa.Connection) -> None:
        try:
            connection.exec_driver_sql("SELECT 1")
        except sa.exc.SQLAlchemyError as error:
            _log.warning("database connection lost while idle", reason=describe(error))
            self._reset()

    def _opened(self) -> tuple[sa.Connection, TreeState]:
        """Return connection and state; after a failure both are new, and checked against what was acknowledged."""
        connection = self._connect()
        if self._state is None:
            state = load_state(connection)
            self._check_extends(connection, state, self._durable, "was acknowledged as durable")
            self._state = state
        return connection, self._state

    def _check_extends(self, connection: sa.Connection, state: TreeState, old: Checkpoint, what: str) -> None:
        """Raise `ForkDetected` unless the database's tree begins with *old*."""
        size = state.frontier.size
        if size < old.size:
            raise ForkDetected(
                f"{self._database.label} holds {size} entries, but a tree of {old.size} {what}: "
                "the database was restored from a backup, replaced or cut short"
            )
        if merkle.root_at(old.size, lambda level, index: read_node(connection, level, index)) != old.root:
            raise ForkDetected(
                f"the first {old.size} entries of the database are not those of the tree that {what}: another history"
            )

    def _reset(self) -> None:
        self._state = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.close()


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry on its way to the disk."""

    index: int
    entry: Entry
    data: bytes
    leaf: bytes

    def receipt(self, durable_mono_ns: int) -> Receipt:
        return Receipt(self.index, self.leaf, self.entry.call, self.entry.kind, durable_mono_ns)


class _Batch:
    """The entries of one commit: built on a copy of the state, so that a failure leaves nothing behind."""

    def __init__(self, origin: str, state: TreeState, connection: sa.Connection, database: Database) -> None:
        self._database = database
        self.frontier = state.frontier.copy()
        self.tails: dict[str, Tail] = {}
        self.rows: list[_Row] = []
        self._origin = origin
        self._known = state.tails
        self._connection = connection
        self._nodes: list[dict[str, Any]] = []
        self._personal: list[dict[str, Any]] = []

    def add(self, job: Append) -> _Row | EntryRefused:
        """Place the job's entry at the end of the log; an entry that cannot be written fails alone."""
        for text in (job.call_id, *(value for _, value in job.sealed.values())):
            if reason := self._database.refuses(text):
                return EntryRefused(reason)
        tail = self.tails.get(job.call_id) or self._known.get(job.call_id) or find_tail(self._connection, job.call_id)
        try:
            entry = Entry(
                origin=self._origin,
                call=job.call_id,
                kind=job.kind,
                seq=0 if tail is None else tail.seq + 1,
                prev=None if tail is None else tail.leaf.hex(),
                at=job.at,
                facts=job.facts,
                commitments={name: canonical.commit(salt, value) for name, (salt, value) in job.sealed.items()},
            )
            data = canonical.encode(entry)
        except EntryInvalid as error:
            return EntryRefused(str(error))
        row = _Row(self.frontier.size, entry, data, merkle.leaf_hash(data))
        self.rows.append(row)
        self.tails[job.call_id] = Tail(entry.seq, row.leaf)
        for level, index, node in self.frontier.append(row.leaf):
            self._nodes.append({"level": level, "idx": index, "hash": node})
        if job.erase:
            self._erase(job.call_id)
        for name, (salt, value) in job.sealed.items():
            self._personal.append({"idx": row.index, "name": name, "salt": salt, "value": value})
        return row

    def _erase(self, call_id: str) -> None:
        of_call = sa.select(schema.entries.c.idx).where(schema.entries.c.call_id == call_id)
        self._connection.execute(sa.delete(schema.personal).where(schema.personal.c.idx.in_(of_call)))
        doomed = {row.index for row in self.rows if row.entry.call == call_id}
        self._personal = [item for item in self._personal if item["idx"] not in doomed]

    def write(self) -> None:
        if not self.rows:
            return
        rows = [
            {"idx": row.index, "call_id": row.entry.call, "seq": row.entry.seq, "leaf_hash": row.leaf, "data": row.data}
            for row in self.rows
        ]
        for table, found in ((schema.entries, rows), (schema.nodes, self._nodes), (schema.personal, self._personal)):
            if found:
                self._database.insert(self._connection, table, found)
        save_frontier(self._connection, self.frontier)


def own_log(connection: sa.Connection, signer: Signer, begin: str) -> None:
    """Note in a new database whose log it is; refuse one of another log or key (`ForkDetected`)."""
    with transaction(connection, begin):
        known = connection.execute(sa.select(schema.about)).first()
        key = str(signer.verifier)
        if known is None:
            version = int(migrations.EVIDENCE.newest)
            about = {"schema_version": version, "origin": signer.verifier.name, "verifier_key": key}
            connection.execute(sa.insert(schema.about), {"id": 1, **about})
            connection.execute(sa.insert(schema.tree), {"id": 1, "size": 0, "frontier": b""})
            return
    if (known.origin, known.verifier_key) != (signer.verifier.name, key):
        raise ForkDetected(
            f"the database is the log '{known.origin}' of another key than {signer.verifier.label}: "
            "put evidence.origin or keys/log.key back as they were"
        )


def _attempt(action: Callable[[], None], database: str) -> EvidenceUnavailable | None:
    """Run *action* on *database*; return what went wrong as a fresh error, in words without a value or a statement."""
    try:
        action()
    except EvidenceUnavailable as error:
        return type(error)(str(error))
    except DatabaseUnusable as error:
        return EvidenceUnavailable(f"the evidence database {database} cannot be used: {error}")
    except _STORE_ERRORS as error:
        return EvidenceUnavailable(f"the evidence database {database} failed: {describe(error)}")
    except Exception as error:  # a fault of ours must not leave waiters hanging
        return EvidenceUnavailable(f"the log's writer failed: {type(error).__name__}")
    return None


def _settle(outcomes: Sequence[_Outcome]) -> None:
    """Give every waiter its outcome in its own event loop, one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for future, outcome in outcomes:
        by_loop.setdefault(future.get_loop(), []).append((future, outcome))
    for loop, settled in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, settled)


def _resolve(outcomes: Sequence[_Outcome]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
