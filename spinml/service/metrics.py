"""Every metric of SpinML, declared here and nowhere else; Ray's agents show them to Prometheus.

Ray puts ``ray_`` before a name and ``_total`` behind a counter's: :func:`exported_names`. Labels
are bounded: tenants, states, kinds of stage, reasons; never runs, never words. Recorded in a
process without Ray, they go nowhere.

Gauges follow from the database and are set by :mod:`spinml.service.watch` alone, so that they are
right after a restart. Counters and histograms start anew with a process, as Prometheus expects. Of
a histogram, Ray knows the buckets alone: its ``_sum`` is an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram, Metric

from spinml.pipeline.manifest import Manifest
from spinml.pipeline.stages import StageKind
from spinml.service.models import StageState
from spinml.service.overview import Overview

_SECONDS = [1.0, 5, 15, 60, 180, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600]

RUNS = Gauge("spinml_runs", "Runs in the database, by tenant and state.", ("tenant", "state"))
RUNS_ENDED = Gauge(
    "spinml_runs_ended_last_hour", "Runs that ended within the last hour, by state.", ("state",)
)
OLDEST_QUEUED = Gauge(
    "spinml_oldest_queued_seconds",
    "How long a tenant's oldest queued run has waited; 0: none waits.",
    ("tenant",),
)
STORED = Gauge("spinml_stored_bytes", "Artifacts in the store, by tenant.", ("tenant",))
HEARTBEAT = Gauge(
    "spinml_dispatcher_heartbeat_timestamp_seconds",
    "When a dispatcher last said that it works, in seconds since 1970.",
)
DATABASE_UP = Gauge("spinml_database_up", "1: the database answers and has this version's tables.")
STORE_UP = Gauge("spinml_store_up", "1: the artifact store takes a file and gives it back.")

QUEUE_SECONDS = Histogram("spinml_queue_seconds", "From a run's submission to its begin.", _SECONDS)
STAGE_SECONDS = Histogram(
    "spinml_stage_seconds", "How long stages that were done took, by kind.", _SECONDS, ("kind",)
)
STAGES = Counter(
    "spinml_stages",
    "Stages that ended, by kind and state; reused: the artifact was there already.",
    ("kind", "state"),
)
GPU_SECONDS = Counter(
    "spinml_gpu_seconds", "Seconds of stages by the GPUs they held, by tenant.", ("tenant",)
)
IMAGES = Counter("spinml_images", "Images of datasets that were finished, by tenant.", ("tenant",))
REJECTED = Counter(
    "spinml_rejected_objects", "Objects that were drawn and not used, by reason.", ("reason",)
)
RECEIVED = Counter(
    "spinml_received_bytes", "Sanitized bundles that were taken, by tenant.", ("tenant",)
)

DECLARED: tuple[Metric, ...] = (
    *(RUNS, RUNS_ENDED, OLDEST_QUEUED, STORED, HEARTBEAT, DATABASE_UP, STORE_UP),
    *(QUEUE_SECONDS, STAGE_SECONDS, STAGES, GPU_SECONDS, IMAGES, REJECTED, RECEIVED),
)


def exported_names() -> set[str]:
    """The names of all series, as Prometheus finds them."""
    names: set[str] = set()
    for metric in DECLARED:
        name = f"ray_{metric.info['name']}"
        if isinstance(metric, Counter):
            names.add(f"{name}_total")
        elif isinstance(metric, Histogram):
            names |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
        else:
            names.add(name)
    return names


def run_begun(queued_s: float) -> None:
    """A dispatcher took a run out of the queue."""
    QUEUE_SECONDS.observe(queued_s)


def stage_ended(
    kind: StageKind,
    state: StageState,
    tenant: str,
    seconds: float,
    gpus: float,
    manifest: Manifest | None,
) -> None:
    """A stage of a run is done, reused, failed or cancelled, and it is written down.

    Args:
        seconds: since it was started; 0 if it was reused.
        gpus: how many it held.
        manifest: of its artifact, where there is one.
    """
    STAGES.inc(1, {"kind": kind.value, "state": state.value})
    if state is StageState.REUSED:
        return
    _add(GPU_SECONDS, seconds * gpus, {"tenant": tenant})
    if state is StageState.DONE:
        STAGE_SECONDS.observe(seconds, {"kind": kind.value})
        if kind is StageKind.GENERATE and manifest is not None:
            _dataset_made(tenant, manifest.figures)


def bundle_taken(tenant: str, size_bytes: int) -> None:
    """The ingress took a bundle that is new."""
    _add(RECEIVED, size_bytes, {"tenant": tenant})


def show(overview: Overview) -> None:
    """Set the gauges that follow from the database."""
    for tenant in overview.tenants:
        for state, count in tenant.runs.items():
            RUNS.set(count, {"tenant": tenant.tenant, "state": state})
        OLDEST_QUEUED.set(tenant.oldest_queued_s or 0, {"tenant": tenant.tenant})
        STORED.set(tenant.stored_bytes, {"tenant": tenant.tenant})
    for state, count in overview.ended_last_hour.items():
        RUNS_ENDED.set(count, {"state": state})
    if overview.dispatcher is not None:
        HEARTBEAT.set(overview.dispatcher.beat_at.timestamp())


def show_up(gauge: Gauge, is_up: bool) -> None:
    """Set :data:`DATABASE_UP` or :data:`STORE_UP`."""
    gauge.set(1 if is_up else 0)


def _dataset_made(tenant: str, figures: Mapping[str, Any]) -> None:
    """Args: figures: of a GENERATE stage's manifest (spinml.synthesis.dataset.summarise)."""
    _add(IMAGES, figures.get("images", 0), {"tenant": tenant})
    for reason, count in figures.get("rejected", {}).items():
        _add(REJECTED, count, {"reason": reason})


def _add(counter: Counter, amount: float, labels: dict[str, str]) -> None:
    if amount > 0:  # Ray's counters take nothing else
        counter.inc(amount, labels)
