"""The front, the recommendation and early stopping on known numbers."""

from __future__ import annotations

import pytest

from spinml.sweep.front import outcomes, pareto_front, recommend
from spinml.sweep.hopeless import hopeless
from spinml.sweep.results import shared_compute
from tests.sweep.rows import human_rows, row


def test_front_of_the_papers_human_task() -> None:
    front = pareto_front(outcomes(human_rows()))
    # (L1, L0) leaks more of both than (L0, L1) and is worse; the rest of L2 is below (L0, L2).
    assert [one.label for one in front] == ["(L0, L0)", "(L0, L1)", "(L0, L2)", "(L1, L1)"]


def test_equals_stand_on_the_front_together() -> None:
    twins = [row("L0,L0", 0.5), row("L0,L1", 0.5)]
    assert len(pareto_front(outcomes(twins))) == 2


def test_least_disclosure_that_is_enough() -> None:
    found = outcomes(human_rows())
    least = recommend(found, 0.44, {})
    assert least.label == "(L0, L1)", "0.35 % of MI in all; (L1, L1) has 1.10 %"
    assert least.sentence.startswith("Share (L0, L1): the least disclosure")
    assert recommend(found, 0.48, {}).label == "(L0, L2)"
    nothing = recommend(found, 0.9, {})
    assert nothing.label is None
    assert "(L0, L2) with 49.4%" in nothing.sentence


def test_sensitivity_weighs_segments() -> None:
    found = outcomes([row("L2,L0", 0.7, (0.4, 0.0)), row("L0,L2", 0.7, (0.0, 0.5))])
    assert recommend(found, 0.6, {}).label == "(L2, L0)"
    assert recommend(found, 0.6, {"target": 2.0}).label == "(L0, L2)"


def test_equal_mi_is_decided_by_sim() -> None:
    near, far = row("L0,L0", 0.7, sim=(0.9, 0.9)), row("L0,L1", 0.7, sim=(0.3, 0.3))
    assert recommend(outcomes([near, far]), 0.6, {}).label == "(L0, L1)"


def test_uncertainty_is_told() -> None:
    seeds = [row("L0,L0", utility, seed=seed) for seed, utility in enumerate((0.5, 0.6, 0.7))]
    (found,) = outcomes(seeds)
    # t(0.975, 2) = 4.303: 0.6 ± 4.303 · 0.1 / √3
    assert found.interval == pytest.approx((0.6 - 0.2484, 0.6 + 0.2484), abs=1e-3)
    doubtful = recommend([found], 0.55, {})
    assert (doubtful.label, doubtful.sure) == ("(L0, L0)", False)
    assert "60.0% (95 %: 35.2%–84.8% over 3 seeds), so that it may fall short" in doubtful.sentence
    sure = recommend(outcomes([row("L0,L0", 0.6, interval=(0.53, 0.67))]), 0.5, {})
    assert sure.sure
    assert "53.0%–67.0% over photos, one seed)" in sure.sentence


def test_shared_stages_count_once() -> None:
    assert shared_compute([row("L2,L0", 0.5), row("L2,L1", 0.5)]) == (5.0, 8.0)


def test_hopeless_is_what_is_beaten_for_certain_at_no_more_leakage() -> None:
    good = [row("L0,L0", 0.60 + 0.01 * seed, seed=seed) for seed in range(2)]
    bad = [row("L2,L0", 0.40 + 0.01 * seed, (0.8, 0.1), seed=seed) for seed in range(2)]
    near = [row("L1,L0", 0.59 + 0.01 * seed, (0.1, 0.0), seed=seed) for seed in range(2)]
    rows = good + bad + near
    reason = hopeless(rows, "(L2, L0)", 2)
    assert reason is not None
    assert reason.startswith("(L0, L0) leaks no more and is better by 20.0%")
    assert hopeless(rows, "(L1, L0)", 2) is None, "the lead is within chance"
    assert hopeless(rows, "(L0, L0)", 2) is None
    assert hopeless(rows, "(L2, L0)", 3) is None, "too few seeds"
    less = [one.model_copy(update={"utility": one.utility - 0.3}) for one in good]
    ahead = [one.model_copy(update={"utility": one.utility + 0.3}) for one in bad]
    assert hopeless(less + ahead, "(L0, L0)", 2) is None, "who is better leaks more"
