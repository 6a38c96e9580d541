"""Means, spreads and intervals by preference, and the demo's request from the shipped home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinml.demo import home_request
from spinml.errors import InvalidRequestError, PhotoError
from spinml.evaluation import FIGURES, Row, measure_utility, summarise
from spinml.home.camera import write_home
from spinml.home.homes import private_home
from spinml.home.photos import PhotoSet, shipped_home, write_boxes, write_photo
from spinml.request import Scheme, Task
from spinml.sweep.estimates import Estimate, estimate
from tests.device.detectors import SIDE, detector

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
    prompt_sim_target=None,
    prompt_sim_background=None,
    empty_prompt_sim_target=None,
    empty_prompt_sim_background=None,
    reidentified_target=0.9,
    reidentified_background=0.1,
    reidentified_same_target=1.0,
    reidentified_same_background=0.1,
    reidentified_chance=0.1,
    copies_target=0.0,
    copies_background=0.0,
    nearest_target=0.8,
    nearest_background=0.7,
    seconds=60.0,
)


def test_figures_by_preference() -> None:
    rows = [ROW, replace(ROW, target="L2", accuracy=0.8), replace(ROW, seed=1, accuracy=0.7)]
    first, second = summarise(rows)
    assert (first.target, first.background, first.seeds) == ("L0", "L0", 2)
    accuracy = first.figures["accuracy"]
    assert accuracy is not None
    assert accuracy.mean == pytest.approx(0.6)
    assert accuracy.spread == pytest.approx(0.1 * 2**0.5)
    assert (second.target, second.seeds) == ("L2", 1)
    assert second.figures["accuracy"] == Estimate(0.8, None, None)
    assert second.figures["prompt_sim_target"] is None
    assert set(first.figures) == set(FIGURES)


def test_interval_is_students() -> None:
    # Table of t: 0.975 quantile with 2 degrees of freedom is 4.303, with 1 it is 12.706.
    three = estimate([1.0, 2.0, 3.0])
    assert three is not None
    assert three.spread == pytest.approx(1.0)
    assert three.interval_95 == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    two = estimate([0.5, 0.7])
    assert two is not None
    assert two.interval_95 == pytest.approx((0.6 - 1.2706, 0.6 + 1.2706), abs=1e-3)
    same = estimate([0.4, 0.4])
    assert same is not None
    assert (same.spread, same.interval_95) == (0.0, (0.4, 0.4))


def test_a_figure_that_one_seed_lacks_has_no_mean() -> None:
    assert estimate([0.5, None]) is None
    assert estimate([]) is None


def test_a_home_of_a_detection(tmp_path: Path) -> None:
    """Photos as ``jobs/render_home.py private --task bottle`` lays them out."""
    home = PhotoSet(tmp_path)
    masks = [(0, np.zeros((SIDE, SIDE), bool)), (1, np.zeros((SIDE, SIDE), bool))]
    masks[0][1][16:48, 8:24] = True
    masks[1][1][0:8, 40:60] = True
    write_photo(
        tmp_path / "test" / "images" / "photo_000.jpg", np.full((SIDE, SIDE, 3), 90, np.uint8)
    )
    write_boxes(tmp_path / "test" / "labels" / "photo_000.txt", masks)
    write_home(private_home("bottle", "b", 5), tmp_path, references=0, test=1, size_px=SIDE)

    request = home_request(target="L1", background="L0", seed=1, home=home)
    assert request.task is Task.DETECTION
    assert request.label_classes == ("pill bottle",)
    assert [photo.name for photo in home.test_photos()] == ["photo_000.jpg"]
    found = [([8.0, 16.0, 24.0, 48.0], 0, 0.9)]
    model = detector(tmp_path / "model.onnx", found)  # knows bottle and frame, finds the bottle
    assert measure_utility(model, tmp_path / "test") == pytest.approx(0.5)


def test_a_home_of_a_classification_is_no_detectors(tmp_path: Path) -> None:
    model = detector(tmp_path / "model.onnx", [])
    with pytest.raises(PhotoError, match="no images/ and labels/"):
        measure_utility(model, shipped_home("pet").folder / "test")


def test_request_of_the_shipped_home() -> None:
    request = home_request(target="L2", background="L0", seed=3, images_per_class=8)
    assert request.label_classes == ("eating", "sitting", "sleeping", "playing")
    assert request.privacy.target is Scheme.L2
    assert (request.seed, request.images_per_class, request.image_px) == (3, 8, None)
    assert (
        home_request(target="L2", background="L0", seed=3, home=shipped_home("human")).image_px
        == 256
    )
    with pytest.raises(InvalidRequestError, match=r"privacy\.target"):
        home_request(target="L9", background="L0", seed=0)
