"""The tables of the evidence database, and how its connections are opened."""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from gateway.adapters.store.sweeping import keep_swept

Whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A whole number of 64 bits: SQLite calls it INTEGER, and nothing else makes a row's number of it."""

metadata = sa.MetaData()

about = sa.Table(
    "about",
    metadata,
    sa.Column("id", Whole, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("schema_version", Whole, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("verifier_key", sa.Text, nullable=False),
)

tree = sa.Table(
    "tree",
    metadata,
    sa.Column("id", Whole, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("size", Whole, nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),
)
"""The frontier: hashes of the complete subtrees, largest first, 32 bytes each."""

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("idx", Whole, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("seq", Whole, nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("call_id", "seq"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("level", Whole, primary_key=True, autoincrement=False),
    sa.Column("idx", Whole, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Complete nodes above the leaves. Level 0 is `entries.leaf_hash`."""

personal = sa.Table(
    "personal",
    metadata,
    sa.Column("idx", Whole, sa.ForeignKey("entries.idx"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Openings of commitments. Deleting rows here erases the person and leaves every proof intact."""
keep_swept(personal)


def open_engine(path: Path) -> sa.Engine:
    """Return an engine whose connections write durably: WAL, synchronous FULL, deleted values overwritten.

    Transactions are begun and ended in words (`BEGIN IMMEDIATE`, `COMMIT`), never implicitly.
    """
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"timeout": 5})
    event.listen(engine, "connect", _writer_pragmas)
    return engine


def open_reader(path: Path) -> sa.Engine:
    """Return an engine that can only read."""
    uri = f"file:{quote(str(path))}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def _writer_pragmas(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
