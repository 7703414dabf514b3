"""The copy of a log that the tamper drill damages: without personal values, and signed with a key of its own.

The real log's key signs nothing here, because some damages need a signature over a false history, and such a
signature would be proof against the real log wherever it turned up. Personal values stay where they are: in the
copy they are erased, as the gateway erases them. The drill's own two calls bring made-up ones.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.adapters.store import schema
from gateway.adapters.store.databases import Database
from gateway.adapters.store.evidence_log import EvidenceReader, SqliteEvidenceLog
from gateway.adapters.store.fsck import ANCHORS
from gateway.adapters.store.log_key import HEAD_FILE, ForkLock, load_signer
from gateway.evidence import canonical, merkle
from gateway.evidence.canonical import Entry, Json
from gateway.evidence.checkpoint import Checkpoint, Signer, sign_checkpoint

CALL, OTHER_CALL, LYING_CALL = "drill-1", "drill-2", "drill-3"
_SHARE = 2_000
"""Rows copied at a time."""

_SEALED = (
    """SELECT DISTINCT call_id FROM entries WHERE instr(data, CAST('"commitments":{"' AS BLOB)) ORDER BY call_id"""
)
"""Calls with commitments, by the canonical spelling. One whose erasure lies beyond the copied part needs one there."""

Steps = list[tuple[str, dict[str, Json]]]

_PARTIES: Json = [{"role": "caller", "kind": "customer"}, {"role": "agent", "kind": "employee"}]
_MADE_UP = {"caller_number": "+15550100", "caller_name": "Somebody made up"}


def story() -> Steps:
    """Return what a recorded call of made-up people leaves in the log: asked, granted, recorded, paused, ended."""
    recording: dict[str, Json] = {"recording": "drill"}
    prompt: dict[str, Json] = {"prompt": "ask", "attempt": 1, "language": "en", "text": "May we?", "sha256": "ef" * 32}
    grants: dict[str, Json] = {"basis": "consent", "purposes": {"recording": True}}
    spans: Json = [
        {"state": "on", "from_frame": 0, "to_frame": 50, "cause": "drill"},
        {"state": "paused", "from_frame": 50, "to_frame": 90, "cause": "drill"},
    ]
    steps: Steps = [
        ("call.arrived", {"parties": _PARTIES, "basis": "consent", "purposes": ["recording"], "policy": {}}),
        ("prompt.played", {**prompt, "played_ms": 2_000, "length_ms": 2_000, "completed": True}),
        ("answer.digit", {"leg": "caller", "transport": "rfc4733", "duration_ms": 80, "counted": True, "because": ""}),
        ("verdict", {"party": "caller", "verdict": "granted", **grants}),
        ("recorder.command", {**recording, "command": "open", "cause": "drill"}),
        ("recorder.observed", {**recording, "state": "on", "at_frame": 0, "cause": "drill", "how": "heard"}),
        ("recorder.command", {**recording, "command": "pause", "cause": "drill"}),
        ("recorder.observed", {**recording, "state": "paused", "at_frame": 50, "cause": "drill", "how": "heard"}),
        (
            "recording.closed",
            {
                **recording,
                "sha256": "cd" * 32,
                "size": 4_096,
                "frames": 90,
                "spans": spans,
                "failed": "",
                "checked": "",
            },
        ),
    ]
    return [*steps, ("call.ended", {"cause": "drill", "entries": len(steps) + 1})]


@dataclass(frozen=True, slots=True)
class Copy:
    """A log in a folder of its own that may be damaged."""

    folder: Path
    origin: str

    @property
    def path(self) -> Path:
        return self.folder / "evidence.db"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def head(self) -> Path:
        return self.keys / HEAD_FILE

    @property
    def anchors(self) -> Path:
        return self.keys / ANCHORS

    @property
    def kept(self) -> Path:
        """The note of the head that was anchored before anything was damaged."""
        (note,) = self.anchors.glob("*.checkpoint")
        return note

    def anchor(self) -> None:
        """Keep the present head among the anchors."""
        note = self.head.read_bytes()
        (self.anchors / f"{note.split()[1].decode()}.checkpoint").write_bytes(note)

    def signer(self) -> Signer:
        """Return the drill's own key."""
        return load_signer(self.keys, self.origin, create=False)

    def clone(self, folder: Path) -> "Copy":
        shutil.copytree(self.folder, folder)
        return Copy(folder, self.origin)

    def rows(self, query: str, **values: Any) -> list[Any]:
        with sqlite3.connect(self.path) as connection:
            return connection.execute(query, values).fetchall()

    def change(self, *statements: str, **values: Any) -> None:
        """Change the database as somebody does who can write the file: no constraint of ours stands in the way.

        Raises `DrillFailed` when a statement changes nothing.
        """
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                done = connection.execute(statement, values)
                if statement.startswith(("UPDATE", "DELETE", "INSERT")) and done.rowcount < 1:
                    raise DrillFailed(f"the drill's statement changed nothing: {statement}")
        connection.close()

    def entry(self, index: int) -> Entry:
        return canonical.decode(self.rows("SELECT data FROM entries WHERE idx = :at", at=index)[0][0])

    def put(self, index: int, entry: Entry) -> bytes:
        """Put *entry* in the place of another; return its leaf hash. The tree above it no longer fits."""
        data = canonical.encode(entry)
        leaf = merkle.leaf_hash(data)
        self.change(
            "UPDATE entries SET data = :data, leaf_hash = :leaf WHERE idx = :at", data=data, leaf=leaf, at=index
        )
        return leaf

    def rewrite(self, index: int, entry: Entry) -> Checkpoint:
        """Put *entry* in the place of another and make everything above it fit, as a careful forger would."""
        self.put(index, entry)
        return self.rebuild()

    def rebuild(self) -> Checkpoint:
        """Make the stored tree fit the stored leaves; return its head."""
        tree = merkle.Frontier()
        with sqlite3.connect(self.path) as connection:
            connection.execute("DELETE FROM nodes")
            for (leaf,) in connection.execute("SELECT leaf_hash FROM entries ORDER BY idx").fetchall():
                connection.executemany("INSERT INTO nodes (level, idx, hash) VALUES (?, ?, ?)", tree.append(leaf))
            connection.execute("UPDATE tree SET size = ?, frontier = ?", (tree.size, b"".join(tree.hashes)))
        connection.close()
        return Checkpoint(self.origin, tree.size, tree.root())

    def sign(self, head: Checkpoint) -> None:
        self.head.write_text(sign_checkpoint(head, self.signer()), encoding="utf-8")

    def export(self, call: str, steps: Steps) -> bytes:
        """Append *steps* with the gateway's own log, then return the call's bundle."""

        async def work() -> bytes:
            log = SqliteEvidenceLog(self.path, self.keys, self.origin)
            try:
                await _append(log, call, steps)
                return await log.export(call)
            finally:
                await log.aclose()

        return asyncio.run(work())


class DrillFailed(RuntimeError):
    """The drill itself did not work: it shows nothing."""


def prepare(folder: Path, source: Database | None, origin: str, most: int = 0) -> Copy:
    """Return a sound log below *folder*: a copy of that in *source* if there is one, and the drill's own calls.

    *most*: only so many entries, from the first; 0: all. Raises `EvidenceUnavailable`, `OSError`.
    """
    copy = Copy(folder, origin)
    folder.mkdir(mode=0o700)
    sealed: Sequence[str] = ()
    signer = load_signer(copy.keys, origin, create=True)
    if source is not None:
        sealed = _copy(EvidenceReader(source), copy, signer, most)
    asyncio.run(_add_calls(copy, sealed))
    copy.anchors.mkdir(mode=0o700)
    copy.anchor()
    return copy


def _copy(reader: EvidenceReader, copy: Copy, signer: Signer, most: int) -> Sequence[str]:
    """Copy the entries and grow the tree over them; return the calls whose personal values stay behind."""
    engine = schema.open_engine(copy.path)
    with engine.connect() as target:
        schema.metadata.create_all(target)
        target.exec_driver_sql("BEGIN")
        reader.read(partial(_copy_rows, target=target, most=most))
        target.execute(sa.update(schema.about).values(verifier_key=str(signer.verifier)))
        target.exec_driver_sql("COMMIT")
    lock = ForkLock(copy.keys, signer)
    lock.swap(copy.rebuild())
    lock.release()
    return [call for (call,) in copy.rows(_SEALED)]


def _copy_rows(source: sa.Connection, target: sa.Connection, most: int) -> None:
    """The first entries of a log are a log: it was one when there were no others."""
    wanted = schema.entries.c.idx < most if most else sa.true()
    for query in (sa.select(schema.about), sa.select(schema.tree), sa.select(schema.entries).where(wanted)):
        table = query.get_final_froms()[0]
        for rows in source.execute(query).mappings().partitions(_SHARE):
            target.execute(sa.insert(schema.metadata.tables[str(table)]), [dict(row) for row in rows])


async def _add_calls(copy: Copy, sealed: Iterable[str]) -> None:
    log = SqliteEvidenceLog(copy.path, copy.keys, copy.origin)
    try:
        for call in sealed:
            await log.erase_personal(call, "drill: the copy takes no personal value along")
        await _append(log, OTHER_CALL, story())
        await log.erase_personal(OTHER_CALL, "drill")
        await _append(log, CALL, story())
    finally:
        await log.aclose()


async def _append(log: SqliteEvidenceLog, call: str, steps: Steps) -> None:
    for number, (kind, facts) in enumerate(steps):
        personal: Mapping[str, str] = _MADE_UP if number == 0 else {"note": "made up"} if kind == "verdict" else {}
        await log.append(call, kind, facts, personal)
