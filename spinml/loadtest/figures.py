"""All that is measured of the service: ``jobs/benchmark.py service``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spinml.config import LoadConfig
from spinml.loadtest.account import Books, compare
from spinml.loadtest.devices import Outcome, play
from spinml.loadtest.fairness import Share, measure_shares
from spinml.loadtest.processes import Memory, memory
from spinml.loadtest.recovery import Recoveries, measure_recoveries
from spinml.loadtest.servers import bare_uvicorn
from spinml.loadtest.site import Site, made_site, served
from spinml.loadtest.speed import Speed, compare_speeds, first_stages

Tell = Callable[[str], None]
"""Is told, in a line, what is measured next or how far it is."""
SERVE, UVICORN = "Serve", "uvicorn"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    devices: Sequence[int] = (1, 50, 200)
    seconds: float = 6.0
    """Of one turn at one server."""
    first_stages: int = 20
    """Runs of which the time to their first stage is taken."""
    warm_up_runs_each: int = 1
    runs_each: int = 5
    """Of each of the most devices."""
    many: int = 100
    """Runs of the tenant beside which another has one."""
    timeout_s: float = 1800.0


@dataclass(frozen=True)
class Loaded:
    """What came of many devices' runs, and the memory of each process around them."""

    outcome: Outcome
    books: Books
    before: Mapping[str, Memory]
    after: Mapping[str, Memory]


@dataclass(frozen=True)
class ServiceFigures:
    """Everything, as it was measured."""

    speeds: Sequence[Speed]
    first_stage_s: Sequence[float]
    """From a submission to its first stage, where nothing else is to do."""
    loaded: Loaded
    alone: tuple[Share, Share]
    """One run behind many of another tenant, with equal weights."""
    weighted: tuple[Share, Share]
    """As many runs each, with weights of 3 and 1."""
    recoveries: Recoveries


def _untold(line: str) -> None:
    """Nobody wants to know."""


def measure_service(scale: Scale = Scale(), tell: Tell = _untold) -> ServiceFigures:
    """Measure all: about 23 minutes, and most of this machine."""
    most = max(scale.devices)
    # Where speeds are compared nobody is sent away: each waits for its turn, at both servers.
    load = LoadConfig(max_requests=4 * most, max_queued_requests=4 * most)
    tell("starting Serve and uvicorn")
    with made_site(most, load=load) as site, served(site) as url:
        with bare_uvicorn(site) as bare:
            tell(f"speeds with {', '.join(map(str, scale.devices))} devices, of both in turns")
            servers = {SERVE: url, UVICORN: bare}
            speeds = compare_speeds(servers, site.accounts, scale.devices, seconds=scale.seconds)
        tell(f"time to the first stage, of {scale.first_stages} runs one by one")
        first_stage_s = first_stages(url, site.accounts[0], scale.first_stages)
        loaded = measure_loaded(site, url, scale, tell)
    half = (scale.many + 1) // 2
    tell(f"fair shares, a run behind {scale.many} of another tenant")
    alone = measure_shares((1.0, 1.0), (scale.many, 1), later=True)
    tell(f"fair shares, {half} runs each with weights of 3 and 1")
    weighted = measure_shares((3.0, 1.0), (half, half))
    tell("recovery after kills")
    recoveries = measure_recoveries()
    return ServiceFigures(speeds, first_stage_s, loaded, alone, weighted, recoveries)


def measure_loaded(site: Site, url: str, scale: Scale, tell: Tell = _untold) -> Loaded:
    """Let every device have some runs for warming up, then those that count."""

    def let_play(name: str, runs_each: int, first_seed: int) -> Outcome:
        runs = len(site.accounts) * runs_each
        tell(f"{name}: {runs} runs of {len(site.accounts)} devices")
        return play(
            url,
            site.accounts,
            runs_each=runs_each,
            timeout_s=scale.timeout_s,
            name=name,
            first_seed=first_seed,
            tell=lambda over: tell(f"{name}: {over} of {runs} runs are over"),
        )

    let_play("warm", scale.warm_up_runs_each, 0)
    before = memory()
    warm = len(site.accounts) * scale.warm_up_runs_each
    outcome = let_play("load", scale.runs_each, warm)
    return Loaded(outcome, compare(url, site.accounts, outcome), before, memory())
