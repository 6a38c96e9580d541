"""What leaves the device, and that nothing else does: the wire test."""

import io

import numpy as np
import pytest
from PIL import Image

from spinml.bundle import BundleLimits, decode_png
from spinml.device.wire import encode_multipart
from spinml.errors import BundleLimitError, FeatureMissingError, NoTargetFoundError
from spinml.images import bounding_box
from spinml.privacy.extractor import FeatureModels
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.sanitizer import private_segments, sanitize
from tests.photos import cat, ellipse, request_of, segmented, standing

SCHEMES = ("L0", "L1", "L2")
HOLES = ("inpaint", "box", "silhouette")


def images_of(bundle, name):
    return [decode_png(image, BundleLimits()) for image in bundle.segment(name).images]


class Seeing:
    """Models whose answers follow from every pixel that they are shown."""

    def nearness(self, photo):
        return photo.sum(axis=2).astype(np.float32)

    def keypoints(self, photo):
        side = photo.shape[0]
        x = np.linspace(0.3, 0.7, 18) * side
        y = x + photo.mean() * 0.1
        return np.stack([x, y, np.full(18, 0.9)], axis=1).astype(np.float32)


MODELS = FeatureModels(pose=Seeing(), depth=Seeing())
FEATURES = ("canny", "soft_edges", "pose", "box", "depth")
OF_A_BACKGROUND = ("canny", "soft_edges", "depth")


def body_of(photo, mask, target, background, hole="inpaint", keypoints=None, **more):
    request = request_of(target, background, **more)
    photos = [segmented(photo, mask, keypoints)]
    sanitized = sanitize(request, photos, hole=hole, models=MODELS)
    return encode_multipart(sanitized.bundle)[0]


def noise_like(photo):
    return np.random.default_rng(1).integers(0, 256, photo.shape, np.uint8)


@pytest.mark.parametrize("background", SCHEMES)
@pytest.mark.parametrize("target", SCHEMES)
def test_every_preference_passes_the_servers_checks(target, background):
    bundle = sanitize(request_of(target, background), [segmented(), segmented()]).bundle
    assert bundle_from_parts(bundle.to_parts()) == bundle
    for name, scheme in (("target", target), ("background", background)):
        assert len(bundle.segment(name).images) == (0 if scheme == "L0" else 2)


@pytest.mark.parametrize("target", ["L1", "L2"])
def test_wire_withheld_background_changes_no_byte(target):
    photo, mask = cat(), ellipse()
    changed = np.where(mask[..., None], photo, noise_like(photo))
    assert body_of(photo, mask, target, "L0") == body_of(changed, mask, target, "L0")


@pytest.mark.parametrize(
    ("background", "hole"),
    [("L1", "inpaint"), *(("L2", hole) for hole in HOLES)],
)
@pytest.mark.parametrize("scale", [1, 3])
def test_wire_withheld_target_changes_no_byte(background, hole, scale):
    photo = np.kron(cat(), np.ones((scale, scale, 1), np.uint8))
    mask = np.kron(ellipse(), np.ones((scale, scale), bool))
    changed = np.where(mask[..., None], noise_like(photo), photo)
    assert body_of(photo, mask, "L0", background, hole) == body_of(
        changed, mask, "L0", background, hole
    )


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("keypoints", [None, standing()], ids=["model", "file"])
def test_wire_features_of_the_target_tell_nothing_of_the_background(feature, keypoints):
    photo, mask = cat(), ellipse()
    changed = np.where(mask[..., None], photo, noise_like(photo))
    options = {"keypoints": keypoints, "features": {"target": feature}}
    assert body_of(photo, mask, "L1", "L0", **options) == body_of(
        changed, mask, "L1", "L0", **options
    )


@pytest.mark.parametrize("feature", ["canny", "soft_edges", "pose", "depth"])
def test_wire_features_follow_the_target(feature):
    photo, mask = cat(), ellipse()
    changed = np.where(mask[..., None], noise_like(photo) // 3, photo)
    options = {"features": {"target": feature}}
    assert body_of(photo, mask, "L1", "L0", **options) != body_of(
        changed, mask, "L1", "L0", **options
    )


@pytest.mark.parametrize("feature", OF_A_BACKGROUND)
def test_wire_features_of_the_background_tell_nothing_of_the_target(feature):
    photo, mask = cat(), ellipse()
    changed = np.where(mask[..., None], noise_like(photo), photo)
    options = {"features": {"background": feature}}
    assert body_of(photo, mask, "L0", "L1", **options) == body_of(
        changed, mask, "L0", "L1", **options
    )


def test_wire_noisy_pixels_tell_nothing_of_the_withheld():
    photo, mask = cat(), ellipse()
    other = noise_like(photo)
    room, dog = (np.where(mask[..., None], *pair) for pair in ((photo, other), (other, photo)))
    target, background = {"noise": {"target": 10}}, {"noise": {"background": 10}}
    assert body_of(photo, mask, "L2", "L0", **target) == body_of(room, mask, "L2", "L0", **target)
    for hole in HOLES:
        assert body_of(photo, mask, "L0", "L2", hole, **background) == body_of(
            dog, mask, "L0", "L2", hole, **background
        )


def test_a_box_tells_the_box_and_not_the_outline():
    photo, mask = cat(), ellipse()
    x0, y0, x1, y1 = bounding_box(mask)
    boxed = np.zeros_like(mask)
    boxed[y0:y1, x0:x1] = True
    options = {"features": {"target": "box"}}
    assert body_of(photo, mask, "L1", "L0", **options) == body_of(
        photo, boxed, "L1", "L0", **options
    )


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_passes_the_servers_checks(feature):
    features = {"target": feature, "background": feature}
    scheme = "L1" if feature in OF_A_BACKGROUND else "L0"
    request = request_of("L1", scheme, features=features)
    sanitized = sanitize(request, [segmented(keypoints=standing())], models=MODELS)
    assert bundle_from_parts(sanitized.bundle.to_parts()) == sanitized.bundle
    (sent,) = images_of(sanitized.bundle, "target")
    assert sent.shape == ((256, 256, 3) if feature == "pose" else (256, 256))
    if scheme == "L1":
        (room,) = images_of(sanitized.bundle, "background")
        x0, y0, x1, y1 = bounding_box(sanitized.views[0].masks["target"])
        assert room.any()
        assert not room[y0:y1, x0:x1].any()


@pytest.mark.parametrize(
    ("feature", "target", "background", "why"),
    [
        ("pose", "L0", "L1", "a background has no pose"),
        ("box", "L0", "L1", "a background has no box"),
        ("pose", "L1", "L0", "neither keypoints nor a pose model"),
        ("depth", "L1", "L0", "no depth model"),
    ],
)
def test_a_feature_that_a_segment_does_not_have(feature, target, background, why):
    request = request_of(target, background, features={"target": feature, "background": feature})
    with pytest.raises(FeatureMissingError, match=why) as caught:
        sanitize(request, [segmented()])
    assert caught.value.remedy


def test_wire_shared_pixels_do_change_bytes():
    photo, mask = cat(), ellipse()
    changed = np.where(mask[..., None], noise_like(photo), photo)
    assert body_of(photo, mask, "L2", "L0") != body_of(changed, mask, "L2", "L0")
    assert body_of(photo, ~mask, "L0", "L0") == body_of(changed, mask, "L0", "L0")


@pytest.mark.parametrize("background", ["L1", "L2"])
@pytest.mark.parametrize("hole", ["inpaint", "box"])
def test_a_hole_tells_the_box_and_not_the_silhouette(background, hole):
    mask = ellipse()
    x0, y0, x1, y1 = bounding_box(mask)
    boxed = np.zeros_like(mask)
    boxed[y0:y1, x0:x1] = True
    photo = cat()
    assert body_of(photo, mask, "L0", background, hole) == body_of(
        photo, boxed, "L0", background, hole
    )


def test_silhouette_hole_covers_the_target_and_keeps_the_rest():
    photo, mask = cat()[:384, :512], ellipse(512, 384, (80, 100))
    bundle = sanitize(request_of("L0", "L2"), [segmented(photo, mask)], hole="silhouette").bundle
    (sent,) = images_of(bundle, "background")
    hole = sent[..., 3] == 0
    assert hole[mask].all()
    assert hole.sum() < 2.5 * mask.sum()
    assert np.array_equal(sent[~hole][:, :3], photo[~hole])


def test_target_at_l2_is_an_rgba_cut_out_of_the_asked_size():
    bundle = sanitize(request_of(), [segmented()], size_px=128).bundle
    (cutout,) = images_of(bundle, "target")
    assert cutout.shape == (128, 128, 4)
    assert not cutout[cutout[..., 3] == 0].any()


def test_target_at_l1_is_edges_alone():
    (edges,) = images_of(sanitize(request_of("L1"), [segmented()]).bundle, "target")
    assert edges.shape == (256, 256)
    assert set(np.unique(edges)) == {0, 255}


def test_background_edges_stay_clear_of_the_box():
    view = sanitize(request_of("L0", "L1"), [segmented()]).views[0]
    x0, y0, x1, y1 = bounding_box(view.masks["target"])
    edges = view.image("background", "L1")
    assert edges.any()
    assert not edges[y0:y1, x0:x1].any()


def test_metadata_never_leaves():
    for image in sanitize(request_of("L2", "L2"), [segmented()]).bundle.to_parts().values():
        if image.startswith(b"\x89PNG"):
            with Image.open(io.BytesIO(image)) as opened:
                assert not opened.info
                assert not opened.getexif()


def test_unfit_photos_are_left_out_with_their_reasons():
    tiny = ellipse(axes=(3, 3))
    nothing = np.zeros_like(tiny)
    everywhere = np.ones_like(tiny)
    photos = [segmented(mask=mask) for mask in (nothing, tiny, ellipse(), everywhere)]
    sanitized = sanitize(request_of("L2", "L2"), photos)
    assert [item.index for item in sanitized.skipped] == [0, 1, 3]
    assert "not on it" in sanitized.skipped[0].reason
    assert "smaller" in sanitized.skipped[1].reason
    assert "no background" in sanitized.skipped[2].reason
    assert [view.index for view in sanitized.views] == [2]


@pytest.mark.parametrize("shape", [(8, 3000), (3000, 8)])
def test_a_photo_too_narrow_to_be_measured_is_left_out(shape):
    mask = np.zeros(shape, bool)
    mask[:40, :40] = True
    narrow = segmented(np.full((*shape, 3), 9, np.uint8), mask)
    sanitized = sanitize(request_of("L2"), [narrow, segmented()])
    assert [item.reason for item in sanitized.skipped] == ["it is too narrow"]


def test_no_photo_left_is_an_error():
    with pytest.raises(NoTargetFoundError, match="not on it"):
        sanitize(request_of(), [segmented(mask=np.zeros((480, 640), bool))])
    with pytest.raises(NoTargetFoundError, match="none of 0"):
        sanitize(request_of("L0", "L2"), [])


def test_words_alone_need_no_photo():
    bundle = sanitize(request_of("L0", "L0"), []).bundle
    assert list(bundle.to_parts()) == ["manifest"]


def test_one_missing_feature_sends_nothing():
    black = segmented(np.zeros((480, 640, 3), np.uint8))
    with pytest.raises(FeatureMissingError):
        sanitize(request_of("L1"), [segmented(), black])


def test_limits_hold_before_sending():
    limits = BundleLimits(max_images_per_segment=1)
    with pytest.raises(BundleLimitError, match="2 images"):
        sanitize(request_of(), [segmented(), segmented()], limits=limits)


def test_private_segments_are_for_home():
    segments = private_segments(request_of(), [segmented()], size_px=128)
    assert segments["target"][0].shape == (128, 128, 3)
    assert segments["background"][0].shape == (384, 512, 3)


def test_private_segments_have_the_close_ups_that_are_sent():
    close = np.zeros((480, 640), bool)
    close[10:470, 10:630] = True
    photos = [segmented(mask=close), segmented()]
    assert len(sanitize(request_of("L2", "L0"), photos).bundle.segment("target").images) == 2
    private = private_segments(request_of("L2", "L0"), photos)
    assert (len(private["target"]), len(private["background"])) == (2, 1)


@pytest.mark.parametrize("side", [16, 17, 20, 21, 22, 37, 111])
@pytest.mark.parametrize("at", [0, 3])
def test_cut_outs_of_any_size_keep_their_frame_empty(side, at):
    mask = np.zeros((120, 160), bool)
    mask[at : at + side, at : at + side] = True
    photo = cat()[:120, :160]
    bundle = sanitize(request_of(), [segmented(photo, mask)]).bundle
    assert bundle.segment("target").images
