"""Soft edges, pose, box and depth: a map passes its check, a photo in its place does not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from spinml.errors import FeatureMissingError, PreferenceViolationError
from spinml.images import resize
from spinml.privacy.extractor import FeatureModels
from spinml.privacy.features import feature_names, get_feature
from spinml.privacy.features.pose import COLOURS, LIMB_COLOURS, radius_px
from spinml.privacy.features.soft_edges import LEVELS, _profile
from tests.photos import cat, ellipse, real_photos, standing, whole

PHOTOS = real_photos()
BOX, DEPTH, POSE, SOFT = map(get_feature, ("box", "depth", "pose", "soft_edges"))


class Brightness:
    """A depth model that takes the bright for near: the worst case, for it sees the photo."""

    def nearness(self, photo):
        return photo.mean(axis=2, dtype=np.float32)


def scaled(photo, px):
    scale = px / max(photo.shape[:2])
    return resize(photo, round(photo.shape[1] * scale), round(photo.shape[0] * scale))


def pose_of(photo, keypoints):
    return POSE.extract(whole(photo, keypoints=keypoints))


def palette(photo):
    """A photo in nothing but the colours of a pose map."""
    colours = np.array([(0, 0, 0), *COLOURS, *LIMB_COLOURS])
    away = ((photo[:, :, None].astype(int) - colours) ** 2).sum(axis=-1)
    return colours[away.argmin(axis=-1)].astype(np.uint8)


def coarse(grey, blocks):
    small = cv2.resize(grey, (blocks, blocks), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (256, 256), interpolation=cv2.INTER_NEAREST)


DISGUISES = {
    "grey": lambda grey: grey,
    "dark": lambda grey: grey // 8,
    "blurred": lambda grey: cv2.GaussianBlur(grey, (0, 0), 2) // 3,
    "threshold": lambda grey: np.where(grey > np.median(grey), 255, 0).astype(np.uint8),
    "gradient": lambda grey: np.abs(cv2.Sobel(grey, cv2.CV_16S, 1, 0)).clip(0, 255).astype("u1"),
    "levels": lambda grey: np.array([0, *LEVELS[::-1]], np.uint8)[grey // 52],
    "rgb": lambda grey: np.dstack([grey] * 3),
    "palette": lambda grey: palette(np.dstack([grey, 255 - grey, grey])),
    "128 blocks": lambda grey: coarse(grey, 128),
}


@pytest.mark.parametrize("feature", [BOX, DEPTH, POSE, SOFT], ids=lambda f: f.name)
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee", "gravel"])
def test_photos_are_refused(feature, disguise, name):
    grey = cv2.resize(cv2.cvtColor(PHOTOS[name], cv2.COLOR_RGB2GRAY), (256, 256))
    with pytest.raises(PreferenceViolationError, match=f"not a {feature.name} map"):
        feature.check(DISGUISES[disguise](grey))


@pytest.mark.parametrize("feature", feature_names())
@pytest.mark.parametrize("image", [np.zeros((1, 1, 4), np.uint8), cat(), cat()[..., 0]])
def test_any_array_ends_in_a_refusal(feature, image):
    with pytest.raises(PreferenceViolationError):
        get_feature(feature).check(np.ascontiguousarray(image))


@pytest.mark.parametrize("px", [128, 256, 512])
@pytest.mark.parametrize("name", PHOTOS)
def test_real_soft_edges_pass(name, px):
    drawn = SOFT.extract(whole(scaled(PHOTOS[name], px)))
    SOFT.check(drawn)
    assert len(np.unique(drawn)) > 8


def test_the_steeper_edge_is_the_brighter():
    photo = np.zeros((96, 96, 3), np.uint8)
    photo[16:80, 16:32] = 255
    photo[16:80, 56:72] = 90
    drawn = SOFT.extract(whole(photo))
    assert drawn[:, :44].max() > drawn[:, 44:].max() > 0


def test_no_halo_is_taken_for_a_line():
    halos = {int(v) for level in LEVELS for v in _profile(level)[1:]}
    assert halos.isdisjoint(LEVELS)


def test_a_plain_segment_has_no_soft_edge():
    with pytest.raises(FeatureMissingError, match="no soft edge"):
        SOFT.extract(whole(np.full((64, 64, 3), 120, np.uint8)))


@pytest.mark.parametrize("px", [64, 256, 512])
def test_a_pose_passes_at_every_size(px):
    keypoints = standing() * np.float32([px / 640, px / 640, 1])
    drawn = pose_of(scaled(cat(), px), keypoints)
    POSE.check(drawn)
    for index in (4, 7, 10, 13):  # wrists and ankles, over which nothing else is drawn
        x, y = keypoints[index, :2].round().astype(int)
        assert tuple(drawn[y, x]) == COLOURS[index]


def test_a_limb_is_between_its_keypoints_in_its_colour():
    keypoints = standing()
    drawn = pose_of(cat(), keypoints)
    x, y = keypoints[[9, 10], :2].mean(axis=0).round().astype(int)  # right knee and ankle
    assert tuple(drawn[y, x]) == LIMB_COLOURS[8]
    assert radius_px(drawn.shape) == 5


def test_only_what_was_seen_on_the_segment_is_drawn():
    keypoints = standing()
    keypoints[4, 2] = 0.1  # right wrist: unsure
    keypoints[7, :2] = (5, 5)  # left wrist: on someone else
    segment = replace(whole(cat(), keypoints=keypoints), mask=ellipse())
    drawn = POSE.extract(segment)
    for index in (4, 7):
        assert not (drawn == COLOURS[index]).all(axis=2).any()
    assert (drawn == COLOURS[2]).all(axis=2).any()


def test_no_keypoint_no_pose():
    with pytest.raises(FeatureMissingError, match="0 of 18 keypoints"):
        pose_of(cat(), np.zeros((18, 3), np.float32))

    class Blind:
        def keypoints(self, photo):
            return None

    with pytest.raises(FeatureMissingError, match="finds no person"):
        POSE.extract(whole(cat(), models=FeatureModels(pose=Blind())))


def test_two_discs_of_one_keypoint_are_no_pose():
    drawn = pose_of(cat(), standing())
    cv2.circle(drawn, (30, 30), 4, COLOURS[0], thickness=-1)
    with pytest.raises(PreferenceViolationError, match="not one disc"):
        POSE.check(drawn)
    drawn = pose_of(cat(), standing())
    drawn[40:60, 40:60] = LIMB_COLOURS[0]
    with pytest.raises(PreferenceViolationError, match="not one stick"):
        POSE.check(drawn)


def test_a_box_is_one_rectangle():
    drawn = BOX.extract(whole(cat(), box=(100, 50, 300, 400)))
    BOX.check(drawn)
    assert drawn.sum() == 255 * 200 * 350
    drawn[60, 110] = 0
    with pytest.raises(PreferenceViolationError, match="not one filled"):
        BOX.check(drawn)


@pytest.mark.parametrize("name", PHOTOS)
def test_depth_passes_whatever_the_model_says(name):
    segment = whole(scaled(PHOTOS[name], 256), models=FeatureModels(depth=Brightness()))
    drawn = DEPTH.extract(segment)
    DEPTH.check(drawn)
    assert drawn.max() == 255
    assert len(np.unique(drawn[:4, :4])) == 1


def test_depth_is_bright_where_it_is_near_and_black_outside():
    photo = np.zeros((256, 256, 3), np.uint8) + np.arange(256, dtype=np.uint8)[:, None, None]
    mask = np.zeros((256, 256), bool)
    mask[:, 30:201] = True
    segment = replace(whole(photo, models=FeatureModels(depth=Brightness())), mask=mask)
    drawn = DEPTH.extract(segment)
    DEPTH.check(drawn)
    assert (np.diff(drawn[:, 100].astype(int)) >= 0).all()
    assert drawn[0, 100] < 10 < 245 < drawn[255, 100]
    assert not drawn[:, :28].any()
    assert not drawn[:, 204:].any()


def test_a_flat_depth_is_missing():
    segment = whole(np.full((64, 64, 3), 9, np.uint8), models=FeatureModels(depth=Brightness()))
    with pytest.raises(FeatureMissingError, match="finds it flat"):
        DEPTH.extract(segment)


def test_what_the_depth_check_cannot_tell():
    """A grey photo of 64 blocks passes, as its documentation says: nothing finer does."""
    grey = cv2.resize(cv2.cvtColor(cat(), cv2.COLOR_RGB2GRAY), (256, 256))
    DEPTH.check(coarse(grey, 64))
    with pytest.raises(PreferenceViolationError, match="finer than 64 blocks"):
        DEPTH.check(coarse(grey, 65))
