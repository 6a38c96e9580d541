"""What sharing stages saves a sweep."""

from __future__ import annotations

from spinml.benchmarks.bench import Bench, Row
from spinml.demo import home_request
from spinml.distributed.cluster import connected
from spinml.tradeoffs.benchmark import SharingFigures, measure_sharing


def benchmark_sweep(bench: Bench) -> list[Row]:
    """Nine preferences as a sweep against nine runs that share nothing; hours on two cores."""
    request = home_request(target="L0", background="L0", seed=0)
    bench.tell("sweep: nine preferences as a sweep, then each alone")
    figures = measure_sharing(bench.config, request.model_dump(mode="json"), connected)
    return sharing_rows(figures)


def sharing_rows(found: SharingFigures) -> list[Row]:
    """The rows of :func:`benchmark_sweep`."""
    clock, stages = 100 * found.sweep_s / found.alone_s, 100 * found.stage_share
    overhead, again = 100 * found.overhead, found.made_again
    return [
        Row("Nine preferences, one sweep", found.sweep_s, "s"),
        Row("Nine preferences, nothing shared", found.alone_s, "s"),
        Row("The sweep's share, by the clock", clock, "%", "≤ 45", clock <= 45),
        Row("The sweep's share, by stages' seconds", stages, "%", "≤ 45", stages <= 45),
        Row("Tune's and Ray's overhead beside stages", overhead, "%", "≤ 10", overhead <= 10),
        Row("Stages that one preference more executes", found.added_stages, "stages"),
        Row("Of these, made before", again, "stages", "0", again == 0),
        Row("Memory of the host", found.mib_a_trial, "MiB/trial", "≤ 5", found.mib_a_trial <= 5),
    ]
