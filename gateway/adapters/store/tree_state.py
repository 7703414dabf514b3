"""What the writer keeps in memory between commits, and how it is read from and written to the database."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from gateway.adapters.store import schema
from gateway.evidence.merkle import HASH_BYTES, Frontier

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
    if not isinstance(found, bytes):
        raise LookupError(f"node {index} of level {level} is missing from the database")
    return found
