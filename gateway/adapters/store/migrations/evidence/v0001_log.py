"""The log: what it is, its tree, its entries and the openings of their commitments."""

import sqlalchemy as sa
from alembic import op

from gateway.adapters.store.sweeping import sweeping

revision = "0001"
down_revision = None


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "about",
        sa.Column("id", whole, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("schema_version", whole, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("verifier_key", sa.Text, nullable=False),
    )
    op.create_table(
        "tree",
        sa.Column("id", whole, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("size", whole, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "entries",
        sa.Column("idx", whole, primary_key=True, autoincrement=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("seq", whole, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("call_id", "seq"),
    )
    op.create_table(
        "nodes",
        sa.Column("level", whole, primary_key=True, autoincrement=False),
        sa.Column("idx", whole, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "personal",
        sa.Column("idx", whole, sa.ForeignKey("entries.idx"), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        for statement in sweeping("personal"):
            op.execute(statement)
