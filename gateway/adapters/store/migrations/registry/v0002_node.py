"""Which gateway has a call: several may share a registry, and each recovers its own calls only."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("calls", sa.Column("node", sa.Text, nullable=False, server_default=sa.text("''")))
