"""What is done by one transaction at a time. SQLite's write transactions are, all of them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from spinml.service.models import Tenant

_SCHEMA, _QUEUE = 7746846, 7746847


def lock_tenant(session: Session, tenant: str) -> None:
    """Serialise what changes which artifacts a tenant's runs hold.

    Rows that refer to the tenant (charges, artifacts) may be written meanwhile: who holds a run's
    lock must never wait for who holds its tenant's.
    """
    session.execute(select(Tenant.id).where(Tenant.id == tenant).with_for_update(key_share=True))


def lock_queue(session: Session) -> None:
    """Let one dispatcher at a time choose a run."""
    _lock(session.connection(), _QUEUE)


def lock_schema(connection: Connection) -> None:
    """Let one process at a time make or change the tables."""
    _lock(connection, _SCHEMA)


def _lock(connection: Connection, number: int) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(number)))
