"""Read the whole log again and say in words what is wrong with it. Trusts nothing but the public key."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import sqlalchemy as sa

from gateway.adapters.store import migrations, schema
from gateway.adapters.store.databases import Database, SqliteFile
from gateway.adapters.store.faults import STRANGE, STRANGE_VALUES
from gateway.evidence import canonical, merkle
from gateway.evidence.anchors import Anchored, contradictions, read_anchors
from gateway.evidence.canonical import Entry
from gateway.evidence.checkpoint import Checkpoint, Verifier, verify_checkpoint
from gateway.evidence.errors import AnchorInvalid, CheckpointInvalid, EntryInvalid, KeyInvalid

ANCHORS = "anchors"
"""The folder beside the key in which anchored heads are kept."""
ERASURE = "personal.erased"
_CHUNK = 2_000
"""Entries whose nodes and openings are fetched together."""


@dataclass(frozen=True, slots=True)
class FsckProblem:
    """One thing that is wrong: *where* ("entry 12 of the log"), and *what* it means."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def fsck(place: Path | Database, keys_dir: Path) -> list[FsckProblem]:
    """Check the log in *place* against the public key and the fork lock in *keys_dir*, without the gateway.

    Raises `KeyInvalid` and `OSError` when there is no public key to check with.
    """
    verifier = _public_key(keys_dir / "log.pub")
    database = SqliteFile(place) if isinstance(place, Path) else place
    with database.reader().connect() as connection:
        connection.exec_driver_sql(database.begin_reading)
        return check_log(connection, verifier, keys_dir / "log.head")


def _public_key(path: Path) -> Verifier:
    try:
        return Verifier.parse(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, KeyInvalid) as error:
        reason = "not text" if isinstance(error, UnicodeDecodeError) else str(error)
    raise KeyInvalid(f"{path} is no public key of a log ({reason}): the gateway writes it anew from log.key")


def check_log(connection: sa.Connection, verifier: Verifier, head: Path) -> list[FsckProblem]:
    """Check everything the database holds. *head* is the fork lock's file."""
    check = _Check(connection, verifier, head)
    problems: list[FsckProblem] = []
    try:
        steps = (check.database, check.programs, check.about, check.log, check.head, check.anchors)
        for problem in chain.from_iterable(step() for step in steps):
            problems.append(problem)
    except sa.exc.SQLAlchemyError as error:
        what = f"cannot be read ({type(error).__name__}): damaged, or not a log"
        problems.append(FsckProblem("the database", what))
    except STRANGE_VALUES:
        problems.append(FsckProblem("the database", f"cannot be read to its end: {STRANGE}"))
    return problems


def _read_head(path: Path) -> bytes | None:
    """Return the head's file; `None` when there is none.

    It is read after the anchors and before the database: a gateway that goes on would else seem to have lost entries.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read_anchors(folder: Path, verifier: Verifier) -> tuple[list[Anchored], str]:
    """Return the anchored heads in *folder*, or what is wrong with them."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    try:
        return read_anchors(files, verifier), ""
    except AnchorInvalid as error:
        return [], str(error)


class _Check:
    def __init__(self, connection: sa.Connection, verifier: Verifier, head: Path) -> None:
        self._connection = connection
        self._verifier = verifier
        self._path = head
        self._anchors, self._bad_anchor = _read_anchors(head.parent / ANCHORS, verifier)
        self._head = _read_head(head)
        self._signed: Checkpoint | None = None
        self._roots = {item.checkpoint.size: merkle.EMPTY_ROOT for item in self._anchors}
        self._frontier = merkle.Frontier()
        self._leaves: list[bytes] = []
        self._loaded = 0
        self._stored: dict[tuple[int, int], bytes] = {}
        self._opened: dict[int, dict[str, tuple[bytes, str]]] = {}
        self._missing: list[tuple[str, Entry, str]] = []
        self._present: list[tuple[str, str, int]] = []
        self._tails: dict[str, tuple[int, str]] = {}
        self._erased: dict[str, int] = {}

    def database(self) -> Iterator[FsckProblem]:
        """SQLite's own check of its pages and indexes. PostgreSQL has none to call: damage shows when it is read."""
        if self._connection.dialect.name != "sqlite":
            return
        for row in self._connection.exec_driver_sql("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield FsckProblem("the database file", "SQLite finds its pages damaged")
                return

    def programs(self) -> Iterator[FsckProblem]:
        """What would run inside the database, or stand in the place of a table: this program makes none of either."""
        of_sqlite = "SELECT count(*) FROM sqlite_master WHERE type = '{}'"
        of_others = "SELECT count(*) FROM information_schema.{}s WHERE {}_schema = current_schema()"
        for kind, of in (("trigger", "trigger"), ("view", "table")):
            sqlite = self._connection.dialect.name == "sqlite"
            found = of_sqlite.format(kind) if sqlite else of_others.format(kind, of)
            if count := self._connection.execute(sa.text(found)).scalar_one():
                yield FsckProblem(
                    "the database", f"has {count} {kind}s, this program makes none: what is written may be changed"
                )

    def about(self) -> Iterator[FsckProblem]:
        row = self._connection.execute(sa.select(schema.about)).first()
        if row is None or row.schema_version != int(migrations.EVIDENCE.newest):
            yield FsckProblem("the database", "is of another version than this program")
        elif (row.origin, row.verifier_key) != (self._verifier.name, str(self._verifier)):
            yield FsckProblem("the database", f"is of another log or key than {self._verifier.label}")

    # --- entries, chains, tree ------------------------------------------------------------------------

    def log(self) -> Iterator[FsckProblem]:
        """Walk all entries in order and rebuild the tree from their bytes alone."""
        query = sa.select(schema.entries).order_by(schema.entries.c.idx)
        rows = self._connection.execute(query, execution_options={"yield_per": _CHUNK})
        expected = 0
        for row in rows:
            if row.idx >= self._loaded:
                self._load(row.idx)
            if row.idx != expected:
                yield FsckProblem(f"entry {expected} of the log", f"is missing; entry {row.idx} follows")
                expected = row.idx
            expected += 1
            yield from self._entry(row)
        for where, entry, name in self._missing:
            if entry.seq >= self._erased.get(entry.call, 0):
                yield FsckProblem(where, f"the value of '{name}' is gone, and no entry says that it was erased")
        for where, call, seq in self._present:
            if seq < self._erased.get(call, 0):
                yield FsckProblem(
                    where, f"has a personal value that entry {self._erased[call]} of its call says was erased"
                )
        yield from self._counts()
        yield from self._orphans()

    def _load(self, begin: int) -> None:
        """Fetch what belongs to the next entries in a few queries: one for each entry would take minutes."""
        end = self._loaded = begin + _CHUNK
        self._stored.clear()
        self._opened.clear()
        table = schema.nodes.c
        for level in range(1, end.bit_length() + 1):
            within = table.idx.between(begin >> level, end >> level)
            for row in self._connection.execute(sa.select(schema.nodes).where(table.level == level, within)):
                self._stored[row.level, row.idx] = row.hash
        for row in self._connection.execute(
            sa.select(schema.personal).where(schema.personal.c.idx.between(begin, end))
        ):
            self._opened.setdefault(row.idx, {})[row.name] = (row.salt, row.value)

    def _entry(self, row: sa.Row[tuple[int, str, int, bytes, bytes]]) -> Iterator[FsckProblem]:
        where = f"entry {row.idx} of the log"
        data = row.data if isinstance(row.data, bytes) else str(row.data).encode()
        leaf = merkle.leaf_hash(data)
        completed = self._frontier.append(leaf)
        self._leaves.append(leaf)
        if self._frontier.size in self._roots:
            self._roots[self._frontier.size] = self._frontier.root()
        if leaf != row.leaf_hash:
            yield FsckProblem(where, "its bytes do not hash to the stored leaf: they were changed, or the hash was")
        yield from self._nodes(where, completed)
        try:
            entry = canonical.decode(data)
        except EntryInvalid as error:
            yield FsckProblem(where, f"is no entry: {error}")
            self._tails[row.call_id] = (row.seq, leaf.hex())
            return
        if entry.origin != self._verifier.name:
            yield FsckProblem(where, "names another log as its origin")
        if (entry.call, entry.seq) != (row.call_id, row.seq):
            yield FsckProblem(where, "the table says another call or number than the entry itself")
        if entry.kind == ERASURE:
            self._erased[entry.call] = entry.seq
        yield from self._chain(where, entry, leaf)
        yield from self._commitments(where, row.idx, entry)

    def _nodes(self, where: str, completed: list[tuple[int, int, bytes]]) -> Iterator[FsckProblem]:
        for level, index, node in completed:
            if self._stored.get((level, index)) != node:
                yield FsckProblem(where, f"the tree's node {index} of level {level} above it is missing or wrong")

    def _chain(self, where: str, entry: Entry, leaf: bytes) -> Iterator[FsckProblem]:
        seq, prev = self._tails.get(entry.call, (-1, None))
        if entry.seq != seq + 1:
            yield FsckProblem(where, f"is number {entry.seq} of its call, but follows number {seq}")
        elif entry.prev != prev:
            yield FsckProblem(where, "does not name the entry before it in its call")
        self._tails[entry.call] = (entry.seq, leaf.hex())

    def _commitments(self, where: str, index: int, entry: Entry) -> Iterator[FsckProblem]:
        rows = self._opened.pop(index, {})
        if rows:
            self._present.append((where, entry.call, entry.seq))
        for name, digest in entry.commitments.items():
            salt, value = rows.pop(name, (None, ""))
            if salt is None:
                self._missing.append((where, entry, name))
            elif len(salt) != canonical.SALT_BYTES or canonical.commit(salt, value) != digest:
                yield FsckProblem(where, f"the stored value of '{name}' is not the one committed to")
        for name in rows:
            yield FsckProblem(where, f"a value is stored for '{name}', which the entry does not commit to")

    def _orphans(self) -> Iterator[FsckProblem]:
        query = (
            sa.select(sa.func.count())
            .select_from(schema.personal.outerjoin(schema.entries, schema.entries.c.idx == schema.personal.c.idx))
            .where(schema.entries.c.idx.is_(None))
        )
        if count := self._connection.execute(query).scalar_one():
            yield FsckProblem("the table of personal values", f"holds {count} values that belong to no entry")

    def _counts(self) -> Iterator[FsckProblem]:
        size = self._frontier.size
        row = self._connection.execute(sa.select(schema.tree.c.size, schema.tree.c.frontier)).first()
        if row is None or (row.size, row.frontier) != (size, b"".join(self._frontier.hashes)):
            yield FsckProblem("the tree", f"the stored frontier is not that of the {size} entries there are")
        wanted = sum(size >> level for level in range(1, size.bit_length()))
        if self._connection.execute(sa.select(sa.func.count()).select_from(schema.nodes)).scalar_one() != wanted:
            yield FsckProblem("the tree", f"a tree of {size} entries has {wanted} inner nodes, the table has not")

    # --- the fork lock --------------------------------------------------------------------------------

    def head(self) -> Iterator[FsckProblem]:
        """Compare the tree with the head that was signed last."""
        where = f"the last signed head ({self._path.name})"
        if self._head is None:
            yield FsckProblem(where, "is missing: the log refuses to sign without it")
            return
        try:
            head = verify_checkpoint(self._head.decode(), self._verifier)
        except (UnicodeDecodeError, CheckpointInvalid) as error:
            yield FsckProblem(
                where, f"cannot be trusted: {error if isinstance(error, CheckpointInvalid) else 'no text'}"
            )
            return
        self._signed = head
        size = self._frontier.size
        if head.size > size:
            yield FsckProblem(
                where, f"covers {head.size} entries, the database holds {size}: it was cut short or restored"
            )
        elif merkle.root_at(head.size, self._node) != head.root:
            yield FsckProblem(where, f"the first {head.size} entries do not hash to its root: the history was changed")

    def anchors(self) -> Iterator[FsckProblem]:
        """Compare the tree with every head that was anchored: they may know more than the last signed one."""
        if self._bad_anchor:
            yield FsckProblem(f"the folder of anchors ({ANCHORS})", self._bad_anchor)
        for file, what in contradictions(self._anchors, self._frontier.size, self._signed, self._roots.__getitem__):
            yield FsckProblem(f"the anchor {file}", what)

    def _node(self, level: int, index: int) -> bytes:
        """Rebuild a node from the entries' bytes; the stored hashes may be the lie."""
        if level == 0:
            return self._leaves[index]
        return merkle.node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))
