"""Scopes, quotas, the fair queue's times, charges, what is stored, receipts.

Columns are added with defaults and no table is rebuilt: rebuilding ``runs`` on SQLite would drop
it, and what refers to it with it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
SCOPES = '["runs:read", "runs:submit", "results:read", "runs:delete"]'


def _added() -> dict[str, list[sa.Column[Any]]]:
    return {
        "tenants": [
            sa.Column("weight", sa.Double, nullable=False, server_default="1"),
            sa.Column("max_concurrent_runs", sa.Integer),
            sa.Column("max_images", sa.Integer),
            sa.Column("max_gpu_seconds", sa.Double),
            sa.Column("max_stored_bytes", sa.BigInteger),
        ],
        "api_keys": [sa.Column("scopes", sa.JSON, nullable=False, server_default=SCOPES)],
        "runs": [
            sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
            sa.Column("claimed_at", TIME),
            sa.Column("needs_bundle", sa.Boolean, nullable=False, server_default=sa.true()),
        ],
        "run_stages": [
            sa.Column("gpus", sa.Double, nullable=False, server_default="0"),
            sa.Column("images", sa.Integer, nullable=False, server_default="0"),
        ],
        "erasures": [sa.Column("receipt_id", sa.Uuid)],
    }


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    runs = sa.table("runs", sa.column("state"), sa.column("needs_bundle", sa.Boolean))
    is_over = runs.c.state.in_(("succeeded", "failed", "cancelled"))
    op.execute(runs.update().where(is_over).values(needs_bundle=False))
    op.create_table(
        "queue_times",
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("served_s", sa.Double, nullable=False),
        sa.Column("claimed_at_s", sa.Double, nullable=False),
    )
    op.execute("INSERT INTO queue_times SELECT id, 0, 0 FROM tenants")
    op.create_table(
        "charges",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("gpu_seconds", sa.Double, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("charges_by_tenant", "charges", ["tenant_id", "at"])
    op.create_table(
        "stored_artifacts",
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("tenant_id", sa.String(64), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("run_id", sa.Uuid),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("artifacts", sa.JSON, nullable=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("completed_at", TIME),
    )
    op.create_index("receipts_by_tenant", "receipts", ["tenant_id", "created_at"])


def downgrade() -> None:
    for table in ("receipts", "stored_artifacts", "charges", "queue_times"):
        op.drop_table(table)
    for table, columns in _added().items():
        for column in columns:
            op.drop_column(table, column.name)
