"""Heartbeats: dispatchers say in the database that they work, and what their cluster holds.

Whoever asks whether the service is alive (``/readyz``, the metrics, ``spinml admin top``) needs the
database alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from spinml.service.database import Database
from spinml.service.models import Heartbeat, now

BEAT_EVERY_S = 2.0
FRESH_S = 30.0
"""A dispatcher that was silent for longer counts as gone."""
_FORGET = timedelta(days=1)

ClusterUse = Mapping[str, tuple[float, float]]
"""Resource ("CPU", "GPU") → (in use, there are)."""


def beat(database: Database, owner: str, at: datetime | None = None) -> None:
    """Say that the dispatcher ``owner`` works; forgets those that went long ago."""
    at = at or now()
    with database.write() as session:
        row = session.get(Heartbeat, owner)
        if row is None:
            session.execute(delete(Heartbeat).where(Heartbeat.beat_at < at - _FORGET))
            session.add(Heartbeat(owner=owner, started_at=at, beat_at=at))
        else:
            row.beat_at = at


def note_cluster(database: Database, owner: str, use: ClusterUse) -> None:
    """Write down what the dispatcher's cluster holds and what of it is in use."""
    values = {name: list(amounts) for name, amounts in use.items()}
    with database.write() as session:
        session.execute(update(Heartbeat).where(Heartbeat.owner == owner).values(cluster=values))


def sign_off(database: Database, owner: str) -> None:
    """Say that the dispatcher ``owner`` ends."""
    with database.write() as session:
        session.execute(delete(Heartbeat).where(Heartbeat.owner == owner))


def latest(session: Session) -> Heartbeat | None:
    """The newest heartbeat of any dispatcher."""
    return session.scalar(select(Heartbeat).order_by(Heartbeat.beat_at.desc()).limit(1))
