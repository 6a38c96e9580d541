"""All runs of a grid into the service's queue, before anybody follows one; needs no cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from spinml.errors import (
    AuthenticationError,
    ScopeMissingError,
    ServerUnavailableError,
    SpinMLError,
)
from spinml.sweep.results import SweepFolder
from spinml.tradeoffs.home import PlayedHome
from spinml.tradeoffs.on_service import ServiceCarrier
from spinml.tradeoffs.trials import HostSetup, Trial

_ALL_ALIKE = (AuthenticationError, ScopeMissingError, ServerUnavailableError)
"""What one trial is refused for, all are."""
_AT_START = 5
"""A service that is not there at all is told within seconds."""


@dataclass(frozen=True)
class Submitted:
    """A trial and its run at the service, or why it has none."""

    label: str
    seed: int
    run: str | None
    state: str
    """The run's, or the code of the error."""
    message: str = ""
    """The error's."""


def submit_grid(setup: HostSetup) -> list[Submitted]:
    """Sanitize and submit every trial that neither the folder nor the service has.

    Runs that failed or were cancelled are begun anew, unless the sweep is only attached to.

    Raises:
        ServiceError: the service is away, or refuses the key; a refused trial is no error.
        PhotoError, DeviceError: the photos cannot be used.
    """
    if setup.service is None:
        raise ValueError("the sweep has no service")
    folder = SweepFolder(setup.folder)
    todo = [trial for trial in setup.trials if folder.finished(trial.id) is None]
    carrier = ServiceCarrier(setup.service, again=not setup.service.attach, at_start=_AT_START)
    try:
        home = cache(lambda: _home(setup))  # loaded when the first trial has to be sanitized
        return [_submit(carrier, home, trial) for trial in todo]
    finally:
        carrier.close()


def _home(setup: HostSetup) -> PlayedHome:
    valid = next(trial for trial in setup.trials if trial.condition.request is not None)
    return PlayedHome(valid.condition.at(valid.seed), setup.photos, setup.config)


def _submit(carrier: ServiceCarrier, home: Callable[[], PlayedHome], trial: Trial) -> Submitted:
    label, seed = trial.condition.label, trial.seed
    try:
        request = trial.condition.at(seed)
        run = carrier.begin(trial, lambda: home().sanitize(request))
    except _ALL_ALIKE:
        raise
    except SpinMLError as error:
        return Submitted(label, seed, None, error.code, error.message)
    return Submitted(label, seed, run.id, run.state)


def told(submitted: Sequence[Submitted]) -> str:
    """How many came to which state: ``7 queued, 2 quota_spent``."""
    counts = Counter(one.state for one in submitted)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing to do"
