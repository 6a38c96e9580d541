"""The host of a sweep's trials: one actor with the home, the executor and what is finished."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from spinml.errors import SpinMLError, StageError
from spinml.request import TrainingRequest
from spinml.sweep.hopeless import hopeless
from spinml.sweep.labels import members_of
from spinml.sweep.results import (
    FailedTrial,
    SweepFolder,
    TrialRow,
    sample_file,
)
from spinml.tradeoffs.carried import Carrier, OnNews, StageNews
from spinml.tradeoffs.home import PlayedHome, objects_of, scratch
from spinml.tradeoffs.on_cluster import ClusterCarrier
from spinml.tradeoffs.on_service import ServiceCarrier
from spinml.tradeoffs.standing import UNDER_WAY, Standing, TrialState
from spinml.tradeoffs.trials import HostSetup, Trial, make_trial
from spinml.tradeoffs.work import Work

logger = logging.getLogger(__name__)


class SweepHost:
    """Runs trials; a Ray actor whose ``evaluate`` many trials call at once."""

    def __init__(self, setup: HostSetup) -> None:
        self.setup = setup
        self.results = SweepFolder(setup.folder)
        self.carrier = carrier_of(setup)
        self._lock = threading.Lock()
        self._giving_up = threading.Lock()
        """Held until it is known whether a run was ended: then its end has one cause."""
        self._home: PlayedHome | None = None
        self._work = Work()
        self._executed = 0
        self._rows = {
            trial.id: row for trial in setup.trials if (row := self.results.finished(trial.id))
        }
        known = setup.trials if setup.spec.search.kind == "grid" else self._finished()
        self._standings = {trial.id: self._standing_of(trial) for trial in known}
        self._replays = Counter(row.label for row in self._rows.values())
        self._taken: set[str] = set(self._rows)

    # What the driver and Tune ask ----------------------------------------------------------------

    def evaluate(self, point: Mapping[str, int]) -> dict[str, float] | None:
        """Do the trial at ``point``: a place in ``setup.trials``, or a search's indices by axis.

        Returns:
            The figures that a search looks at; nothing in it when the trial was left out; None
            when it is broken. Its result or error lies in the folder by then.
        """
        trial = self._trial_at(point)
        row = self._rows.get(trial.id)
        if row is None:
            if self._is_left_out(trial):
                return {}
            row = self._attempt(trial)
        if row is None:
            return {} if self._given_up(trial) else None
        leaks = {f"mi.{name}": leakage.mi for name, leakage in row.leakage.items()}
        return {"utility": row.utility} | leaks

    def standings(self) -> list[Standing]:
        """Every trial that was begun, and of a grid those that wait."""
        return list(self._standings.values())

    def cost(self) -> tuple[float, int]:
        """Seconds with something at work, and how many stages were executed."""
        return self._work.busy_s, self._executed

    def close(self) -> None:
        """End what the carrier keeps running."""
        self.carrier.close()

    # One trial -----------------------------------------------------------------------------------

    def _trial_at(self, point: Mapping[str, int]) -> Trial:
        """A search that comes to a condition again gets its next seed, or what is known of it."""
        if self.setup.spec.search.kind == "grid":
            return self.setup.trials[point["trial"]]
        condition = self.setup.spec.condition(point)
        seeds = self.setup.spec.space.seeds
        own = [make_trial(condition, seed, self.setup.context) for seed in seeds]
        with self._lock:
            if self._replays[condition.label] > 0:
                self._replays[condition.label] -= 1
                return next(trial for trial in own if trial.id in self._rows)
            free = [trial for trial in own if trial.id not in self._taken]
            chosen = free[0] if free else own[0]
            self._taken.add(chosen.id)
        return chosen

    def _attempt(self, trial: Trial) -> TrialRow | None:
        """Do a trial; whatever it raises is its own affair and kept beside the results."""
        self._stand_running(trial)
        try:
            row = self._do(trial)
        except SpinMLError as error:
            with self._giving_up:
                given_up = self._given_up(trial)
            if not given_up:
                self._fail(trial, error)
            return None
        except Exception as error:  # a bug in one trial must not end the others
            logger.warning("trial %s is broken", trial.id, exc_info=True)
            self._fail(trial, _bug(error))
            return None
        with self._lock:
            self._rows[trial.id] = row
        self._stand(trial, TrialState.DONE, utility=row.utility)
        self._give_up_hopeless()
        return row

    def _fail(self, trial: Trial, error: SpinMLError) -> None:
        label = trial.condition.label
        self.results.fail(
            FailedTrial(id=trial.id, label=label, seed=trial.seed, error=error.as_dict())
        )
        self._stand(trial, TrialState.FAILED, error.message)

    def _do(self, trial: Trial) -> TrialRow:
        began = time.monotonic()
        request = trial.condition.at(trial.seed)
        with scratch() as name:
            with self._work.during(trial.id, "home"):
                home = self._played(request)
                sanitized = home.sanitize(request)
            carried = self.carrier.carry_out(trial, sanitized, Path(name), self._teller(trial))
            self._stand(trial, TrialState.RUNNING, "measuring at home")
            with self._work.during(trial.id, "home"):
                utility = home.utility(request.task, carried.model)
                leakage = home.leakage(sanitized, carried.embeddings)
        wanted = [str(label) for label in request.label_classes]
        samples = {n: carried.samples[n] for n in wanted if n in carried.samples}
        row = TrialRow(
            id=trial.id,
            label=trial.condition.label,
            task=request.task.value,
            seed=trial.seed,
            members=tuple(members_of(request)),
            utility_name=utility.name,
            utility=utility.value,
            utility_interval=utility.interval_95,
            photos=utility.photos,
            synthetic_utility=carried.synthetic_utility,
            objects=objects_of(utility, carried.synthetic_objects),
            leakage=leakage,
            seconds=round(time.monotonic() - began, 3),
            stages=carried.stages,
            executed=carried.executed,
            samples=tuple((n, sample_file(trial.id, wanted.index(n), n)) for n in samples),
            memory_mib=_memory_mib(),
        )
        self.results.finish(row, samples)
        return row

    def _teller(self, trial: Trial) -> OnNews:
        def tell(news: StageNews) -> None:
            what = (trial.id, news.label)
            if news.state == "done":
                with self._lock:
                    self._executed += 1
            if news.state == "running" and not self._given_up(trial):
                self._work.begin(what)
                done = f" {news.done}/{news.total} {news.unit}" if news.total else ""
                self._stand_running(trial, f"{news.label}{done}")
            else:
                self._work.end(what)

        return tell

    # Parts ---------------------------------------------------------------------------------------

    def _played(self, request: TrainingRequest) -> PlayedHome:
        with self._lock:
            if self._home is None:
                self._home = PlayedHome(request, self.setup.photos, self.setup.config)
            return self._home

    # Early stopping ------------------------------------------------------------------------------

    def _is_left_out(self, trial: Trial) -> bool:
        """Whether the trial needs not be begun."""
        if not self._given_up(trial) and (reason := self._hopeless(trial)) is not None:
            self.carrier.give_up(trial)
            self._stand(trial, TrialState.SKIPPED, reason)
        return self._given_up(trial)

    def _given_up(self, trial: Trial) -> bool:
        standing = self._standings.get(trial.id)
        return standing is not None and standing.state is TrialState.SKIPPED

    def _give_up_hopeless(self) -> None:
        """End the runs that a new row shows to be hopeless, though they wait or run already.

        On this cluster none is ended: a trial that waits is left out when its turn comes.
        """
        if self.setup.spec.early_stopping is None or self.setup.service is None:
            return
        for trial in self.setup.trials:
            if not self._is_under_way(trial) or (reason := self._hopeless(trial)) is None:
                continue
            with self._giving_up:
                if self.carrier.give_up(trial):
                    self._stand_skipped(trial, reason)

    def _is_under_way(self, trial: Trial) -> bool:
        standing = self._standings.get(trial.id)
        return standing is not None and standing.state in UNDER_WAY

    def _hopeless(self, trial: Trial) -> str | None:
        stopping = self.setup.spec.early_stopping
        if stopping is None:
            return None
        with self._lock:
            rows = list(self._rows.values())
        return hopeless(rows, trial.condition.label, stopping.after_seeds)

    def _finished(self) -> list[Trial]:
        return [trial for trial in self.setup.trials if trial.id in self._rows]

    def _standing_of(self, trial: Trial) -> Standing:
        row = self._rows.get(trial.id)
        state = TrialState.DONE if row else TrialState.WAITING
        return Standing(trial.condition.label, trial.seed, state, "", row.utility if row else None)

    def _stand_running(self, trial: Trial, detail: str = "") -> None:
        """Unless it was given up meanwhile."""
        with self._lock:
            if not self._given_up(trial):
                self._stand(trial, TrialState.RUNNING, detail)

    def _stand_skipped(self, trial: Trial, reason: str) -> None:
        """Unless it came to its end meanwhile."""
        with self._lock:
            if self._is_under_way(trial):
                self._stand(trial, TrialState.SKIPPED, reason)

    def _stand(
        self, trial: Trial, state: TrialState, detail: str = "", utility: float | None = None
    ) -> None:
        self._standings[trial.id] = replace(
            self._standing_of(trial), state=state, detail=detail, utility=utility
        )


def carrier_of(setup: HostSetup) -> Carrier:
    """What carries out the sweep's runs: the service that is named, or this cluster."""
    if setup.service is None:
        return ClusterCarrier(setup.config, setup.operations)
    # Of a grid, the driver has begun anew what failed, before this process started.
    again = setup.spec.search.kind != "grid" and not setup.service.attach
    return ServiceCarrier(setup.service, again=again)


def _memory_mib() -> float:
    """Resident memory of this process; 0 where the system does not say."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024
    return 0.0


def _bug(error: Exception) -> StageError:
    """What a trial's unexpected error is told as: its text may be private."""
    return StageError(
        f"the trial failed: {type(error).__name__}",
        remedy="the log of the actor SweepHost has the traceback",
    )
