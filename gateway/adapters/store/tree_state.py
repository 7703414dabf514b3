"""What the writer keeps in memory between commits, and how it is read from and written to the database."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from gateway.adapters.store import schema
from gateway.evidence.merkle import HASH_BYTES, Frontier

Place = tuple[int, int]
"""Level and index of a node."""

_MAX_TAILS = 4_096
"""Calls whose last entry is remembered. Others are looked up."""

_LAST_ENTRY = (
    sa.select(schema.entries.c.seq, schema.entries.c.leaf_hash)
    .where(schema.entries.c.call_id == sa.bindparam("call_id"))
    .order_by(schema.entries.c.seq.desc())
    .limit(1)
)
_LEAF = sa.select(schema.entries.c.leaf_hash).where(schema.entries.c.idx == sa.bindparam("idx"))
_NODE = sa.select(schema.nodes.c.hash).where(
    schema.nodes.c.level == sa.bindparam("level"), schema.nodes.c.idx == sa.bindparam("idx")
)
_LEAVES = sa.select(schema.entries.c.idx, schema.entries.c.leaf_hash).where(
    schema.entries.c.idx.in_(sa.bindparam("leaves", expanding=True))
)
_NODES = sa.select(schema.nodes.c.level, schema.nodes.c.idx, schema.nodes.c.hash).where(
    sa.tuple_(schema.nodes.c.level, schema.nodes.c.idx).in_(sa.bindparam("nodes", expanding=True))
)
_AT_ONCE = 400
"""Nodes in one question: SQLite of before 3.32 takes 999 values."""
_UPDATE_TREE = sa.update(schema.tree)


@dataclass(frozen=True, slots=True)
class Tail:
    """The last entry of a call: its number and leaf hash."""

    seq: int
    leaf: bytes


@dataclass(slots=True)
class TreeState:
    """The frontier and the ends of the calls' chains, as of the last commit."""

    frontier: Frontier
    tails: dict[str, Tail] = field(default_factory=dict)

    def remember(self, tails: dict[str, Tail]) -> None:
        self.tails.update(tails)
        while len(self.tails) > _MAX_TAILS:
            del self.tails[next(iter(self.tails))]


def load_state(connection: sa.Connection) -> TreeState:
    """Read the frontier. Raises `ValueError` when it cannot be that of the entries there are."""
    row = connection.execute(sa.select(schema.tree.c.size, schema.tree.c.frontier)).one()
    blob = row.frontier
    hashes = [blob[place : place + HASH_BYTES] for place in range(0, len(blob), HASH_BYTES)]
    count = connection.execute(sa.select(sa.func.max(schema.entries.c.idx))).scalar()
    if (0 if count is None else count + 1) != row.size:
        raise ValueError("the tree's size is not the number of its entries")
    return TreeState(Frontier(row.size, hashes))


def save_frontier(connection: sa.Connection, frontier: Frontier) -> None:
    connection.execute(_UPDATE_TREE, {"size": frontier.size, "frontier": b"".join(frontier.hashes)})


def find_tail(connection: sa.Connection, call_id: str) -> Tail | None:
    """Look up the last entry of a call."""
    row = connection.execute(_LAST_ENTRY, {"call_id": call_id}).first()
    return None if row is None else Tail(row.seq, row.leaf_hash)


def read_node(connection: sa.Connection, level: int, index: int) -> bytes:
    """Return the hash of a complete node. Raises `LookupError` when the database lacks it."""
    if level == 0:
        found = connection.execute(_LEAF, {"idx": index}).scalar()
    else:
        found = connection.execute(_NODE, {"level": level, "idx": index}).scalar()
    return _hash(found, level, index)


def read_nodes(connection: sa.Connection, wanted: Collection[Place]) -> dict[Place, bytes]:
    """Return the hashes of many complete nodes, by level and index, in few questions. Raises `LookupError` like
    `read_node`."""
    found: dict[Place, Any] = {}
    ordered = sorted(wanted)
    for begin in range(0, len(ordered), _AT_ONCE):
        part = ordered[begin : begin + _AT_ONCE]
        leaves = [index for level, index in part if level == 0]
        nodes = [place for place in part if place[0]]
        for index, leaf in connection.execute(_LEAVES, {"leaves": leaves}) if leaves else ():
            found[0, index] = leaf
        for level, index, node in connection.execute(_NODES, {"nodes": nodes}) if nodes else ():
            found[level, index] = node
    return {place: _hash(found.get(place), *place) for place in ordered}


def _hash(found: object, level: int, index: int) -> bytes:
    if not isinstance(found, bytes):
        raise LookupError(f"node {index} of level {level} is missing from the database")
    return found
