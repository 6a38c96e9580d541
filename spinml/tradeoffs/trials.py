"""A sweep's trials by name, and all that their host is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from spinml.config import ServerConfig
from spinml.distributed.operations import Operations
from spinml.sweep.labels import trial_id
from spinml.sweep.spec import Condition, PhotosOfHome, SweepSpec
from spinml.tradeoffs.service_sweep import SweepOnService


@dataclass(frozen=True)
class Trial:
    """A condition with a seed, and the name that both have with all else that matters."""

    condition: Condition
    seed: int
    id: str


def make_trial(condition: Condition, seed: int, context: str) -> Trial:
    """The trial of ``condition`` with ``seed``; an invalid one is named by its label."""
    name = trial_id(condition.at(seed), context) if condition.request else _invalid(condition)
    return Trial(condition, seed, name)


def _invalid(condition: Condition) -> str:
    return f"invalid-{hashlib.sha256(condition.label.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class HostSetup:
    """What the host is made of; travels to its process."""

    spec: SweepSpec
    config: ServerConfig
    operations: Operations
    photos: PhotosOfHome
    folder: Path
    context: str
    """What a trial's figures depend on beside its request."""
    service: SweepOnService | None
    """None: the runs are carried out on this cluster, without a service."""
    trials: tuple[Trial, ...]
    """All of them: a grid's points are places in this list, a search's find theirs in it."""
