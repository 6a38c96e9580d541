"""Scenes depend on their seed and index alone, and the two worlds never mix."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from spinml.home.poses import STATUSES, sample_pose
from spinml.home.private import REFERENCE_STATUSES, PrivateHome
from spinml.home.scenes import PRIVATE_FURS, PRIVATE_ROOMS, is_private
from spinml.home.worlds import PublicWorld

np = pytest.importorskip("numpy")


def test_a_public_scene_does_not_depend_on_what_was_sampled_before() -> None:
    alone = PublicWorld(5).sample(17)
    world = PublicWorld(5)
    for i in range(17):
        world.sample(i)
    assert world.sample(17) == alone


def test_seed_index_and_sub_seed_each_change_the_scene() -> None:
    scene = PublicWorld(5).sample(17)
    assert PublicWorld(6).sample(17) != scene
    assert PublicWorld(5).sample(21) != scene
    assert PublicWorld(5).sample(17, sub_seed=1) != scene


def test_public_scenes_are_never_private() -> None:
    for i in range(600):
        scene = PublicWorld(3).sample(i)
        assert not is_private(scene)
        assert scene.fur.colours not in PRIVATE_FURS
        assert scene.fur.pattern != "brindle"
        assert (scene.room.kind, scene.room.wall_word) not in PRIVATE_ROOMS


def test_every_scene_of_a_private_home_is_private_by_fur_and_by_room() -> None:
    public = PublicWorld(0).sample(0)
    for seed in range(4):
        home = PrivateHome("somewhere", seed)
        scene = home.sample("sitting", 4, 0)
        assert is_private(replace(public, fur=scene.fur))
        assert is_private(replace(public, room=scene.room))
        assert scene.fur.seed == home.sample("eating", 5, 9).fur.seed


def test_public_statuses_are_balanced_and_bedrooms_are_about_half() -> None:
    scenes = [PublicWorld(3).sample(i) for i in range(400)]
    assert Counter(s.status for s in scenes) == dict.fromkeys(STATUSES, 100)
    rooms = Counter(s.room.kind for s in scenes)
    assert set(rooms) == {"bedroom", "living room", "kitchen", "office"}
    assert 0.38 < rooms["bedroom"] / 400 < 0.62


def test_reference_photos_cover_every_status_unequally() -> None:
    counts = Counter(REFERENCE_STATUSES)
    assert set(counts) == set(STATUSES)
    assert len(set(counts.values())) > 1


def test_an_unknown_status_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'flying'; known: eating, sitting"):
        sample_pose("flying", np.random.default_rng(0))
