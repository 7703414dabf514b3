"""The tables of the registry."""

import sqlalchemy as sa

from gateway.adapters.store.schema import Whole
from gateway.adapters.store.sweeping import keep_swept

metadata = sa.MetaData()

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("started_at", Whole, nullable=False, index=True),
    sa.Column("ended_at", Whole),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False, server_default=sa.text("''")),
)
"""Times are microseconds since 1970, UTC. *node*: the origin of the gateway that has the call, where several share the
registry; "" in a file, whose gateway is alone."""

recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("recording", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, sa.ForeignKey("calls.call_id"), nullable=False, index=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", Whole, nullable=False),
    sa.Column("frames", Whole, nullable=False),
    sa.Column("opened_at", Whole, nullable=False),
    sa.Column("closed_at", Whole),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("created_at", Whole, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False),
)

keep_swept(recordings)

acknowledgements = sa.Table(
    "acknowledgements",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("acknowledged_at", Whole, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)
"""Who has acknowledged which text of the policy."""
