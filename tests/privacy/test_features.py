"""A canny map passes; a photo in any black-and-white disguise does not."""

import cv2
import numpy as np
import pytest
from PIL import Image

from spinml.errors import FeatureMissingError, PreferenceViolationError, UnknownFeatureError
from spinml.images import resize
from spinml.privacy.features import get_feature
from tests.photos import real_photos, whole

CANNY = get_feature("canny")
PHOTOS = real_photos()


def scaled(photo, px):
    scale = px / max(photo.shape[:2])
    return resize(photo, round(photo.shape[1] * scale), round(photo.shape[0] * scale))


def grey_of(name):
    return cv2.cvtColor(scaled(PHOTOS[name], 256), cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("px", [128, 256, 512])
@pytest.mark.parametrize("name", PHOTOS)
def test_real_maps_pass(name, px):
    photo = scaled(PHOTOS[name], px)
    edges = CANNY.extract(whole(photo))
    assert edges.shape == photo.shape[:2]
    assert edges.any()
    CANNY.check(edges)


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee", "gravel", "brick"])
@pytest.mark.parametrize(
    "disguise",
    [
        lambda grey: grey,
        lambda grey: np.dstack([grey] * 3),
        lambda grey: np.where(grey > np.median(grey), 255, 0).astype(np.uint8),
        lambda grey: np.where(grey > np.quantile(grey, 0.9), 255, 0).astype(np.uint8),
        lambda grey: np.array(Image.fromarray(grey).convert("1")).astype(np.uint8) * 255,
        lambda grey: np.array(Image.fromarray(grey // 3).convert("1")).astype(np.uint8) * 255,
        lambda grey: halftone(grey),
        lambda grey: halftone(grey // 3),
    ],
    ids=["grey", "rgb", "threshold", "highlights", "dithered", "dark dither", "halftone", "dark"],
)
def test_disguised_photos_are_refused(name, disguise):
    with pytest.raises(PreferenceViolationError, match="not a canny map"):
        CANNY.check(disguise(grey_of(name)))


def halftone(grey):
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16
    tiles = np.tile(bayer, (grey.shape[0] // 4 + 1, grey.shape[1] // 4 + 1))
    return np.where(grey > tiles[: grey.shape[0], : grey.shape[1]], 255, 0).astype(np.uint8)


def test_a_plain_segment_has_no_edges():
    plain = np.full((64, 64, 3), 120, np.uint8)
    with pytest.raises(FeatureMissingError, match="no canny edge"):
        CANNY.extract(whole(plain))


def test_an_unknown_feature_names_the_known():
    with pytest.raises(UnknownFeatureError) as caught:
        get_feature("x-ray")
    assert "canny" in caught.value.remedy
