"""What the server tells of a run, as the device reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class _Told(BaseModel):
    # A newer server may tell more; the device reads what it knows.
    model_config = ConfigDict(extra="ignore", frozen=True)


class StageStatus(_Told):
    """How far one stage is."""

    label: str
    kind: str
    state: Literal["waiting", "running", "done", "reused", "failed", "cancelled"]
    done: int = 0
    total: int = 0
    unit: str = ""
    seconds: float | None = None


class RunStatus(_Told):
    """A run as a whole."""

    id: str
    state: RunState
    created_at: datetime
    updated_at: datetime
    stages: tuple[StageStatus, ...] = ()
    error: dict[str, Any] | None = None
    """code, message and remedy, when it failed."""
    idempotency_key: str = ""
    """What it was submitted under."""
    etag: str = Field(default="", exclude=True)
    """The server's name for this state of it; empty where it told none."""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES


class RunPage(_Told):
    """Some of the tenant's runs, newest first."""

    runs: tuple[RunStatus, ...]
    next: str | None = None
    """Names the page behind this one; None at the end."""


class RunEvent(_Told):
    """One server-sent event: a stage moved, or the run's state changed."""

    id: str
    stage: StageStatus | None = None
    state: RunState | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES
