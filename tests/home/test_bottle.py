"""Pill bottles and photo frames: places, sizes, boxes, and the private home's bottle."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

from spinml.home.camera import record_of, shoot, write_reference, write_test
from spinml.home.geometry import boxes_of, overlaps
from spinml.home.homes import private_home
from spinml.home.photos import PhotoSet, write_record
from spinml.home.renderer import Renderer
from spinml.home.rooms import sample_room
from spinml.home.scenes import PRIVATE_BOTTLES, PRIVATE_ROOMS, Bottle, Scene, is_private
from spinml.home.shards import render_row
from spinml.home.surfaces import free_place, surfaces_of
from spinml.home.usable import shown, usable
from spinml.home.worlds import PublicWorld
from spinml.images import bounding_box

WORLD = PublicWorld(7, "bottle")


def bottle_of(scene: Scene) -> Bottle:
    assert isinstance(scene.target, Bottle)
    return scene.target


def test_a_scene_follows_from_its_seed_and_index_alone(renderer: Renderer) -> None:
    scene = WORLD.sample(3)
    first = renderer.render(scene)
    renderer.render(WORLD.sample(4))
    assert WORLD.sample(3) == scene
    again = renderer.render(WORLD.sample(3))
    assert np.array_equal(first.image, again.image)
    assert first.masks.keys() == again.masks.keys()
    assert all(np.array_equal(first.masks[name], again.masks[name]) for name in first.masks)


def test_public_bottles_are_varied_and_never_private() -> None:
    scenes = [WORLD.sample(i) for i in range(200)]
    looks = Counter((bottle_of(s).look.word, bottle_of(s).look.band_word) for s in scenes)
    assert len(looks) > 20
    assert not set(looks) & set(PRIVATE_BOTTLES)
    assert not any((s.room.kind, s.room.wall_word) in PRIVATE_ROOMS for s in scenes)
    assert not any(is_private(s) for s in scenes)
    heights = [bottle_of(s).pos[2] for s in scenes]
    assert 0.08 < np.mean(np.array(heights) < 0.03) < 0.5
    assert np.mean(np.array(heights) > 0.3) > 0.3
    assert 0.35 < np.mean([len(s.subjects) == 2 for s in scenes]) < 0.9


def test_the_home_is_private_by_its_bottle_and_by_its_room() -> None:
    public = WORLD.sample(0)
    for seed in range(3):
        home = private_home("bottle", "somewhere", seed)
        scene, other = home.sample("bottle", 5, 0), home.sample("bottle", 5, 1)
        assert is_private(replace(public, subjects=scene.subjects))
        assert is_private(replace(public, room=scene.room))
        assert bottle_of(scene).look == bottle_of(other).look
        assert bottle_of(scene).pos != bottle_of(other).pos


def test_bottles_are_of_a_size_that_is_found(renderer: Renderer) -> None:
    sides, kept = [], 0
    for index in range(24):
        frame = renderer.render(WORLD.sample(index))
        if usable(frame, "bottle"):
            x0, y0, x1, y1 = bounding_box(frame.mask)
            sides.append(max(x1 - x0, y1 - y0))
            kept += 1
    assert kept >= 14
    assert min(sides) >= 14
    assert max(sides) <= 77
    assert max(sides) > 1.5 * min(sides)


def test_each_mask_is_where_its_object_shows(renderer: Renderer) -> None:
    scene = next(s for s in map(WORLD.sample, range(30)) if len(s.subjects) == 2)
    frame = renderer.render(scene)
    alone = renderer.render(replace(scene, subjects=scene.subjects[:1]))
    assert list(frame.masks) == ["bottle", "frame"]
    assert not (frame.masks["bottle"] & frame.masks["frame"]).any()
    bottle = bottle_of(scene)
    dark = replace(bottle.look, body=(0.1, 0.1, 0.1), band=(0.1, 0.1, 0.1), cap=(0.1, 0.1, 0.1))
    other = renderer.render(
        replace(scene, subjects=(replace(bottle, look=dark), *scene.subjects[1:]))
    )
    changed = np.abs(frame.image.astype(int) - other.image).max(2) > 12
    assert not (changed & ~frame.mask).any()
    assert (changed & frame.mask).sum() > 0.3 * frame.mask.sum()
    assert not (alone.mask ^ frame.mask)[~frame.masks["frame"]].any()


def test_free_places_are_on_a_surface_and_in_nothing() -> None:
    rng = np.random.default_rng(2)
    room = sample_room(rng, kind="bedroom")
    heights = {round(s.middle[2], 6) for s in surfaces_of(room.parts)}
    boxes = boxes_of(room.parts)
    for _ in range(20):
        spot = free_place(room.parts, (0.06, 0.06, 0.12), rng)
        assert spot is not None
        assert round(spot[2], 6) in heights
        low = np.subtract(spot, (0.03, 0.03, -0.005))
        high = np.add(spot, (0.03, 0.03, 0.12))
        assert not overlaps(boxes, low, high).any()


def test_a_row_has_a_box_of_each_object_and_the_frame_cut_out(renderer: Renderer) -> None:
    rows = [render_row(renderer, WORLD, i) for i in range(6)]
    with_frame = [r for r in rows if r["boxes"][1].any()]
    assert len(with_frame) > 0
    for row in rows:
        assert row["boxes"].shape == (2, 4)
        assert tuple(row["boxes"][0]) == bounding_box(row["mask"] > 127)
        assert row["label"] == 0
        assert row["second_object"].shape == (128, 128, 3)
        seen = row["second_mask"].any()
        assert seen == row["boxes"][1].any() == row["second_object_mask"].any()
        if seen:
            assert tuple(row["boxes"][1]) == bounding_box(row["second_mask"] > 127)


def test_photos_of_a_private_home_have_masks_and_yolo_boxes(
    renderer: Renderer, tmp_path: Path
) -> None:
    home = private_home("bottle", "bottle", 5)
    for index in range(3):
        write_reference(renderer, home, tmp_path, index)
        write_test(renderer, home, tmp_path, index)
    write_record(tmp_path, record_of(home, 3, 3, 128))
    photos = PhotoSet(tmp_path)
    assert photos.record.label_classes == ("bottle", "frame")
    shot = shoot(renderer, home, "reference", 0)
    for name, mask in ((n, m) for n, m in shot.masks.items() if shown(m)):
        path = photos.reference_mask(photos.references()[0], "" if name == "bottle" else name)
        stored = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(stored > 127, mask)
    found = photos.detections()
    assert len(found) == 3
    for index, (_, boxes) in enumerate(found):
        truth = shoot(renderer, home, "test", index).masks
        assert [box.label for box in boxes] == [name for name, m in truth.items() if shown(m)]
        for box in boxes:
            x0, y0, x1, y1 = bounding_box(truth[box.label])
            assert box.x * 128 == pytest.approx((x0 + x1) / 2, abs=0.01)
            assert box.height * 128 == pytest.approx(y1 - y0, abs=0.01)
