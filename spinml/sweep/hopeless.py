"""Early stopping: the further seeds of a preference that another beats for certain.

A condition is hopeless when some other condition leaks no more of any segment (MI) and its utility
is higher by more than chance explains: Welch's idea with one spread for all, that is, the two
means differ by more than ``t · s · √(1/n + 1/m)``. The spread ``s`` between seeds is pooled over
all conditions, for two seeds alone say next to nothing about theirs; t is the one-sided 97.5 %
quantile. Such a condition can neither be recommended nor lie on the front. Its row keeps fewer
seeds and so a wider interval: leave early stopping off for a table of equal rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from spinml.sweep.estimates import student_t
from spinml.sweep.results import TrialRow


def hopeless(rows: Sequence[TrialRow], label: str, after_seeds: int) -> str | None:
    """Why the condition ``label`` needs no further seed; None while it may.

    Args:
        rows: finished trials of one task.
        after_seeds: how many seeds both conditions must have.
    """
    groups: dict[str, list[TrialRow]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    own = groups.get(label, [])
    degrees = sum(len(group) - 1 for group in groups.values())
    if len(own) < after_seeds or degrees < 1:
        return None
    squares = [
        (len(group) - 1) * statistics.variance(row.utility for row in group)
        for group in groups.values()
        if len(group) > 1
    ]
    threshold = student_t(degrees) * math.sqrt(sum(squares) / degrees)
    for other, group in groups.items():
        if other == label or len(group) < after_seeds or not _leaks_no_more(group, own):
            continue
        lead = _mean(group) - _mean(own)
        if lead > threshold * math.sqrt(1 / len(group) + 1 / len(own)):
            return f"{other} leaks no more and is better by {lead:.1%}"
    return None


def _mean(group: Sequence[TrialRow]) -> float:
    return statistics.fmean(row.utility for row in group)


def _leaks_no_more(group: Sequence[TrialRow], own: Sequence[TrialRow]) -> bool:
    return all(
        statistics.fmean(row.leakage[name].mi for row in group)
        <= statistics.fmean(row.leakage[name].mi for row in own) + 1e-9
        for name in own[0].leakage
    )
