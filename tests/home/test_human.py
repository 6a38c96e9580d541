"""People: postures, keypoints that agree with pixels, and the private home's person."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

from spinml.home.camera import shoot, write_reference, write_test
from spinml.home.homes import private_home
from spinml.home.keypoints import KEYPOINTS, OUTSIDE, SEEN, project
from spinml.home.photos import PhotoSet
from spinml.home.postures import ACTIVITIES, Stand, sample_posture
from spinml.home.renderer import Frame, Renderer
from spinml.home.scenes import PRIVATE_OUTFITS, PRIVATE_ROOMS, Camera, Person, Scene, is_private
from spinml.home.shards import render_row
from spinml.home.usable import usable
from spinml.home.worlds import PublicWorld
from spinml.images import bounding_box

WORLD = PublicWorld(7, "human")


def person_of(scene: Scene) -> Person:
    assert isinstance(scene.target, Person)
    return scene.target


def drawn(renderer: Renderer, index: int) -> tuple[Scene, Frame]:
    """The first usable picture of a public scene."""
    for scene in WORLD.candidates(index):
        frame = renderer.render(scene, empty=True)
        if usable(frame, "person"):
            return scene, frame
    raise AssertionError(f"scene {index} is never usable")


def test_a_scene_follows_from_its_seed_and_index_alone(renderer: Renderer) -> None:
    scene = WORLD.sample(6)
    first = renderer.render(scene)
    renderer.render(WORLD.sample(1))
    assert WORLD.sample(6) == scene
    assert WORLD.sample(6, sub_seed=1) != scene
    again = renderer.render(WORLD.sample(6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.keypoints is not None
    assert again.keypoints is not None
    assert np.array_equal(first.keypoints, again.keypoints)


def test_public_people_are_balanced_varied_and_never_private() -> None:
    scenes = [WORLD.sample(i) for i in range(200)]
    assert Counter(s.label for s in scenes) == dict.fromkeys(ACTIVITIES, 50)
    outfits = Counter((person_of(s).outfit.top_word, person_of(s).outfit.legs_word) for s in scenes)
    assert len(outfits) > 40
    assert not set(outfits) & set(PRIVATE_OUTFITS)
    assert not any((s.room.kind, s.room.wall_word) in PRIVATE_ROOMS for s in scenes)
    assert not any(is_private(s) for s in scenes)


def test_the_home_is_private_by_its_person_and_by_its_room() -> None:
    public = WORLD.sample(0)
    for seed in range(3):
        scene = private_home("human", "somewhere", seed).sample("reading", 5, 0)
        assert is_private(replace(public, subjects=scene.subjects))
        assert is_private(replace(public, room=scene.room))


def test_seen_keypoints_lie_in_the_mask_and_outside_ones_outside(renderer: Renderer) -> None:
    seen: Counter[str] = Counter()
    for index in range(16):
        _, frame = drawn(renderer, index)
        assert frame.keypoints is not None
        for name, (x, y, state) in zip(KEYPOINTS, frame.keypoints, strict=True):
            inside = 0 <= x < 128 and 0 <= y < 128
            assert inside == (state != OUTSIDE)
            if state == SEEN:
                assert frame.mask[int(y), int(x)]
                seen[name] += 1
    assert set(seen) == set(KEYPOINTS)
    assert seen["neck"] > 6


def test_a_face_that_is_turned_away_has_hidden_eyes(renderer: Renderer) -> None:
    scene = WORLD.sample(2)
    person = person_of(scene)
    assert person.label == "walking"
    states = []
    for turn in (0.0, 180.0):
        ahead = np.deg2rad(person.yaw_deg + turn)
        x, y = person.xy
        eye = (x + 1.9 * np.cos(ahead), y + 1.9 * np.sin(ahead), 1.5)
        frame = renderer.render(replace(scene, camera=Camera(eye, (x, y, 0.9), 65.0)))
        assert frame.keypoints is not None
        points = dict(zip(KEYPOINTS, frame.keypoints, strict=True))
        states.append((points["r_eye"][2], points["l_eye"][2], points["nose"][2]))
        # whoever faces us has its right to our left
        assert (points["r_shoulder"][0] < points["l_shoulder"][0]) == (turn == 0.0)
    assert states == [(2, 2, 2), (1, 1, 1)]


def test_a_camera_projects_its_aim_to_the_middle() -> None:
    camera = Camera((1.0, -2.0, 1.5), (0.0, 0.5, 0.5), 60.0)
    points = np.array([camera.look_at, (0.0, 0.5, 1.0), (1.0, 0.9, 0.5)])
    pixels, depth = project(camera, points, 100)
    assert pixels[0] == pytest.approx((50, 50))
    assert depth[0] == pytest.approx(np.linalg.norm(np.subtract(camera.look_at, camera.pos)))
    assert pixels[1, 1] < 50
    assert pixels[2, 0] > 50


def test_postures_do_what_they_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        posture, cup = sample_posture("drinking", Stand(0.45), rng)
        at = {name: np.array(p) for name, p in posture.points}
        hands = [np.linalg.norm(at[f"{s}_finger"] - at["head"]) for s in "lr"]
        assert min(hands) < 0.3
        assert cup
        posture, held = sample_posture("walking", Stand(), rng)
        at = {name: np.array(p) for name, p in posture.points}
        assert abs(at["l_ankle"][0] - at["r_ankle"][0]) > 0.15
        assert min(at["l_ankle"][2], at["r_ankle"][2]) == pytest.approx(0.08, abs=0.02)
        assert not held
    with pytest.raises(ValueError, match="'flying'; known: eating, drinking"):
        sample_posture("flying", Stand(), rng)


def test_the_empty_room_has_no_person_and_nothing_it_holds(renderer: Renderer) -> None:
    scene, frame = drawn(renderer, 3)
    nobody = replace(scene, subjects=(replace(person_of(scene), held=()),))
    assert frame.empty is not None
    empty = renderer.render(nobody, empty=True).empty
    assert empty is not None
    assert np.array_equal(frame.empty, empty)
    differs = np.abs(frame.empty.astype(int) - frame.image).max(2) > 8
    assert differs[frame.mask].mean() > 0.8


def test_a_row_has_boxes_and_keypoints_of_scene_and_object(renderer: Renderer) -> None:
    row = render_row(renderer, WORLD, 5)
    assert row["boxes"].shape == (1, 4)
    assert tuple(row["boxes"][0]) == bounding_box(row["mask"] > 127)
    assert ACTIVITIES[row["label"]] == "drinking"
    for points, mask in (("keypoints", "mask"), ("object_keypoints", "object_mask")):
        seen = row[points][row[points][:, 2] == SEEN]
        inside = [row[mask][int(y), int(x)] > 100 for x, y, _ in seen]
        assert len(inside) >= 9
        assert np.mean(inside) > 0.9


def test_photos_of_a_private_home_are_labelled_and_have_truth(
    renderer: Renderer, tmp_path: Path
) -> None:
    home = private_home("human", "human", 5)
    write_reference(renderer, home, tmp_path, 0)
    write_test(renderer, home, tmp_path, 2)
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*.jpg"))] == [
        "references/ref_00.jpg", "test/walking/photo_000.jpg"
    ]  # fmt: skip
    photos = PhotoSet(tmp_path)
    keypoints = photos.reference_keypoints(photos.references()[0])
    assert keypoints.shape == (18, 3)
    assert photos.reference_mask(photos.references()[0]).exists()
    shot = shoot(renderer, home, "reference", 0)
    assert shot.keypoints is not None
    assert np.abs(shot.keypoints - keypoints).max() <= 0.006
