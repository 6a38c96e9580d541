"""A sweep from its file to its results: what is missing is tried, what is there is read."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from spinml.config import ServerConfig
from spinml.distributed.operations import Operations
from spinml.distributed.sweep import Host, Trials, check_feasible, fitting, polled, run_trials
from spinml.errors import StageError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import KEY_VERSION, StageKind
from spinml.request import BACKGROUND, Scheme, Task
from spinml.sweep.results import FailedTrial, SkippedTrial, SweepFolder, write_tables
from spinml.sweep.spec import Condition, SweepSpec
from spinml.sweep.summary import SweepCost, SweepResult, summarise_sweep
from spinml.synthesis.identity import checkpoint_identity
from spinml.tradeoffs.home import identity_of, photos_of
from spinml.tradeoffs.host import SweepHost
from spinml.tradeoffs.on_service import FOLLOWED
from spinml.tradeoffs.service_sweep import ServiceAccess, sweep_on_service
from spinml.tradeoffs.standing import UNDER_WAY, Standing, TrialState
from spinml.tradeoffs.submitting import submit_grid
from spinml.tradeoffs.trials import HostSetup, Trial, make_trial

ROW_VERSION = 3
"""Raised when a trial's figures are measured otherwise. 3: a mixture's classifier validates on
images of other seeds."""
_ELSEWHERE = {"store", "service", "resources", "preset", "logs"}
"""Parts of the configuration on which no figure depends."""

Tell = Callable[[Sequence[Standing]], None]


def run_sweep(
    spec: SweepSpec,
    config: ServerConfig,
    out: Path,
    *,
    tell: Tell = lambda standings: None,
    concurrent: int | None = None,
    operations: Operations | None = None,
    service: ServiceAccess | None = None,
    attach: str | None = None,
) -> SweepResult:
    """Run a sweep on the connected Ray cluster; everything lands in ``out``.

    Run again, it goes on where it was: finished trials are read, broken ones tried again, and of
    a trial that is new only the stages that the store lacks are executed.

    With a service, the cluster only holds the device's side and Tune: the trials' runs are the
    service's, all of a grid are submitted first, and they go on when this process dies.

    Args:
        tell: called about once a second with where the trials stand.
        concurrent: trials at once; None: as many as the cluster has room for, and one more; with a
            service, how many are followed at once.
        service: where the runs are carried out; None: here, without a service.
        attach: the id of a sweep at the service: takes up its runs, and tries none again.

    Raises:
        ServiceError: the service is away or refuses the key.
        InvalidRequestError: the space is empty, or nothing in it is valid.
        InfeasibleResourcesError: the cluster can never hold a stage; nothing was started.
        PhotoError: the home's photos are not there.
        ArtifactError: the store's URL names no place that can be a store.
        SpinMLError: the host could not be made.
        StageError: the host or Tune died; what was finished stays.
    """
    began = time.monotonic()
    operations = operations or Operations()
    if service is None:
        conditions = spec.conditions()
        kinds, detects = stage_kinds(conditions), _valid(conditions).at(0).task is Task.DETECTION
        check_feasible(kinds, config, operations, detects=detects)
        # An address that can be no store is an error now; one that does not answer breaks trials.
        ArtifactStore.from_url(config.store.artifacts, config.store.s3_endpoint)
        at_once = concurrent or fitting(kinds, config, operations, detects=detects)
    else:
        at_once = concurrent or FOLLOWED
    setup = set_up(spec, config, out, operations, service, attach)
    todo = _missing(setup)
    standings: Sequence[Standing] = ()
    busy_s, executed = 0.0, 0
    if todo is not None:
        if service is not None and spec.search.kind == "grid":
            submit_grid(setup)  # what is refused is asked for again, and told, when its turn comes
        standings, busy_s, executed = _try(setup, todo, at_once, tell)
    trials, folder = setup.trials, SweepFolder(out)
    result = summarise_sweep(
        spec,
        out,
        [row for trial in trials if (row := folder.finished(trial.id))],
        _broken(trials, folder, standings),
        [
            SkippedTrial(label=one.label, seed=one.seed, reason=one.detail)
            for one in standings
            if one.state is TrialState.SKIPPED
        ],
        SweepCost(round(time.monotonic() - began, 3), round(busy_s, 3), executed),
    )
    write_tables(out, result.as_dict(), result.rows)
    return result


def set_up(
    spec: SweepSpec,
    config: ServerConfig,
    out: Path,
    operations: Operations,
    service: ServiceAccess | None,
    attach: str | None,
) -> HostSetup:
    """The sweep's photos and trials, by name.

    Raises:
        InvalidRequestError: the space is empty, nothing is valid, or ``attach`` is not its id.
        PhotoError: the home's photos are not there.
    """
    conditions = spec.conditions()
    photos = photos_of(spec.photos, _valid(conditions).at(0))
    identity = identity_of(photos)
    sweep = sweep_on_service(spec, identity, service, attach) if service else None
    if sweep is None:
        context = _context(config, identity)
    else:  # of the service's configuration, its address has to stand for all
        embedder = config.measure.model_dump_json()
        context = "\n".join([str(ROW_VERSION), sweep.access.server, sweep.id, embedder])
    seeds = spec.space.seeds
    trials = tuple(
        make_trial(one, seed, context)
        for seed in seeds
        for one in conditions
        if one.request is not None or seed == seeds[0]  # no seed mends what is not valid
    )
    return HostSetup(spec, config, operations, photos, out.resolve(), context, sweep, trials)


def stage_kinds(conditions: Iterable[Condition]) -> list[StageKind]:
    """The kinds of stages that the conditions need between them."""
    requests = [one.request for one in conditions if one.request is not None]
    used = {scheme for one in requests for _, scheme in one.disclosures}
    behind = {scheme for one in requests for scheme in one.disclosed(BACKGROUND)}
    kinds = [
        StageKind.DRAW,
        StageKind.GENERATE,
        StageKind.TRAIN,
        StageKind.EXPORT,
        StageKind.MEASURE,
    ]
    if Scheme.L1 in used:
        kinds.append(StageKind.EXPAND)
    if used - {Scheme.L0}:
        kinds.append(StageKind.FINETUNE)
    if behind - {Scheme.L0}:
        kinds.append(StageKind.MERGE)
    return kinds


def _context(config: ServerConfig, photos: str) -> str:
    settings = config.model_dump_json(exclude=_ELSEWHERE)
    parts = (str(ROW_VERSION), str(KEY_VERSION), checkpoint_identity(config.checkpoint), photos)
    return hashlib.sha256("\n".join([settings, *parts]).encode()).hexdigest()


def _broken(
    trials: Sequence[Trial], folder: SweepFolder, standings: Sequence[Standing]
) -> list[FailedTrial]:
    """The trials that failed, and those whose end nobody saw: Tune lost the process that waited."""
    left = {(one.label, one.seed) for one in standings if one.state in UNDER_WAY}
    error = StageError("the trial was not finished", remedy="the same command goes on").as_dict()
    found = []
    for trial in trials:
        label, seed = trial.condition.label, trial.seed
        if (broken := folder.failed(trial.id)) is not None:
            found.append(broken)
        elif (label, seed) in left and folder.finished(trial.id) is None:
            found.append(FailedTrial(id=trial.id, label=label, seed=seed, error=error))
    return found


def _missing(setup: HostSetup) -> Trials | None:
    """What is left to try; None when nothing is."""
    folder, spec = SweepFolder(setup.folder), setup.spec
    finished = {trial.id for trial in setup.trials if folder.finished(trial.id)}
    if spec.search.kind == "grid":
        places = [at for at, trial in enumerate(setup.trials) if trial.id not in finished]
        return Trials({"trial": places}) if places else None
    done = [trial for trial in setup.trials if trial.id in finished]
    wanted = spec.search.trials or 0
    if len(done) >= min(wanted, len(setup.trials)):
        return None
    axes = {axis: range(len(options)) for axis, options in spec.space.axes().items()}
    segments = _valid(trial.condition for trial in setup.trials).at(0).segments
    return Trials(
        axes,
        count=wanted,
        objectives={"utility": "max"} | {f"mi.{name}": "min" for name in segments},
        known=_points(spec, done),
        seed=spec.search.seed,
    )


def _points(spec: SweepSpec, done: Sequence[Trial]) -> list[dict[str, int]]:
    """A point of the axes for each finished trial, so that the search knows it."""
    by_label: dict[str, dict[str, int]] = {}
    for point, condition in spec.points():
        by_label.setdefault(condition.label, point)
    return [by_label[trial.condition.label] for trial in done]


def _valid(conditions: Iterable[Condition]) -> Condition:
    return next(one for one in conditions if one.error is None)


def _try(
    setup: HostSetup, trials: Trials, concurrent: int, tell: Tell
) -> tuple[Sequence[Standing], float, int]:
    """Run the trials on Tune; where they stand at the end, and what they cost."""
    scratch = Path(tempfile.mkdtemp(prefix="spinml-tune-"))
    try:
        with Host(SweepHost, setup, concurrent=concurrent) as host:
            with polled(host, tell):
                run_trials(host, trials, scratch)
            standings: Sequence[Standing] = host.ask("standings")
            busy_s, executed = host.ask("cost")
            host.ask("close")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return standings, busy_s, executed
