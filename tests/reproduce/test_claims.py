"""Insights: on the paper's own numbers, and on others that contradict them."""

from __future__ import annotations

import pytest

from spinml.reproduce.claims import (
    At,
    Claim,
    Figure,
    Verdict,
    about,
    in_ours,
    in_paper,
    judge,
    judge_all,
    judge_claim,
)
from spinml.reproduce.experiments import EXPERIMENTS, TABLES
from spinml.reproduce.insights import FINDINGS, INSIGHTS
from spinml.reproduce.tables import assemble
from spinml.sweep.estimates import Estimate
from spinml.sweep.results import TrialRow
from tests.reproduce.rows import paper_rows

GENERIC = {
    name: Estimate(value, None, (value, value))
    for name, value in (("husky", 0.0), ("human", 1.6), ("bottle", 17.3))
}

X, Y = At("3a", "L2,L0", "real"), At("3a", "L0,L0", "real")


def ours(pet: list[TrialRow]) -> dict[str, Verdict]:
    tables = assemble(TABLES, {"pet": pet}, {})
    judged = judge_all((*INSIGHTS, *FINDINGS), in_ours(tables))
    return {claim.says: claim.verdict for insight in judged for claim in insight.claims}


def test_everything_holds_on_the_papers_own_numbers() -> None:
    judged = judge_all((*INSIGHTS, *FINDINGS), in_paper(assemble(TABLES, {}, {})))
    assert len(INSIGHTS) == 3
    for insight in judged:
        against = [claim for claim in insight.claims if claim.verdict is not Verdict.HOLDS]
        assert not against, insight.name
        assert insight.verdict is Verdict.HOLDS


def test_everything_holds_when_we_measure_what_the_paper_did() -> None:
    rows = {name: paper_rows(name, 3) for name in EXPERIMENTS}
    judged = judge_all((*INSIGHTS, *FINDINGS), in_ours(assemble(TABLES, rows, GENERIC)))
    assert {insight.verdict for insight in judged} == {Verdict.HOLDS}


def test_seeds_that_scatter_leave_it_open() -> None:
    rows = [
        # Up with the seed for one, down for the other: what both share would fall out.
        row.model_copy(update={"utility": 1.2 - row.utility}) if row.label == "(L2, L0)" else row
        for row in paper_rows("pet", 3, jitter=0.05)
        if row.utility is not None
    ]
    pet = ours(rows)
    assert pet["pet: (L2,L0) is more useful than (L0,L0)"] is Verdict.OPEN
    assert pet["pet: L2 raises MI target significantly (over 10 points)"] is Verdict.HOLDS


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((1.0, 1.4, 0.8), Verdict.HOLDS),
        ((-1.0, -1.4, -0.8), Verdict.FAILS),
        ((4.0, -3.0, 2.0), Verdict.OPEN),
    ],
)
def test_what_a_seeds_conditions_share_falls_out(
    gains: tuple[float, float, float], verdict: Verdict
) -> None:
    base = {0: 40.0, 1: 55.0, 2: 48.0}
    more = {seed: value + gains[seed] for seed, value in base.items()}
    figures = {X: Figure(0.0, 20.0, 70.0, more), Y: Figure(0.0, 20.0, 70.0, base)}
    assert judge_claim(Claim("", ((1.0, X), (-1.0, Y))), figures.get).verdict is verdict
    # The third seed of one broke: the two that both have leave it open.
    figures[Y] = Figure(0.0, 20.0, 70.0, {0: 40.0, 1: 55.0})
    told = judge_claim(Claim("", ((1.0, X), (-1.0, Y))), figures.get).verdict
    assert told is Verdict.OPEN
    figures[Y] = Figure(47.0, 47.0, 47.0)  # of no seed
    assert judge_claim(Claim("", ((1.0, X), (-1.0, Y))), figures.get).verdict is Verdict.OPEN


def test_only_insights_about_the_tables_asked_for_are_judged() -> None:
    every = (*INSIGHTS, *FINDINGS)
    assert about(TABLES, every) == every
    assert [one.name[:4] for one in about(("5", "6"), every)] == ["§5.5", "§5.6"]
    assert about((), every) == ()


def test_of_one_seed_the_photos_decide_on_accuracy_and_nothing_on_similarity() -> None:
    more, mi, sim = (
        "pet: (L2,L0) is more useful than (L0,L0)",
        "pet: L2 raises MI target significantly (over 10 points)",
        "pet: L2 of the target raises SIM background by at most 50% of what it raises SIM target",
    )
    for gained, wanted in ((0.02, Verdict.OPEN), (0.2, Verdict.HOLDS), (-0.2, Verdict.FAILS)):
        utility = {"(L0, L0)": 0.5, "(L2, L0)": 0.5 + gained}
        pet = ours(
            [
                row.model_copy(
                    update={
                        "utility": utility[row.label],
                        "utility_interval": (utility[row.label] - 0.07, utility[row.label] + 0.07),
                    }
                )
                for row in paper_rows("pet", 1)
                if row.label in utility
            ]
        )
        assert (pet[more], pet[mi], pet[sim]) == (wanted, Verdict.HOLDS, Verdict.OPEN)


def test_contrary_numbers_speak_against_an_insight() -> None:
    rows = [
        row.model_copy(update={"utility": 0.1}) if row.label == "(L2, L0)" else row
        for row in paper_rows("pet", 3)
    ]
    assert ours(rows)["pet: (L2,L0) is more useful than (L0,L0)"] is Verdict.FAILS
    first = judge(INSIGHTS[0], in_ours(assemble(TABLES, {"pet": rows}, {})))
    assert first.verdict is Verdict.FAILS, "though other tasks were not measured"


@pytest.mark.parametrize(
    ("one", "other", "more", "at_most_five"),
    [
        ((60, 62), (50, 52), Verdict.HOLDS, Verdict.FAILS),
        ((50, 52), (60, 62), Verdict.FAILS, Verdict.HOLDS),
        ((50, 58), (55, 60), Verdict.OPEN, Verdict.HOLDS),
        ((50, 58), (50, 52), Verdict.OPEN, Verdict.OPEN),
    ],
)
def test_intervals_decide(
    one: tuple[float, float], other: tuple[float, float], more: Verdict, at_most_five: Verdict
) -> None:
    figures = {X: Figure(sum(one) / 2, *one), Y: Figure(sum(other) / 2, *other)}
    terms = ((1.0, X), (-1.0, Y))
    assert judge_claim(Claim("", terms), figures.get).verdict is more
    assert judge_claim(Claim("", terms, 5.0, at_most=True), figures.get).verdict is at_most_five


def test_the_numbers_are_told() -> None:
    figures = {X: Figure(61.0, 60.0, 62.0)}
    judged = judge_claim(Claim("more", ((1.0, X), (-1.0, Y))), figures.get)
    assert judged.verdict is Verdict.OPEN
    assert judged.numbers == "(L2,L0) real 61.0 % (60.0–62.0); (L0,L0) real not measured"
    assert judge_claim(Claim("", ((1.0, X), (-1.0, Y))), {}.get).numbers == "not measured"
