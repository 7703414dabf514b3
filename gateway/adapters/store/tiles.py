"""Writes the log as tiles into a folder that may be published: no entry holds a personal value.

Full tiles are written once and never again; the checkpoint comes last, so that a reader never sees one whose tiles are
missing. An export that is interrupted goes on where it was. At most one tile and its entries are in memory.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from gateway.adapters.store import schema
from gateway.adapters.store.databases import Database
from gateway.adapters.store.evidence_log import EvidenceReader
from gateway.adapters.store.files import replace_file, sync_directory
from gateway.adapters.store.tree_state import read_node
from gateway.evidence import merkle
from gateway.evidence.checkpoint import Checkpoint, Verifier, verify_checkpoint
from gateway.evidence.errors import CheckpointInvalid, ProofInvalid
from gateway.evidence.tiles import HEIGHT, WIDTH, entries_path, tile_path, tile_root, tiles_of, write_bundle
from gateway.ports.anchors import Head
from gateway.ports.evidence import ForkDetected

CHECKPOINT = "checkpoint"


@dataclass(slots=True)
class Exported:
    """What an export came to: entries of the log, files *written*, files *known* from an interrupted one."""

    size: int
    written: int = 0
    known: int = 0
    _folders: set[Path] = field(default_factory=set, repr=False)

    def place(self, path: Path, data: bytes) -> None:
        """Put *data* to *path* whole, or find it there. Raises `ForkDetected` when something else is there."""
        try:
            known = path.read_bytes()
        except FileNotFoundError:
            known = None
        if known is not None:
            if known != data:
                raise ForkDetected(f"{path} is of another log or another history than this: name an empty folder")
            self.known += 1
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._folders.update(path.parents)
        self.written += 1

    def settle(self, root: Path) -> None:
        """Make the new names durable."""
        for folder in sorted(self._folders):
            if folder == root or root in folder.parents:
                sync_directory(folder)


def export_tiles(database: Database, head: Head, verifier: Verifier, folder: Path) -> Exported:
    """Bring the tiles in *folder* up to *head*. Raises `ForkDetected`, `ProofInvalid` for a log that is not the head's,
    `EvidenceUnavailable`, also for one that contradicts itself, `OSError`."""
    reader, size = EvidenceReader(database), head.checkpoint.size
    done = _done(folder, verifier)
    _compare(reader, done, head.checkpoint)
    exported = Exported(size)
    for level, index, width in tiles_of(size, done.size if done else 0):
        hashes, entries = reader.read(_read, level, index, width)
        exported.place(folder / tile_path(level, index, width), b"".join(hashes))
        if level == 0:
            exported.place(folder / entries_path(index, width), write_bundle(entries))
    folder.mkdir(parents=True, exist_ok=True)
    exported.settle(folder)
    replace_file(folder / CHECKPOINT, head.note.encode(), mode=0o644)
    _tidy(folder, done.size if done else 0, size)
    return exported


def _done(folder: Path, verifier: Verifier) -> Checkpoint | None:
    """Return up to where the tiles in *folder* are complete."""
    try:
        return verify_checkpoint((folder / CHECKPOINT).read_bytes().decode(), verifier)
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, CheckpointInvalid) as error:
        reason = "no text" if isinstance(error, UnicodeDecodeError) else str(error)
    raise ForkDetected(f"{folder / CHECKPOINT} is not of this log ({reason}): name an empty folder")


def _compare(reader: EvidenceReader, done: Checkpoint | None, head: Checkpoint) -> None:
    """Raise unless the log has the roots that are signed for."""
    if done is not None and done.size > head.size:
        raise ForkDetected(
            f"the folder has {done.size} entries, the log {head.size}: it was restored from a backup or cut short"
        )
    if reader.read(_root, head.size) != head.root:
        raise ProofInvalid("the log does not hash to its signed head: consent-gateway evidence fsck says where")
    if done is not None and reader.read(_root, done.size) != done.root:
        raise ForkDetected(f"the folder has another history than the log: its first {done.size} entries differ")


def _root(connection: sa.Connection, size: int) -> bytes:
    return merkle.root_at(size, lambda level, index: read_node(connection, level, index))


def _read(connection: sa.Connection, level: int, index: int, width: int) -> tuple[list[bytes], list[bytes]]:
    """Return a tile's hashes, and of level 0 its entries, compared with each other and with the level above."""
    begin, entries = index * WIDTH, []
    if level == 0:
        table = schema.entries.c
        query = sa.select(table.leaf_hash, table.data).where(table.idx.between(begin, begin + width - 1))
        rows = connection.execute(query.order_by(table.idx)).all()
        hashes, entries = [bytes(row.leaf_hash) for row in rows], [bytes(row.data) for row in rows]
        fits = [merkle.leaf_hash(entry) for entry in entries] == hashes
    else:
        nodes = schema.nodes.c
        query_nodes = sa.select(nodes.hash).where(nodes.level == level * HEIGHT)
        found = connection.execute(query_nodes.where(nodes.idx.between(begin, begin + width - 1)).order_by(nodes.idx))
        hashes, fits = [bytes(hash_) for hash_ in found.scalars()], True
    if width == WIDTH == len(hashes):
        fits = fits and tile_root(hashes) == read_node(connection, (level + 1) * HEIGHT, index)
    if not fits or len(hashes) != width:
        raise ProofInvalid(f"at entry {begin * WIDTH**level} or one of the {width * WIDTH**level - 1} after it")
    return hashes, entries


def _tidy(folder: Path, begin: int, size: int) -> None:
    """Remove partial tiles whose full tile is there now: a reader falls back to that (tlog-tiles, Partial Tiles)."""
    for level, index, width in tiles_of(size, begin):
        if width == WIDTH:
            _remove(folder / f"{tile_path(level, index)}.p")
            if level == 0:
                _remove(folder / f"{entries_path(index)}.p")


def _remove(partial: Path) -> None:
    if partial.is_dir():
        for file in partial.iterdir():
            file.unlink()
        partial.rmdir()
