"""Calls, recordings and API keys."""

import sqlalchemy as sa
from alembic import op

from gateway.adapters.store.sweeping import sweeping

revision = "0001"
down_revision = None


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("started_at", whole, nullable=False, index=True),
        sa.Column("ended_at", whole),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
    )
    op.create_table(
        "recordings",
        sa.Column("recording", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, sa.ForeignKey("calls.call_id"), nullable=False, index=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", whole, nullable=False),
        sa.Column("frames", whole, nullable=False),
        sa.Column("opened_at", whole, nullable=False),
        sa.Column("closed_at", whole),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("created_at", whole, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        for statement in sweeping("recordings"):
            op.execute(statement)
