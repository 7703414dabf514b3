"""What the log shows of single calls under a head of one's choice, read beside the process that writes."""

from collections.abc import Callable, Sequence
from functools import partial

import sqlalchemy as sa

from gateway.adapters.store import schema
from gateway.adapters.store.databases import Database
from gateway.adapters.store.evidence_log import EvidenceReader, openings_of
from gateway.adapters.store.tree_state import read_node
from gateway.evidence import merkle
from gateway.evidence.anchors import Anchored
from gateway.evidence.bundle import Logged, build_bundle
from gateway.evidence.checkpoint import Signer, parse_checkpoint
from gateway.evidence.tlog_proof import TlogProof


class CallNotCovered(LookupError):
    """No anchored head has all entries of the call."""


def bundle_under(
    database: Database, call_id: str, count: int, choose: Callable[[int], Anchored | None], signer: Signer
) -> bytes:
    """Return the bundle of a call of *count* entries under the head that *choose* gives for a number of entries of the
    log. Raises `CallNotCovered`, `EvidenceUnavailable`, `EvidenceInvalid`."""

    def work(connection: sa.Connection) -> bytes | None:
        places = _places(connection, call_id, count)
        head = choose(places[-1] + 1)
        if head is None:
            return None
        size = head.checkpoint.size
        logged = logged_entries(connection, places, size)
        return build_bundle(call_id, logged, head.note, openings_of(connection, call_id, size), signer)

    data = EvidenceReader(database).read(work)
    if data is None:
        raise CallNotCovered("no anchored head covers the whole call")
    return data


def entry_under(
    database: Database, call_id: str, seq: int | None, choose: Callable[[int], str | None]
) -> tuple[bytes, TlogProof]:
    """Return the bytes of entry *seq* of a call (`None`: the last) and their proof under the note that *choose* gives
    for a number of entries of the log. Raises `KeyError`, `CallNotCovered`, `EvidenceUnavailable`."""

    def work(connection: sa.Connection) -> tuple[bytes, TlogProof] | None:
        table = schema.entries.c
        query = sa.select(table.idx).where(table.call_id == call_id)
        query = query.order_by(table.seq.desc()).limit(1) if seq is None else query.where(table.seq == seq)
        index = connection.execute(query).scalar()
        if index is None:
            raise KeyError(call_id)
        note = choose(index + 1)
        if note is None:
            return None
        (logged,) = logged_entries(connection, [index], parse_checkpoint(note)[0].size)
        return logged.data, TlogProof(index, logged.proof, note)

    found = EvidenceReader(database).read(work)
    if found is None:
        raise CallNotCovered("no signed head covers that entry yet")
    return found


def _places(connection: sa.Connection, call_id: str, count: int) -> Sequence[int]:
    """Return the indices in the log of a call's first *count* entries."""
    query = sa.select(schema.entries.c.idx).where(schema.entries.c.call_id == call_id).order_by(schema.entries.c.seq)
    return connection.execute(query.limit(count)).scalars().all()


def logged_entries(connection: sa.Connection, places: Sequence[int], size: int) -> list[Logged]:
    """Return the entries at *places* with their proofs for the tree of *size* leaves."""
    known: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        if (level, index) not in known:
            known[level, index] = read_node(connection, level, index)
        return known[level, index]

    read = partial(_data, connection)
    return [Logged(place, read(place), merkle.inclusion_proof(place, size, node)) for place in places]


def _data(connection: sa.Connection, index: int) -> bytes:
    query = sa.select(schema.entries.c.data).where(schema.entries.c.idx == index)
    return bytes(connection.execute(query).scalar_one())
