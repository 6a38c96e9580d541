"""Pixels: the same seed gives the same picture, and masks are the dog's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

from spinml.home.captions import SceneWords
from spinml.home.cutout import plain_cutout
from spinml.home.poses import STATUSES
from spinml.home.renderer import Renderer
from spinml.home.scenes import Dog
from spinml.home.shards import missing_shards, shard_path, write_shard
from spinml.home.usable import MIN_SHARE, large
from spinml.home.worlds import PublicWorld
from spinml.images import GROUND


def test_a_scene_is_the_same_whatever_was_rendered_before(renderer: Renderer) -> None:
    world = PublicWorld(11)
    first = renderer.render(world.sample(2), empty=True)
    for i in (3, 4):
        renderer.render(world.sample(i), empty=True)
    again = renderer.render(world.sample(2), empty=True)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.empty is not None
    assert again.empty is not None
    assert np.array_equal(first.empty, again.empty)


def test_the_mask_is_where_the_fur_shows(renderer: Renderer) -> None:
    scene = PublicWorld(11).sample(5)
    dog = scene.target
    assert isinstance(dog, Dog)
    light = replace(dog, fur=replace(dog.fur, pattern="solid", base=(0.95, 0.95, 0.95)))
    dark = replace(dog, fur=replace(dog.fur, pattern="solid", base=(0.05, 0.05, 0.05)))
    one = renderer.render(replace(scene, subjects=(light,)))
    other = renderer.render(replace(scene, subjects=(dark,)))
    changed = np.abs(one.image.astype(int) - other.image).max(axis=2) > 12
    assert np.array_equal(one.mask, other.mask)
    assert (changed & ~one.mask).sum() == 0
    assert (changed & one.mask).sum() > 0.85 * one.mask.sum()


def test_the_empty_room_has_no_dog_bowl_or_ball(renderer: Renderer) -> None:
    scene = PublicWorld(11).sample(4)
    assert scene.things
    empty = renderer.render(scene, empty=True).empty
    bare = renderer.render(replace(scene, things=()), empty=True).empty
    assert empty is not None
    assert bare is not None
    assert np.array_equal(empty, bare)


def test_the_dog_stands_on_the_floor(renderer: Renderer) -> None:
    for status_index in range(3):
        scene = PublicWorld(11).sample(status_index)
        renderer.render(scene)
        lowest = renderer.lowest_point_m()
        assert -0.03 < lowest < 0.01, scene.label


def test_a_shard_is_complete_resumable_and_balanced(renderer: Renderer, tmp_path: Path) -> None:
    world, count = PublicWorld(4), 8
    assert missing_shards(tmp_path, 300) == [0, 1]
    path = write_shard(renderer, world, tmp_path, 0, count)
    assert path == shard_path(tmp_path, 0)
    assert missing_shards(tmp_path, 300) == [1]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with np.load(path) as shard:
        arrays = {name: shard[name] for name in shard.files}
    pictures = {"scene", "room", "object"}
    assert set(arrays) == pictures | {"mask", "object_mask", "label", "meta", "boxes"}
    assert all(arrays[name].shape == (count, 128, 128, 3) for name in pictures)
    assert sorted(arrays["label"]) == sorted(list(range(4)) * 2)
    assert all(SceneWords.from_json(str(m)).room for m in arrays["meta"])
    again = write_shard(renderer, world, tmp_path / ".", 0, count)
    with np.load(again) as shard:
        assert all(np.array_equal(shard[name], arrays[name]) for name in arrays)


def test_usable_wants_a_large_dog_inside_the_frame() -> None:
    mask = np.zeros((100, 100), bool)
    share = MIN_SHARE["dog"]
    assert not large(mask, share)
    mask[30:50, 30:50] = True
    assert large(mask, share)
    mask[30:50, :30] = True
    assert not large(mask, share)


def test_a_cut_out_is_centred_plain_cutout() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[10:30, 0:40] = True
    picture, soft = plain_cutout(image, mask, 62)
    rows, columns = np.flatnonzero(soft.max(1) > 127), np.flatnonzero(soft.max(0) > 127)
    assert abs(columns[0] + columns[-1] - 61) <= 2
    assert abs(rows[0] + rows[-1] - 61) <= 2
    assert columns[-1] - columns[0] + 1 == pytest.approx(62 / 1.24, abs=2)
    assert (picture[0, 0] == GROUND).all()
    assert picture[31, 31].max() == 0


def test_an_empty_mask_cannot_be_cut_out() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        plain_cutout(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool), 8)


def test_statuses_are_what_the_labels_index() -> None:
    assert STATUSES == ("eating", "sitting", "sleeping", "playing")
