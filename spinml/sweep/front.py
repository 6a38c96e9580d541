"""What a sweep says (§5.3): the Pareto front, and the least disclosure that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spinml.sweep.estimates import Estimate, estimate
from spinml.sweep.results import TrialRow


@dataclass(frozen=True)
class Outcome:
    """A condition over its seeds."""

    label: str
    members: tuple[dict[str, str], ...]
    seeds: tuple[int, ...]
    utility_name: str
    utility: Estimate
    interval: tuple[float, float] | None
    """95 % of the utility, in [0, 1]: Student's over seeds; with one seed, over the photos."""
    synthetic: Estimate
    mi: dict[str, Estimate]
    sim: dict[str, Estimate]

    @property
    def interval_over(self) -> str:
        """What varies in ``interval``: other homes' photos never do."""
        return f"over {len(self.seeds)} seeds" if len(self.seeds) > 1 else "over photos, one seed"


def outcomes(rows: Sequence[TrialRow]) -> list[Outcome]:
    """One for each condition, in the order in which they come."""
    by_label: dict[str, list[TrialRow]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    return [_outcome(group) for group in by_label.values()]


def _outcome(group: Sequence[TrialRow]) -> Outcome:
    first, utility = group[0], _over([row.utility for row in group])
    interval = first.utility_interval
    if utility.interval_95 is not None:
        low, high = utility.interval_95
        interval = (max(0.0, low), min(1.0, high))
    return Outcome(
        label=first.label,
        members=first.members,
        seeds=tuple(row.seed for row in group),
        utility_name=first.utility_name,
        utility=utility,
        interval=interval,
        synthetic=_over([row.synthetic_utility for row in group]),
        mi={name: _over([row.leakage[name].mi for row in group]) for name in first.leakage},
        sim={name: _over([row.leakage[name].sim for row in group]) for name in first.leakage},
    )


def _over(values: Sequence[float]) -> Estimate:
    found = estimate(values)
    assert found is not None, "a row has every figure"  # noqa: S101
    return found


def dominates(one: Outcome, other: Outcome) -> bool:
    """Whether ``one`` is nowhere worse in utility and in MI of each segment, and somewhere better.

    Means are compared as they are; their uncertainty stands beside them.
    """
    better = [one.utility.mean - other.utility.mean]
    better += [other.mi[name].mean - one.mi[name].mean for name in one.mi]
    return all(gain >= 0 for gain in better) and any(gain > 0 for gain in better)


def pareto_front(found: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other dominates, in order."""
    return [one for one in found if not any(dominates(other, one) for other in found)]


def disclosure(outcome: Outcome, sensitivity: Mapping[str, float]) -> tuple[float, float]:
    """How much a condition gives away, to be compared: MI, summed over segments by their
    sensitivity; where that is equal, SIM."""
    return (
        round(sum(sensitivity.get(n, 1.0) * mi.mean for n, mi in outcome.mi.items()), 9),
        sum(sensitivity.get(n, 1.0) * sim.mean for n, sim in outcome.sim.items()),
    )


@dataclass(frozen=True)
class Recommendation:
    """The least disclosure that reaches the wanted utility."""

    label: str | None
    """None when nothing reaches it."""
    sure: bool
    """Whether the interval's lower end reaches it, too."""
    sentence: str


def recommend(
    found: Sequence[Outcome], wanted: float, sensitivity: Mapping[str, float]
) -> Recommendation:
    """Recommend, in one sentence, with the uncertainty.

    Args:
        found: at least one.
        wanted: the utility's mean must reach it, a share.
    """
    enough = [one for one in found if one.utility.mean >= wanted]
    if not enough:
        best = max(found, key=lambda one: one.utility.mean)
        return Recommendation(
            None,
            False,
            f"No preference that was tried reaches {best.utility_name} {wanted:.0%}: the best is "
            f"{best.label} with {_described(best)}.",
        )
    least = min(enough, key=lambda one: (disclosure(one, sensitivity), -one.utility.mean))
    sure = least.interval is not None and least.interval[0] >= wanted
    shares = ", ".join(f"{name} {mi.mean:.1%}" for name, mi in least.mi.items())
    doubt = "" if sure else ", so that it may fall short of it"
    return Recommendation(
        least.label,
        sure,
        f"Share {least.label}: the least disclosure (MI: {shares}) that reaches "
        f"{least.utility_name} {wanted:.0%}, with {_described(least)}{doubt}.",
    )


def _described(one: Outcome) -> str:
    if one.interval is None:
        return f"{one.utility.mean:.1%} (no interval)"
    low, high = one.interval
    return f"{one.utility.mean:.1%} (95 %: {low:.1%}–{high:.1%} {one.interval_over})"
