"""Means and spreads by preference, and the demo's request from the shipped home."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spinml.demo import home_request
from spinml.errors import InvalidRequestError
from spinml.evaluation import Row, summarise
from spinml.request import Scheme

ROW = Row(
    target="L0",
    background="L0",
    seed=0,
    accuracy=0.5,
    synthetic_accuracy=0.9,
    rejected_share=0.1,
    mi_target=0.0,
    mi_background=0.0,
    mi_target_regional=0.0,
    mi_background_regional=0.0,
    sim_target=0.4,
    sim_background=0.3,
    seconds=60.0,
)


def test_mean_and_sample_deviation_by_preference() -> None:
    rows = [ROW, replace(ROW, target="L2", accuracy=0.8), replace(ROW, seed=1, accuracy=0.7)]
    first, second = summarise(rows)
    assert (first.target, first.background, first.seeds) == ("L0", "L0", 2)
    assert first.mean["accuracy"] == pytest.approx(0.6)
    assert first.spread["accuracy"] == pytest.approx(0.1 * 2**0.5)
    assert (second.target, second.seeds, second.spread["accuracy"]) == ("L2", 1, 0.0)


def test_request_of_the_shipped_home() -> None:
    request = home_request(target="L2", background="L0", seed=3, images_per_class=8)
    assert request.label_classes == ("eating", "sitting", "sleeping", "playing")
    assert request.privacy.target is Scheme.L2
    assert (request.seed, request.images_per_class) == (3, 8)
    with pytest.raises(InvalidRequestError, match=r"privacy\.target"):
        home_request(target="L9", background="L0", seed=0)
