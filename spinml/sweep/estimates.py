"""A figure over seeds: mean, spread and Student's interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds."""

    mean: float
    spread: float | None
    """Sample standard deviation; None for one seed, which says nothing about it."""
    interval_95: tuple[float, float] | None
    """Student's t interval of the mean; None for one seed. It may reach beyond [0, 1]."""


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """Mean, spread and interval of a figure, one value a seed; None when a value is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean, count = statistics.fmean(known), len(known)
    if count == 1:
        return Estimate(mean, None, None)
    spread = statistics.stdev(known)
    half = student_t(count - 1) * spread / math.sqrt(count)
    return Estimate(mean, spread, (mean - half, mean + half))


def student_t(degrees: int, probability: float = 0.975) -> float:
    """The quantile of Student's t with ``degrees`` degrees of freedom."""
    return float(stats.t.ppf(probability, degrees))
