"""The photo set that ships with the package, and that its seed renders it again."""

from __future__ import annotations

import os
from collections import Counter

import cv2
import numpy as np
import pytest

from spinml.device.keypoints import load_keypoints
from spinml.device.labelled_boxes import read_labelled
from spinml.home.keypoints import HIDDEN, OUTSIDE, SEEN
from spinml.home.photos import expose, shipped_home, shipped_homes
from spinml.home.private_pet import PetHome
from spinml.home.scenes import is_private
from spinml.images import decode_photo

PET = shipped_home("pet")


def test_ten_references_without_labels_and_200_balanced_test_photos() -> None:
    references = PET.references()
    assert [p.name for p in references] == [f"ref_{i:02d}.jpg" for i in range(10)]
    assert Counter(label for _, label in PET.test()) == dict.fromkeys(PET.record.label_classes, 50)
    sizes = {decode_photo(p).shape for p in references}
    assert sizes == {(320, 320, 3)}


def test_it_is_small_enough_to_ship() -> None:
    total = sum(p.stat().st_size for p in PET.folder.rglob("*") if p.is_file())
    assert total <= 5 * 2**20


def test_the_reference_masks_hold_a_dog() -> None:
    for photo in PET.references():
        mask = cv2.imread(str(PET.reference_mask(photo)), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        assert mask.shape == (320, 320)
        assert 0.02 < (mask > 127).mean() < 0.6


def test_a_persons_keypoints_are_files_that_the_device_takes() -> None:
    human = shipped_home("human")
    for number, photo in enumerate(human.references(), 1):
        path = human.folder / "references_keypoints" / f"{photo.stem}.json"
        taken, truth = load_keypoints(path, number), human.reference_keypoints(photo)
        assert np.array_equal(taken[:, :2], truth[:, :2])
        assert np.array_equal(2 * taken[:, 2], truth[:, 2])
        assert set(truth[:, 2]) <= {SEEN, HIDDEN, OUTSIDE}


def test_a_detector_of_bottles_is_not_asked_about_frames() -> None:
    items = list(read_labelled(shipped_home("bottle").folder / "test", ["pill bottle"]))
    assert len(items) == 200
    assert {box.label for item in items for box in item.boxes} == {"pill bottle", "photo frame"}


def test_three_homes_are_shipped_one_a_task() -> None:
    objects = {task: home.record.target_object for task, home in shipped_homes().items()}
    assert objects == {"pet": "dog", "human": "person", "bottle": "pill bottle"}


def test_the_home_is_private() -> None:
    record = PET.record
    assert is_private(PetHome(record.name, record.seed).sample("sitting", 5, 0))


def test_sensor_noise_is_small_and_reproducible() -> None:
    grey = np.full((64, 64, 3), 120, np.uint8)
    one, two = (expose(grey, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, two)
    assert 0.5 < one.astype(float).std() < 5


def test_shipped_photos_come_out_of_the_renderer_again() -> None:
    os.environ.setdefault("MUJOCO_GL", "egl")
    pytest.importorskip("mujoco")
    pytest.importorskip("dm_control")
    from spinml.home.camera import SUPERSAMPLE, shoot
    from spinml.home.renderer import shared_renderer

    record = PET.record
    home, renderer = PetHome(record.name, record.seed), shared_renderer(320, SUPERSAMPLE)
    shot = shoot(renderer, home, "reference", 0)
    shipped = decode_photo(PET.references()[0])
    assert np.abs(shot.image.astype(int) - shipped).mean() < 3
    mask = cv2.imread(str(PET.reference_mask(PET.references()[0])), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert ((mask > 127) == shot.mask).mean() > 0.995
    photo, label = PET.test()[0]
    test = shoot(renderer, home, "test", 0)
    assert test.label == label
    assert np.abs(test.image.astype(int) - decode_photo(photo)).mean() < 3
