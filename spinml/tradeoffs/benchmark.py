"""What sharing is worth: a sweep of the pet task's preferences against runs that share nothing."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinml.config import ServerConfig
from spinml.distributed.operations import Operations
from spinml.errors import error_from_dict
from spinml.sweep.spec import PhotosOfHome, SweepSpec
from spinml.tradeoffs.home import photos_of
from spinml.tradeoffs.host import SweepHost
from spinml.tradeoffs.run import run_sweep
from spinml.tradeoffs.trials import HostSetup, make_trial

NINE = [
    {"target": target, "background": background}
    for target, background in itertools.product(("L0", "L1", "L2"), repeat=2)
]


@dataclass(frozen=True)
class SharingFigures:
    """What :func:`measure_sharing` found; seconds by the clock unless said otherwise."""

    sweep_s: float
    """The sweep, its last preference added by a second command; a cluster's start each."""
    alone_s: float
    """As many runs, each on an empty store and a cluster of its own, without Tune."""
    stage_share: float
    """Seconds of all stages, each once, of those of all plans: what sharing stages saves."""
    overhead: float
    """Share of the sweeps' time in which neither a stage nor a measurement at home was at work."""
    added_stages: int
    """Stages that the second command executed."""
    made_again: int
    """Of these, stages that the first had."""
    mib_a_trial: float
    """Slope of the host's resident memory over trials; with nine, noise of a few MiB."""


def measure_sharing(
    config: ServerConfig,
    request: dict[str, Any],
    connected: Callable[[], AbstractContextManager[None]],
    *,
    preferences: Sequence[dict[str, str]] = NINE,
    photos: PhotosOfHome | None = None,
    operations: Operations | None = None,
) -> SharingFigures:
    """Run the preferences as a sweep, the last one added afterwards, and then each alone.

    Args:
        connected: starts a cluster for as long as its ``with`` lasts.

    Raises:
        SpinMLError: whatever failed.
    """

    def spec(chosen: Sequence[dict[str, str]]) -> SweepSpec:
        fields = {"name": "benchmark", "request": request, "wanted_accuracy": 0.5}
        space = {"preferences": list(chosen)}
        return SweepSpec.model_validate(fields | {"space": space, "photos": photos})

    with tempfile.TemporaryDirectory(prefix="spinml-benchmark-") as name:
        folder, began = Path(name), time.monotonic()
        results = []
        for chosen in (preferences[:-1], preferences):
            with connected():
                settings = _stored_in(config, folder / "store")
                out = folder / "out"
                results.append(run_sweep(spec(chosen), settings, out, operations=operations))
        sweep_s = time.monotonic() - began
        began = time.monotonic()
        for number, one in enumerate(preferences):
            with connected():
                settings = _stored_in(config, folder / f"alone-{number}")
                _run_alone(spec([one]), settings, folder / f"out-{number}", operations)
        alone_s = time.monotonic() - began
    first, second = results
    known = {stage.digest for row in first.rows for stage in row.stages}
    new = [row for row in second.rows if row.id not in {old.id for old in first.rows}]
    made = [digest for row in new for digest in row.executed]
    costs = [result.cost for result in results]
    memory = [row.memory_mib for row in first.rows]
    return SharingFigures(
        sweep_s=sweep_s,
        alone_s=alone_s,
        stage_share=second.compute_share or 1.0,
        overhead=1 - sum(cost.busy_s for cost in costs) / sum(cost.seconds for cost in costs),
        added_stages=len(made),
        made_again=len(known & set(made)),
        mib_a_trial=float(np.polyfit(range(len(memory)), memory, 1)[0]) if len(memory) > 1 else 0.0,
    )


def _stored_in(config: ServerConfig, store: Path) -> ServerConfig:
    changed = config.store.model_copy(update={"artifacts": f"file://{store}"})
    return config.model_copy(update={"store": changed})


def _run_alone(
    spec: SweepSpec, config: ServerConfig, out: Path, operations: Operations | None
) -> None:
    """One trial by the same host in this process: neither Tune nor another trial."""
    (condition,) = spec.conditions()
    trial = make_trial(condition, 0, "alone")
    photos = photos_of(spec.photos, condition.at(0))
    own = operations or Operations()
    setup = HostSetup(spec, config, own, photos, out, "alone", service=None, trials=(trial,))
    host = SweepHost(setup)
    try:
        host.evaluate({"trial": 0})
        broken = host.results.failed(trial.id)
        if broken is not None:
            raise error_from_dict(broken.error)
    finally:
        host.close()
