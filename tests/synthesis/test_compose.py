from __future__ import annotations

import cv2
import numpy as np
import pytest

from spinml.config import CutoutConfig
from spinml.images import GROUND
from spinml.synthesis.compose import arrange, paste, place
from spinml.synthesis.cutout import Broken, CutOut, find_object


def _ground() -> np.ndarray:
    return np.full((128, 128, 3), GROUND, np.uint8)


def _dog(colour: int = 60, hole_px: int = 4) -> np.ndarray:
    image = _ground()
    cv2.ellipse(image, (64, 64), (40, 25), 0, 0, 360, (colour, colour, colour), -1)
    cv2.circle(image, (64, 64), hole_px, (GROUND, GROUND, GROUND), -1)
    return image


def test_the_object_is_found_with_a_small_hole_filled() -> None:
    wanted = np.zeros((128, 128), np.uint8)
    cv2.ellipse(wanted, (64, 64), (40, 25), 0, 0, 360, 1, -1)
    found = find_object(_dog(), CutoutConfig())
    assert isinstance(found, CutOut)
    both = found.mask & wanted.astype(bool)
    either = found.mask | wanted.astype(bool)
    assert both.sum() / either.sum() > 0.93
    assert found.mask[64, 64]


def test_one_sees_through_a_large_hole() -> None:
    found = find_object(_dog(hole_px=15), CutoutConfig())
    assert isinstance(found, CutOut)
    assert found.alpha[64, 64] == 0
    assert found.mask[64, 30]


def test_the_ground_that_shines_through_the_rim_is_taken_out() -> None:
    blurred = cv2.GaussianBlur(_dog(hole_px=0), (0, 0), 1.5)
    found = find_object(blurred, CutoutConfig())
    assert isinstance(found, CutOut)
    rim = (found.alpha > 0.3) & (found.alpha < 0.9)
    assert rim.sum() > 40
    assert blurred[rim].mean() > 100
    assert found.image[rim].mean() < 75


def test_the_pale_rim_that_models_draw_is_no_part_of_the_object() -> None:
    image = _dog(hole_px=0)
    cv2.ellipse(image, (64, 64), (42, 27), 0, 0, 360, (225, 225, 225), 2)
    found = find_object(image, CutoutConfig())
    assert isinstance(found, CutOut)
    pale = (image > 215).all(axis=2)
    assert found.alpha[pale].mean() < 0.2
    assert found.alpha[64, 64] == 1


def _two() -> np.ndarray:
    image = _ground()
    cv2.circle(image, (35, 64), 20, (50, 50, 50), -1)
    cv2.circle(image, (95, 64), 18, (50, 50, 50), -1)
    return image


def _running_out() -> np.ndarray:
    image = _ground()
    image[:, :60] = 40
    return image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (_ground(), Broken.EMPTY),
        (_dog(GROUND - 12), Broken.EMPTY),
        (_ground() - 100, Broken.GROUND),
        (_two(), Broken.FRAGMENTED),
        (_running_out(), Broken.CUT_OFF),
    ],
)
def test_broken_objects_are_told_apart(image: np.ndarray, reason: Broken) -> None:
    assert find_object(image, CutoutConfig()) is reason


@pytest.mark.parametrize("seed", range(20))
def test_objects_stand_wholly_inside_at_a_scale_in_the_range(seed: int) -> None:
    found = find_object(_dog(), CutoutConfig())
    assert isinstance(found, CutOut)
    placed = place(found, 96, (0.3, 0.8), seed)
    x0, y0, x1, y1 = placed.box
    assert 0 <= x0 < x1 <= 96
    assert 0 <= y0 < y1 <= 96
    assert 0.25 * 96 <= max(x1 - x0, y1 - y0) <= 0.8 * 96 + 1


def test_no_ground_bleeds_in_and_the_object_keeps_its_pixels() -> None:
    found = find_object(_dog(), CutoutConfig())
    assert isinstance(found, CutOut)
    placed = place(found, 128, (0.6, 0.6), 0)
    black = np.zeros((128, 128, 3), np.uint8)
    pasted = paste(placed, black)
    x0, y0, _, y1 = placed.box
    middle = pasted[(y0 + y1) // 2, x0 + 6]
    assert abs(int(middle[0]) - 60) <= 2
    assert (pasted[placed.alpha == 0] == 0).all()
    rim = pasted[(placed.alpha > 0) & (placed.alpha < 0.5)]
    assert rim.size == 0 or rim.max() < 100


def _cut(colour: int) -> CutOut:
    found = find_object(_dog(colour, hole_px=0), CutoutConfig())
    assert isinstance(found, CutOut)
    return found


def test_one_object_stands_as_it_is_placed() -> None:
    scene = arrange([_cut(60)], 96, (0.3, 0.6), 7)
    assert scene is not None
    placed = place(_cut(60), 96, (0.3, 0.6), 7)
    assert np.array_equal(scene.whole.colours, placed.colours)
    assert scene.boxes == [placed.box]


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("seed", range(8))
def test_no_object_hides_another_too_much(count: int, seed: int) -> None:
    colours = [10 + 20 * number for number in range(count)]
    scene = arrange([_cut(colour) for colour in colours], 96, (0.2, 0.6), seed)
    assert scene is not None
    masks = scene.masks
    assert len(masks) == len(scene.boxes) == count
    assert sum(mask.astype(int) for mask in masks).max() == 1  # each pixel shows one object
    either = np.logical_or.reduce(masks)
    assert not (either & ~scene.whole.mask).any()
    assert (scene.whole.mask & ~either).sum() < 0.02 * either.sum()  # where soft rims meet
    image = paste(scene.whole, np.full((96, 96, 3), 255, np.uint8))
    for mask, colour, (x0, y0, x1, y1) in zip(masks, colours, scene.boxes, strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert abs(float(np.median(image[mask])) - colour) <= 4


def test_the_visible_part_is_at_least_what_may_be_hidden_less() -> None:
    hidden = []
    for seed in range(40):
        scene = arrange([_cut(20), _cut(120)], 96, (0.55, 0.6), seed)
        assert scene is not None
        whole = place(_cut(20), 96, (0.55, 0.6), seed).mask
        hidden.append(1 - scene.masks[0].sum() / whole.sum())
    assert 0.05 < max(hidden) <= 0.5  # later ones do hide earlier ones, and not too much


def test_what_finds_no_place_is_said() -> None:
    filling = np.full((128, 128, 3), GROUND, np.uint8)
    filling[8:120, 8:120] = 30
    cut = find_object(filling, CutoutConfig(max_area_share=1))
    assert isinstance(cut, CutOut)
    assert arrange([cut, cut], 96, (1.0, 1.0), 0) is None
