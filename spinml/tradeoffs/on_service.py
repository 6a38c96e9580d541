"""A sweep's runs as ordinary runs of a tenant of the service: its queue, quotas and retention.

A run's idempotency key is ``<sweep>.<trial>.<attempt>``, and the server is asked for all that begin
with the sweep: so a driver that was killed, or another one on another machine, takes up the runs
that are there instead of beginning them again.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from spinml.device.client import Client
from spinml.device.key import api_key
from spinml.device.runs import RunStatus
from spinml.device.submit import submit_recorded
from spinml.errors import (
    NotFoundError,
    ServiceError,
    StageCancelledError,
    error_from_dict,
)
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import Sanitized
from spinml.report.model import RunReport
from spinml.sweep.labels import trial_id
from spinml.sweep.results import StageCost
from spinml.tradeoffs.carried import Carried, OnNews
from spinml.tradeoffs.service_sweep import SweepOnService
from spinml.tradeoffs.trials import Trial

PATIENCE = 12
"""How often in a row a driver asks a service that is away: several minutes in all."""
FOLLOWED = 8
"""Trials that a driver follows at once, unless told otherwise; the queue holds all of a grid."""


class ServiceCarrier:
    """Submits, follows and fetches the runs of a sweep.

    Args:
        again: begin anew the runs that failed or were cancelled before.
        at_start: how often in a row to ask a service that does not answer at first.

    Raises:
        ServiceError: the service cannot be reached, or refuses the key.
        NotFoundError: to attach, and the tenant has no run of such a sweep.
    """

    def __init__(self, sweep: SweepOnService, *, again: bool, at_start: int = PATIENCE) -> None:
        self._sweep = sweep
        self._again = again
        key = api_key(sweep.access.key_file)
        self._client = Client(sweep.access.server, key, attempts=PATIENCE)
        self._lock = threading.Lock()
        self._runs: dict[str, RunStatus] = {}
        """The latest attempt by trial."""
        with Client(sweep.access.server, key, attempts=at_start) as client:
            for run in client.runs(f"{sweep.id}."):
                name, attempt = _parse(run)
                if name not in self._runs or attempt > _parse(self._runs[name])[1]:
                    self._runs[name] = run
        if sweep.attach and not self._runs:
            raise NotFoundError(
                "you have no run of this sweep at this service",
                remedy="leave --attach out to begin it",
            )

    def begin(self, trial: Trial, sanitized: Callable[[], Sanitized]) -> RunStatus:
        """The run of ``trial``, which was there or is submitted now.

        Raises:
            SpinMLError: the bundle cannot be made, or the service refuses it.
        """
        name = self._name(trial)
        known = self._runs.get(name)
        lost = known is not None and known.state in ("failed", "cancelled")
        if known is not None and not (lost and self._again):
            return known
        attempt = _parse(known)[1] + 1 if known is not None else 0
        made = sanitized()
        key = f"{self._sweep.id}.{name}.{attempt}"
        run = submit_recorded(self._client, made, measure_leakage(made), idempotency_key=key)
        with self._lock:
            self._runs[name] = run
        return run

    def carry_out(self, trial: Trial, sanitized: Sanitized, into: Path, tell: OnNews) -> Carried:
        """See :class:`spinml.tradeoffs.carried.Carrier`."""
        run = self.begin(trial, lambda: sanitized).id
        for event in self._client.events(run):
            if event.stage is not None:
                tell(event.stage)
        ended = self._client.status(run)
        if ended.state != "succeeded":
            raise (
                error_from_dict(ended.error)
                if ended.error
                else StageCancelledError(f"the run was {ended.state}", details={"run": run})
            )
        report = self._report(run, into)
        if report.synthetic_utility is None:
            raise ServiceError("the run's report has no figures", remedy="update the service")
        return Carried(
            model=self._client.fetch(run, "model", into / "model.onnx").path,
            embeddings=self._client.fetch(run, "embeddings", into / "embeddings.npz").path,
            synthetic_utility=report.synthetic_utility,
            synthetic_objects=report.synthetic_objects,
            samples={
                label: base64.b64decode(images[0])
                for label, images in report.samples.items()
                if images
            },
            stages=tuple(
                StageCost(digest=stage.digest, kind=stage.kind, seconds=stage.made_in_s)
                for stage in report.stages
                if stage.made_in_s is not None
            ),
            executed=tuple(stage.digest for stage in report.stages if stage.state == "done"),
        )

    def give_up(self, trial: Trial) -> bool:
        """Cancel the trial's run; False also where the service cannot be asked."""
        run = self._runs.get(self._name(trial))
        if run is None:
            return False
        try:
            self._client.cancel(run.id)
        except ServiceError:  # it has ended or is gone, or the service is
            return False
        return True

    def close(self) -> None:
        """Close the connections; the runs go on."""
        self._client.close()

    def _report(self, run: str, into: Path) -> RunReport:
        fetched = self._client.fetch(run, "report", into / "report.json")
        try:
            return RunReport.model_validate_json(fetched.path.read_bytes())
        except ValidationError:
            raise ServiceError(
                "the run's report is not of the form that this version reads",
                remedy="install the service's version",
            ) from None

    def _name(self, trial: Trial) -> str:
        """The trial at any machine: not its id, on which its own folder and server have a say."""
        return trial_id(trial.condition.at(trial.seed), self._sweep.id)


def _parse(run: RunStatus) -> tuple[str, int]:
    """Trial and attempt of a run of the sweep."""
    _, _, rest = run.idempotency_key.partition(".")
    name, _, attempt = rest.partition(".")
    if not name or not attempt.isdigit():
        raise ServiceError(
            "a run has an idempotency key that looks like a sweep's and is none",
            remedy="rename the sweep: its name begins its runs' keys",
        )
    return name, int(attempt)
