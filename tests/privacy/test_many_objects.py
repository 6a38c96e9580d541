"""Several target objects and mixtures: what leaves of each, and that nothing else does."""

import hashlib
import json

import numpy as np
import pytest

from spinml.bundle import BundleLimits, decode_png
from spinml.device.wire import encode_multipart
from spinml.errors import MalformedBundleError, NoTargetFoundError, PreferenceViolationError
from spinml.images import bounding_box
from spinml.privacy.leakage import histogram_mi, measure_leakage, share
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.reidentification import other_shot, reidentify, sanitize_alike
from spinml.privacy.sanitizer import private_segments, sanitize
from tests.photos import cat, left_and_right, request_of, segmented, two_objects

SCHEMES = ("L0", "L1", "L2")
HOLES = ("inpaint", "box", "silhouette")


def photo_of(pixels=None, masks=None):
    return SegmentedPhoto(
        PrivatePhoto(cat() if pixels is None else pixels),
        left_and_right() if masks is None else masks,
    )


def only(*names):
    return photo_of(masks={name: left_and_right()[name] for name in names})


def body_of(pixels, masks, *schemes, hole="inpaint", **more):
    bundle = sanitize(two_objects(*schemes, **more), [photo_of(pixels, masks)], hole=hole).bundle
    return encode_multipart(bundle)[0]


def with_noise_in(mask):
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    return np.where(mask[..., None], noise, cat())


def counts(bundle):
    return {(item.name, item.scheme): len(item.images) for item in bundle.segments}


@pytest.mark.parametrize("background", SCHEMES)
@pytest.mark.parametrize("frame", SCHEMES)
@pytest.mark.parametrize("bottle", SCHEMES)
def test_every_preference_passes_the_servers_checks(bottle, frame, background):
    bundle = sanitize(two_objects(bottle, frame, background), [photo_of(), photo_of()]).bundle
    assert bundle_from_parts(bundle.to_parts()) == bundle
    schemes = {"target": bottle, "target_2": frame, "background": background}
    assert counts(bundle) == {
        (name, scheme): 0 if scheme == "L0" else 2 for name, scheme in schemes.items()
    }


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("withheld", ["target", "target_2"])
@pytest.mark.parametrize("background", ["L1", "L2"])
def test_wire_no_object_leaks_through_the_background(background, withheld, hole):
    masks = left_and_right()
    schemes = ["L0" if name == withheld else "L2" for name in masks]
    changed = with_noise_in(masks[withheld])
    assert body_of(cat(), masks, *schemes, background, hole=hole) == body_of(
        changed, masks, *schemes, background, hole=hole
    )


@pytest.mark.parametrize("schemes", [("L2", "L0"), ("L2", "L1"), ("L0", "L2")])
def test_wire_an_overlap_belongs_to_the_object_that_is_shared_least(schemes):
    masks = left_and_right()
    masks["target_2"] = np.roll(masks["target_2"], -220, axis=1)
    overlap = masks["target"] & masks["target_2"]
    assert overlap.sum() > 1000
    most = "target" if schemes[0] == "L2" else "target_2"
    cut_outs = [
        sanitize(two_objects(*schemes), [photo_of(pixels, masks)]).bundle.segment(most).images
        for pixels in (cat(), with_noise_in(overlap))
    ]
    assert cut_outs[0] == cut_outs[1]


def test_each_object_is_taken_from_the_photos_that_show_it():
    photos = [only("target"), photo_of(), only("target_2"), only("target")]
    sanitized = sanitize(two_objects("L2", "L1"), photos)
    assert counts(sanitized.bundle)["target", "L2"] == 3
    assert counts(sanitized.bundle)["target_2", "L1"] == 2
    assert sanitized.views[0].image("target_2", "L1") is None


def test_the_background_is_taken_only_where_no_object_may_have_been_missed():
    gone = {"target": left_and_right()["target"], "target_2": np.zeros((480, 640), bool)}
    photos = [only("target"), photo_of(), photo_of(masks=gone)]
    sanitized = sanitize(two_objects("L1", "L0", "L2"), photos)
    assert counts(sanitized.bundle)["background", "L2"] == 2
    assert [view.image("background", "L2") is not None for view in sanitized.views] == [
        False, True, True,
    ]  # fmt: skip
    with pytest.raises(NoTargetFoundError, match="background can be taken from none of 1") as why:
        sanitize(two_objects("L1", "L0", "L2"), photos[:1])
    assert "--mask" in why.value.remedy


def test_a_hole_for_each_object_leaves_what_is_between_them():
    masks = left_and_right()
    bundle = sanitize(two_objects("L0", "L0", "L2"), [photo_of()], hole="box").bundle
    sent = decode_png(bundle.segment("background").images[0], BundleLimits())
    scale = sent.shape[1] / 640
    for mask in masks.values():
        x0, y0, x1, y1 = (round(value * scale) for value in bounding_box(mask))
        assert not sent[y0:y1, x0:x1].any()
    assert (sent[round(260 * scale), round(310 * scale)] > 0).all()


@pytest.mark.parametrize(
    ("schemes", "missing"), [(("L2", "L1"), "photo frame"), (("L0", "L2"), "photo frame")]
)
def test_an_object_on_no_photo_sends_nothing(schemes, missing):
    with pytest.raises(NoTargetFoundError, match=f"{missing}: to be shared, and on none of 2"):
        sanitize(two_objects(*schemes), [only("target"), only("target")])
    assert sanitize(two_objects("L2", "L0"), [only("target")]).bundle.segment("target").images


MIXTURE = [{"target": "L0"}, {"target": "L1", "background": "L1"}]


def mixed(**more):
    return sanitize(request_of("L2", "L0", mixture=MIXTURE, **more), [segmented(), segmented()])


def test_a_mixture_sends_each_scheme_once():
    bundle = mixed().bundle
    assert counts(bundle) == {("target", "L1"): 2, ("target", "L2"): 2, ("background", "L1"): 2}
    assert list(bundle.to_parts()) == [
        "manifest", "target.0", "target.1", "target.2", "target.3", "background.0", "background.1",
    ]  # fmt: skip
    assert bundle_from_parts(bundle.to_parts()) == bundle
    alone = sanitize(request_of("L2"), [segmented(), segmented()]).bundle
    assert bundle.segment("target", "L2").images == alone.segment("target").images


def test_noise_is_on_a_mixtures_pixels_and_not_on_its_edges():
    plain, noisy = mixed().bundle, mixed(noise={"target": 20}).bundle
    assert noisy.segment("target", "L1") == plain.segment("target", "L1")
    assert noisy.segment("target", "L2").images != plain.segment("target", "L2").images


def edited(parts, change):
    manifest = json.loads(parts["manifest"])
    change(manifest)
    return parts | {"manifest": json.dumps(manifest).encode()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m["request"].update(mixture=[]), "came at L1, the request's preference is L2"),
        (lambda m: m["request"].update(mixture=m["request"]["mixture"][:1]), "is L2"),
        (lambda m: m["segments"].pop(0), "once each"),
        (lambda m: m["segments"].insert(1, dict(m["segments"][0], images=[])), "once each"),
        (lambda m: m["segments"].append({"name": "target_2", "scheme": "L0", "text": "x"}), "once"),
    ],
)
def test_what_the_preferences_together_do_not_declare_is_refused(change, why):
    parts = mixed().bundle.to_parts()
    with pytest.raises((PreferenceViolationError, MalformedBundleError), match=why):
        bundle_from_parts(_only_declared(edited(parts, change)))


def _only_declared(parts):
    """Without the parts that the manifest does not name, and the others' digests in their order."""
    sent: dict[str, list[str]] = {}
    for segment in json.loads(parts["manifest"])["segments"]:
        sent.setdefault(segment["name"], []).extend(segment.get("images", []))
    by_digest = {_digest(data): data for name, data in parts.items() if name != "manifest"}
    declared = {
        f"{name}.{index}": by_digest[digest]
        for name, digests in sent.items()
        for index, digest in enumerate(digests)
    }
    return {"manifest": parts["manifest"]} | declared


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def test_more_parts_than_the_schemes_together_declare_are_refused():
    parts = mixed().bundle.to_parts()
    with pytest.raises(MalformedBundleError, match="1 part"):
        bundle_from_parts(parts | {"target.4": parts["target.0"]})


def test_mi_is_measured_of_each_object_given_all_that_is_sent():
    leakage = measure_leakage(sanitize(two_objects("L2", "L0", "L0"), [photo_of()]))
    assert leakage.segments["target"].histogram > 0.7
    assert leakage.segments["target_2"].histogram < 0.1
    assert set(leakage.as_dict()) == {"target", "target_2", "background", "photos"}
    nothing = measure_leakage(sanitize(two_objects("L0", "L0", "L0"), [photo_of()]))
    assert [mi.histogram for mi in nothing.segments.values()] == [0, 0, 0]


def test_mi_is_a_mean_over_the_photos_that_show_the_object():
    leakage = measure_leakage(sanitize(two_objects("L2", "L2"), [photo_of(), only("target")]))
    both, one = leakage.photos
    assert "target_2" not in one
    assert leakage.segments["target_2"] == both["target_2"]


def test_mi_of_a_mixture_is_that_of_all_its_schemes():
    edges = measure_leakage(sanitize(request_of("L1"), [segmented()])).target
    pixels = measure_leakage(sanitize(request_of("L2", mixture=[{"target": "L1"}]), [segmented()]))
    assert pixels.target.histogram > 5 * edges.histogram
    alone = measure_leakage(sanitize(request_of("L2"), [segmented()])).target
    assert pixels.target.histogram >= alone.histogram - 0.01


def test_eight_objects_at_two_schemes_each():
    names = ["target", *(f"target_{number}" for number in range(2, 9))]
    everything = [*names, "background"]
    request = two_objects(
        target_objects=[f"thing {number}" for number in range(8)],
        privacy=dict.fromkeys(everything, "L2"),
        mixture=[dict.fromkeys(everything, "L1")],
    )
    masks = {}
    for number, name in enumerate(names):
        masks[name] = np.zeros((480, 640), bool)
        masks[name][100:300, 20 + 75 * number : 80 + 75 * number] = True
    sanitized = sanitize(request, [photo_of(masks=masks)])
    assert len(sanitized.bundle.segments) == 18
    assert bundle_from_parts(sanitized.bundle.to_parts()) == sanitized.bundle


def test_mi_given_very_many_images_stays_a_share():
    grey = np.asarray(cat().mean(axis=2), np.uint8)
    others = [np.ascontiguousarray(np.roll(grey, 17 * k, axis=1)) for k in range(1, 17)]
    assert share(histogram_mi, grey, [*others, grey]) == pytest.approx(1)
    assert histogram_mi(grey, [grey] * 17) == pytest.approx(histogram_mi(grey, [grey]))


def test_private_segments_of_each_object():
    private = private_segments(two_objects(), [photo_of(), only("target")], size_px=64)
    assert {name: len(images) for name, images in private.items()} == {
        "target": 2, "target_2": 1, "background": 2,
    }  # fmt: skip
    assert private["target"][0].shape == (64, 64, 3)


def test_each_object_is_attacked_by_what_was_sent_of_it():
    pixels = [
        np.ascontiguousarray(np.roll(cat(), 90 * k, axis=1)[:: 1 - 2 * (k % 2)]) for k in range(6)
    ]
    photos = [photo_of(each) for each in pixels[:4]] + [
        photo_of(each, {"target": left_and_right()["target"]}) for each in pixels[4:]
    ]
    sanitized = sanitize(two_objects("L2", "L1"), photos)
    random = np.random.default_rng(0)
    shots = [other_shot(photo, random) for photo in photos]
    assert set(shots[0].masks) == {"target", "target_2"}
    found = reidentify(sanitized, sanitize_alike(sanitized, photos))
    assert {name: attack.images for name, attack in found.items()} == {
        "target": 6, "target_2": 4, "background": 0,
    }  # fmt: skip
    assert found["target"].rate == found["target_2"].rate == 1
    assert reidentify(sanitized, sanitize_alike(sanitized, shots))["target"].rate > 0.5


def test_a_mixture_is_attacked_by_its_best_scheme():
    sanitized = mixed()
    found = reidentify(
        sanitized, sanitize_alike(sanitized, [segmented(), segmented(cat()[::-1].copy())])
    )
    assert found["target"].images == 2
    assert found["background"].rate >= found["background"].chance
