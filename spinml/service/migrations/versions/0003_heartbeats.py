"""Heartbeats of dispatchers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("beat_at", TIME, nullable=False),
        sa.Column("cluster", sa.JSON),
    )


def downgrade() -> None:
    op.drop_table("heartbeats")
