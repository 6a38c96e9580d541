"""The service under simulated devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinml.benchmarks.bench import Bench, Row
from spinml.loadtest.figures import Loaded, ServiceFigures, measure_service


def benchmark_service(bench: Bench) -> list[Row]:
    """The service on Serve under simulated devices, its stages idle.

    Beside bare uvicorn with the same application; fair shares; recovery after kills; memory. It
    takes about 23 minutes on two idle cores, 15 of them for the thousand runs.
    """
    return service_rows(measure_service(tell=lambda line: bench.tell(f"service: {line}")))


def service_rows(found: ServiceFigures) -> list[Row]:
    """The rows of :func:`benchmark_service`."""
    rows = []
    for speed in found.speeds:
        name = f"{speed.server}, {speed.devices} devices: "
        rows += [
            Row(f"{name}requests", speed.requests_per_s, "1/s"),
            Row(f"{name}p50", speed.latency.p50_ms, "ms"),
            Row(f"{name}p99", speed.latency.p99_ms, "ms"),
        ]
    rows += _first_stage_rows("One device", found.first_stage_s)
    return [*rows, *_load_rows(found.loaded), *_share_rows(found), *_recovery_rows(found)]


def _first_stage_rows(what: str, seconds: Sequence[float]) -> list[Row]:
    p50, p99 = np.percentile(np.array(seconds), [50, 99])
    return [
        Row(f"{what}: submit to first stage, p50", float(p50), "s"),
        Row(f"{what}: submit to first stage, p99", float(p99), "s"),
    ]


def _load_rows(loaded: Loaded) -> list[Row]:
    outcome, books = loaded.outcome, loaded.books
    runs = f"{books.runs} runs"
    rows = [
        Row(f"{runs} in all", outcome.seconds, "s"),
        Row(f"{runs}: lost", len(books.lost), "runs", "0", not books.lost),
        Row(f"{runs}: duplicated", len(books.duplicated), "runs", "0", not books.duplicated),
        Row(f"{runs}: not succeeded", len(books.unfinished), "runs", "0", not books.unfinished),
        Row(f"{runs}: answers 429 and 503", outcome.samples.sent_away.count, "answers"),
        *_first_stage_rows(f"{runs}, most of them queued", outcome.first_stage_s),
    ]
    for kind, latency in outcome.samples.latencies().items():
        rows += [
            Row(f"{runs}: {kind}, p50", latency.p50_ms, "ms"),
            Row(f"{runs}: {kind}, p99", latency.p99_ms, "ms"),
        ]
    for name, after in loaded.after.items():
        grown = after.uss_mib - loaded.before[name].uss_mib
        rows += [
            Row(f"Memory after {runs}, {name}: resident", after.rss_mib, "MiB"),
            Row(f"Memory after {runs}, {name}: its own", after.uss_mib, "MiB"),
            Row(f"Memory after {runs}, {name}: grown", grown, "MiB", "≤ 64", grown <= 64),
        ]
    return rows


def _share_rows(found: ServiceFigures) -> list[Row]:
    (busy, late), (heavy, light) = found.alone, found.weighted
    wanted = heavy.weight / (heavy.weight + light.weight)
    met = abs(heavy.share_of_first_half - wanted) <= 0.1
    return [
        Row(f"Fair share, {busy.runs} runs: median wait", busy.median_wait_s, "s"),
        Row(f"Fair share, {busy.runs} runs: longest wait", busy.longest_wait_s, "s"),
        Row(f"Fair share, {late.runs} run behind them: wait", late.longest_wait_s, "s"),
        *(
            Row(
                f"Fair share, {share.runs} runs of weight {share.weight:g}: median wait",
                share.median_wait_s,
                "s",
            )
            for share in (heavy, light)
        ),
        Row(
            f"Fair share, weight {heavy.weight:g} beside {light.weight:g}: of the first half",
            100 * heavy.share_of_first_half,
            "%",
            f"{100 * wanted:.0f} ± 10",
            met,
        ),
    ]


def _recovery_rows(found: ServiceFigures) -> list[Row]:
    recoveries = found.recoveries
    return [
        *(
            Row(f"Recovery from a killed {name} ({recoveries.database})", seconds, "s")
            for name, seconds in recoveries.seconds.items()
        ),
        Row("Runs lost by kills", recoveries.lost, "runs", "0", recoveries.lost == 0),
    ]
