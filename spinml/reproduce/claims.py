"""What the paper says about its figures, as inequalities over the tables' cells.

A claim is a sum of cells, each with a coefficient, held against a limit. Where all of the sum's
95 % interval is on one side, the claim holds or does not; where the limit lies inside, it cannot be
told. With several seeds the interval is Student's, of the sums of the single seeds: a seed's
conditions share photos, noise and splits, so what they have in common falls out. Elsewhere it is
made of the cells' own intervals (:class:`spinml.reproduce.tables.Cell`) at worst. The paper gives
no intervals: its numbers count as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from spinml.reproduce.tables import Table, is_share
from spinml.sweep.estimates import estimate


class Verdict(StrEnum):
    """Whether the paper's word holds here."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "cannot be told"


@dataclass(frozen=True)
class At:
    """A cell: table, row and column."""

    table: str
    row: str
    column: str


@dataclass(frozen=True)
class Figure:
    """A cell's mean and interval, in the paper's units."""

    mean: float
    low: float | None
    """None, as ``high``: a figure of one seed that has no interval."""
    high: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    """Each seed's; empty for a figure of no seed."""

    @property
    def certain(self) -> bool:
        """Whether the interval is a point."""
        return self.low is not None and self.high is not None and self.high - self.low < _ROUNDING


Look = Callable[[At], Figure | None]


@dataclass(frozen=True)
class Claim:
    """``sum of coefficient · cell > limit``, or ``<= limit`` where ``at_most``."""

    says: str
    terms: tuple[tuple[float, At], ...]
    limit: float = 0.0
    at_most: bool = False


@dataclass(frozen=True)
class Judged:
    """A claim's verdict and the numbers that say so."""

    says: str
    verdict: Verdict
    numbers: str


@dataclass(frozen=True)
class Insight:
    """One insight of the paper, in claims."""

    name: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class JudgedInsight:
    """An insight with its claims judged."""

    name: str
    claims: tuple[Judged, ...]

    @property
    def verdict(self) -> Verdict:
        """It holds when all claims do; one that does not is enough against it."""
        verdicts = {claim.verdict for claim in self.claims}
        for verdict in (Verdict.FAILS, Verdict.OPEN):
            if verdict in verdicts:
                return verdict
        return Verdict.HOLDS


def judge(insight: Insight, look: Look) -> JudgedInsight:
    """Every claim of ``insight`` on the figures that ``look`` knows."""
    return JudgedInsight(insight.name, tuple(judge_claim(claim, look) for claim in insight.claims))


def judge_claim(claim: Claim, look: Look) -> Judged:
    """Hold one claim against the figures."""
    found = [(coefficient, at, look(at)) for coefficient, at in claim.terms]
    known = any(figure is not None for _, _, figure in found)
    numbers = "; ".join(_described(at, figure) for _, at, figure in found) if known else _ABSENT
    figures = [(coefficient, figure) for coefficient, _, figure in found if figure is not None]
    interval = _interval(figures) if len(figures) == len(found) else None
    if interval is None:
        return Judged(claim.says, Verdict.OPEN, numbers)
    low, high = interval
    above, below = low > claim.limit + _ROUNDING, high <= claim.limit + _ROUNDING
    if claim.at_most:
        above, below = below, above
    verdict = Verdict.HOLDS if above else Verdict.FAILS if below else Verdict.OPEN
    return Judged(claim.says, verdict, numbers)


_Terms = Sequence[tuple[float, Figure]]


def _interval(terms: _Terms) -> tuple[float, float] | None:
    """The 95 % interval of the sum of coefficient · figure; None where it is not known."""
    of_seeds = [frozenset(figure.seeds) for _, figure in terms if not figure.certain]
    shared = of_seeds[0].intersection(*of_seeds) if of_seeds else frozenset()
    if len(shared) > 1:
        sums = [
            sum(c * (one.mean if one.certain else one.seeds[seed]) for c, one in terms)
            for seed in sorted(shared)
        ]
        found = estimate(sums)
        return None if found is None else found.interval_95
    low = high = 0.0
    for coefficient, figure in terms:
        if figure.low is None or figure.high is None:
            return None
        ends = (coefficient * figure.low, coefficient * figure.high)
        low, high = low + min(ends), high + max(ends)
    return low, high


_ROUNDING = 1e-9
_ABSENT = "not measured"


def _described(at: At, figure: Figure | None) -> str:
    name = f"({at.row}) {at.column}"
    if figure is None:
        return f"{name} {_ABSENT}"
    places, unit = (1, " %") if is_share(at.column) else (3, "")
    text = f"{name} {figure.mean:.{places}f}{unit}"
    if figure.low is None or figure.high is None:
        return f"{text} (one seed)"
    if figure.certain:
        return text
    return f"{text} ({figure.low:.{places}f}–{figure.high:.{places}f})"


def in_paper(tables: Mapping[str, Table]) -> Look:
    """The paper's numbers, as if they were certain."""

    def look(at: At) -> Figure | None:
        if at.table not in tables:
            return None
        value = tables[at.table].cell(at.row, at.column).paper
        return Figure(value, value, value)

    return look


def in_ours(tables: Mapping[str, Table]) -> Look:
    """What was measured here."""

    def look(at: At) -> Figure | None:
        cell = tables[at.table].cell(at.row, at.column) if at.table in tables else None
        if cell is None or cell.ours is None:
            return None
        low, high = cell.ours.interval_95 or (None, None)
        return Figure(cell.ours.mean, low, high, cell.seeds)

    return look


def judge_all(insights: Sequence[Insight], look: Look) -> tuple[JudgedInsight, ...]:
    """All of ``insights`` on the same figures."""
    return tuple(judge(insight, look) for insight in insights)


def about(tables: Collection[str], insights: Sequence[Insight]) -> tuple[Insight, ...]:
    """Those of ``insights`` that say something of one of ``tables``."""
    return tuple(
        insight
        for insight in insights
        if any(at.table in tables for claim in insight.claims for _, at in claim.terms)
    )
