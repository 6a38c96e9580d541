"""The attack finds what a leaky sanitizer sends; with nothing or noise sent it is at chance."""

import cv2
import numpy as np
import pytest

from spinml.images import resize
from spinml.intervals import wilson_interval
from spinml.privacy.extractor import FeatureModels
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.reidentification import other_shot, pick, reidentify, sanitize_alike
from spinml.privacy.sanitizer import sanitize
from tests.photos import ellipse, real_photos, request_of, segmented


def moments():
    """Quarters of real photographs as if one camera had taken them: 16 different moments."""
    quarters = []
    for photo in (real_photos()[name] for name in ("chelsea", "astronaut", "coffee", "rocket")):
        height, width = photo.shape[0] // 2, photo.shape[1] // 2
        quarters += [photo[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    mask = ellipse(240, 200, (50, 60))
    return [
        SegmentedPhoto(PrivatePhoto(resize(part, 240, 200)), {"target": mask}) for part in quarters
    ]


def other_shots(photos, seed=0):
    random = np.random.default_rng(seed)
    return [other_shot(photo, random) for photo in photos]


def attack(sanitized, photos):
    return reidentify(sanitized, sanitize_alike(sanitized, photos))


@pytest.fixture(scope="module")
def photos():
    return moments()


@pytest.mark.parametrize("scheme", ["L1", "L2"])
def test_the_very_photo_is_found(photos, scheme):
    sanitized = sanitize(request_of(scheme, scheme), photos[:8])
    for found in attack(sanitized, photos).values():
        assert (found.images, found.gallery, found.chance) == (8, 16, 1 / 16)
        assert found.rate == 1.0
        assert found.interval_95 == wilson_interval(8, 8)


@pytest.mark.parametrize("hole", ["box", "silhouette"])
def test_the_gallery_gets_the_same_hole(photos, hole):
    sanitized = sanitize(request_of("L0", "L2"), photos[:3], hole=hole)
    for candidate, view in zip(sanitize_alike(sanitized, photos[:3]), sanitized.views, strict=True):
        assert np.array_equal(candidate.image("background", "L2"), view.image("background", "L2"))


def test_another_shot_is_found_from_pixels_and_from_edges(photos):
    shots = other_shots(photos)
    assert not any(
        np.array_equal(shot.photo.pixels, photo.photo.pixels)
        for shot, photo in zip(shots, photos, strict=True)
    )
    for scheme in ("L1", "L2"):
        for found in attack(sanitize(request_of(scheme, scheme), photos), shots).values():
            assert found.interval_95[0] > 4 * found.chance, scheme


def test_with_words_alone_the_attacker_guesses(photos):
    found = attack(sanitize(request_of("L2", "L0"), photos), other_shots(photos) + photos[:4])
    assert found["target"].images == len(photos)
    assert found["background"].images == 0
    assert found["background"].rate == found["background"].chance == 1 / 20
    assert found["background"].interval_95 == (1 / 20, 1 / 20)


def test_a_gallery_without_the_moment_is_at_chance(photos):
    """Shots of *other* moments in the right ones' places: only luck makes a pick right."""
    sanitized = sanitize(request_of("L2", "L0"), photos)
    wrong = other_shots(photos[1:] + photos[:1])
    assert attack(sanitized, wrong)["target"].rate <= 2 / 16


def test_a_leaky_sanitizer_is_found_out_and_noise_is_not():
    random = np.random.default_rng(0)
    scenes = [cv2.GaussianBlur(n, (0, 0), 8) for n in random.random((60, 96, 96, 3))]
    photos = [np.uint8(255 * (s - s.min()) / np.ptp(s)) for s in scenes]
    leaky = [np.uint8(255 - photo[..., 0] // 2) for photo in photos]
    again = [np.uint8(np.clip(image + random.normal(0, 9, image.shape), 0, 255)) for image in leaky]
    assert pick(again, leaky, random) == list(range(60))
    noise = [np.uint8(random.integers(0, 256, (96, 96))) for _ in photos]
    hits = sum(right == picked for right, picked in enumerate(pick(noise, leaky, random)))
    low, high = wilson_interval(hits, 60)
    assert low <= 1 / 60 <= high


def test_equally_alike_candidates_are_guessed_among():
    blank = np.zeros((8, 8), np.uint8)
    picks = {pick([blank], [blank] * 4, np.random.default_rng(seed))[0] for seed in range(40)}
    assert picks == {0, 1, 2, 3}


def test_a_candidate_of_which_nothing_is_made_is_never_picked():
    image = np.uint8(np.random.default_rng(0).integers(0, 256, (16, 16)))
    assert pick([image], [None, image, None], np.random.default_rng(0)) == [1]
    assert pick([image], [None], np.random.default_rng(0)) == [-1]


def test_a_candidate_without_the_target_stays_in_the_gallery(photos):
    nothing = segmented(photos[0].photo.pixels, np.zeros((200, 240), bool))
    sanitized = sanitize(request_of("L2", "L0"), photos[:4])
    found = attack(sanitized, [*photos[:4], nothing])["target"]
    assert (found.gallery, found.rate) == (5, 1.0)


def test_another_shot_keeps_the_mask_on_the_object():
    photo = np.zeros((200, 240, 3), np.uint8)
    mask = ellipse(240, 200, (50, 60))
    photo[mask] = 200
    for seed in range(5):
        shot = other_shot(segmented(photo, mask), np.random.default_rng(seed))
        inside = shot.photo.pixels[shot.masks["target"]].mean()
        assert inside > 10 * shot.photo.pixels[~shot.masks["target"]].mean()
        assert (shot.masks["target"] != mask).any()


def test_a_gallery_too_small(photos):
    sanitized = sanitize(request_of("L2", "L0"), photos[:3])
    with pytest.raises(ValueError, match="gallery of 2 for 3 photos"):
        attack(sanitized, photos[:2])
    with pytest.raises(ValueError, match="gallery of 0"):
        attack(sanitize(request_of("L0", "L0"), []), [])


def _person(random):
    """18 keypoints inside the mask of :func:`moments`, all seen."""
    places = random.uniform((75, 65), (165, 135), (18, 2))
    return np.column_stack([places, np.ones(18)]).astype(np.float32)


def test_a_pose_from_keypoints_is_found_on_another_shot(photos):
    random = np.random.default_rng(5)
    people = [SegmentedPhoto(p.photo, p.masks, _person(random)) for p in photos]
    sanitized = sanitize(request_of("L1", "L0", features={"target": "pose"}), people)
    shots = other_shots(people)
    assert all(shot.keypoints is not None for shot in shots)
    found = attack(sanitized, shots)["target"]
    assert found.images == 16
    assert found.rate > 0.8


def test_the_gallery_goes_through_the_same_models(photos):
    class Ramp:
        def nearness(self, photo):
            return np.cumsum(photo.mean(axis=2), axis=1).astype(np.float32)

    request = request_of("L1", "L0", features={"target": "depth"})
    sanitized = sanitize(request, photos[:4], models=FeatureModels(depth=Ramp()))
    for candidate, view in zip(sanitize_alike(sanitized, photos[:4]), sanitized.views, strict=True):
        assert np.array_equal(candidate.image("target", "L1"), view.image("target", "L1"))
