"""Who has acknowledged which text of the policy, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "acknowledgements",
        sa.Column("agent", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("acknowledged_at", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
    )
