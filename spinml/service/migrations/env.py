"""Alembic's entry: migrations run on the connection that spinml.service.schema gives."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
