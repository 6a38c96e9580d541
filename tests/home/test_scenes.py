"""Scenes depend on their seed and index alone, and the two worlds never mix."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from spinml.home.poses import STATUSES, sample_pose
from spinml.home.private_pet import REFERENCE_STATUSES, PetHome
from spinml.home.scenes import PRIVATE_FURS, PRIVATE_ROOMS, Dog, Scene, is_private, is_private_fur
from spinml.home.worlds import PublicWorld

np = pytest.importorskip("numpy")


def dog_of(scene: Scene) -> Dog:
    assert isinstance(scene.target, Dog)
    return scene.target


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
        assert dog_of(scene).fur.colours not in PRIVATE_FURS
        assert (scene.room.kind, scene.room.wall_word) not in PRIVATE_ROOMS


def test_every_scene_of_a_private_home_is_private_by_fur_and_by_room() -> None:
    public = PublicWorld(0).sample(0)
    for seed in range(4):
        home = PetHome("somewhere", seed)
        scene = home.sample("sitting", 4, 0)
        assert is_private(replace(public, subjects=scene.subjects))
        assert is_private(replace(public, room=scene.room))
        assert dog_of(scene).fur == dog_of(home.sample("eating", 5, 9)).fur


def test_public_dogs_are_brindled_in_many_colours_but_grey_and_white() -> None:
    furs = [dog_of(PublicWorld(3).sample(i)).fur for i in range(600)]
    striped = [fur for fur in furs if fur.pattern == "brindle"]
    assert 0.12 < len(striped) / len(furs) < 0.35
    assert len({fur.colours for fur in striped}) > 12
    assert frozenset(("grey", "white")) not in {fur.colours for fur in furs}


def test_grey_and_white_is_private_in_every_pattern() -> None:
    fur = dog_of(PetHome("somewhere", 1).sample("sitting", 4, 0)).fur
    patterns = ("brindle", "belly", "solid", "spots")
    assert all(is_private_fur(replace(fur, pattern=pattern)) for pattern in patterns)
    assert not is_private_fur(replace(fur, word="brown and white", pattern="brindle"))


def test_a_third_of_the_public_cameras_look_down_from_a_shelf() -> None:
    steep = []
    for i in range(400):
        scene = PublicWorld(3).sample(i)
        x, y, z = np.subtract(scene.camera.pos, (*dog_of(scene).xy, 0.25))
        steep.append(25 <= np.rad2deg(np.arctan2(z, np.hypot(x, y))) <= 45)
    assert 0.24 < np.mean(steep) < 0.42


def test_public_statuses_are_balanced_and_bedrooms_are_about_half() -> None:
    scenes = [PublicWorld(3).sample(i) for i in range(400)]
    assert Counter(s.label for s in scenes) == dict.fromkeys(STATUSES, 100)
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
