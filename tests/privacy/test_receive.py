"""Hostile input: whatever arrives is a checked bundle or one of SpinML's own errors."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinml.bundle import BundleLimits
from spinml.errors import (
    BundleError,
    BundleLimitError,
    InvalidRequestError,
    MalformedBundleError,
    PreferenceViolationError,
)
from spinml.images import encode_png
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.sanitizer import sanitize
from tests.photos import cat, request_of, segmented


def parts_of(target="L2", background="L0", hole="inpaint"):
    return sanitize(request_of(target, background), [segmented()], hole=hole).bundle.to_parts()


def edited(parts, change):
    """``parts`` with their manifest changed and every digest made true again."""
    manifest = json.loads(parts["manifest"])
    change(manifest)
    return parts | {"manifest": json.dumps(manifest).encode()}


def with_image(parts, name, pixels):
    """``parts`` with image 0 of ``name`` replaced, honestly declared."""
    data = pixels if isinstance(pixels, bytes) else encode_png(pixels)

    def declare(manifest):
        segment = next(item for item in manifest["segments"] if item["name"] == name)
        segment["images"] = [hashlib.sha256(data).hexdigest()]

    return edited(parts, declare) | {f"{name}.0": data}


def set_field(path, value):
    def change(manifest):
        *way, last = path
        for step in way:
            manifest = manifest[step]
        manifest[last] = value

    return change


RGBA = np.dstack([cat(), np.full((480, 640), 255, np.uint8)])


@pytest.mark.parametrize(
    ("preference", "segment", "image", "why"),
    [
        (("L1", "L0"), "target", cat(), "channels"),
        (("L1", "L0"), "target", cat()[..., 0].copy(), "grey levels"),
        (("L0", "L1"), "background", cat(), "channels"),
        (("L2", "L0"), "target", cat(), "not RGBA"),
        (("L2", "L0"), "target", RGBA, "no cut-out"),
        (("L2", "L0"), "target", RGBA * np.array([1, 1, 1, 0], np.uint8), "hides colours"),
        (("L2", "L0"), "target", np.zeros((64, 64, 4), np.uint8), "empty"),
        (("L0", "L2"), "background", cat(), "not RGBA"),
    ],
)
def test_images_that_the_scheme_does_not_allow(preference, segment, image, why):
    with pytest.raises(PreferenceViolationError, match=why) as caught:
        bundle_from_parts(with_image(parts_of(*preference), segment, image))
    assert segment in caught.value.message


@pytest.mark.parametrize("hole", ["box", "silhouette"])
def test_a_whole_frame_is_no_background_with_a_hole(hole):
    with pytest.raises(PreferenceViolationError, match="no hole"):
        bundle_from_parts(with_image(parts_of("L0", "L2", hole), "background", RGBA))


def test_a_filled_hole_is_opaque():
    parts = edited(parts_of("L0", "L2", "box"), set_field(["segments", 1, "hole"], "inpaint"))
    with pytest.raises(PreferenceViolationError, match="declared filled"):
        bundle_from_parts(parts)


@pytest.mark.parametrize(
    ("preference", "change", "why"),
    [
        (("L2", "L0"), set_field(["segments", 0, "scheme"], "L1"), "preference is L2"),
        (("L2", "L0"), set_field(["request", "privacy", "target"], "L0"), "preference is L0"),
        (("L2", "L0"), set_field(["segments", 0, "text"], "my dog Rex"), "word for it"),
        (("L2", "L0"), set_field(["segments", 0, "feature"], "canny"), "also declares a feature"),
        (("L2", "L0"), set_field(["segments", 0, "hole"], "box"), "target object has none"),
        (("L0", "L2"), set_field(["segments", 1, "hole"], None), "declares its hole"),
        (("L1", "L0"), set_field(["segments", 0, "feature"], None), "no feature"),
        (("L1", "L0"), set_field(["segments", 0, "feature"], "pose"), "another feature"),
        (("L1", "L0"), set_field(["segments", 0, "hole"], "box"), "no hole"),
        (("L2", "L0"), set_field(["segments", 1, "feature"], "canny"), "words alone"),
    ],
)
def test_manifests_that_contradict_the_preference(preference, change, why):
    with pytest.raises(PreferenceViolationError, match=why):
        bundle_from_parts(edited(parts_of(*preference), change))


def test_l0_with_an_image():
    parts = parts_of("L2")

    def lower(manifest):
        manifest["request"]["privacy"]["target"] = "L0"
        manifest["segments"][0]["scheme"] = "L0"

    with pytest.raises(PreferenceViolationError, match="target: L0 sends words alone"):
        bundle_from_parts(edited(parts, lower))


def test_l2_without_an_image():
    parts = edited(parts_of(), set_field(["segments", 0, "images"], []))
    del parts["target.0"]
    with pytest.raises(PreferenceViolationError, match="needs at least one"):
        bundle_from_parts(parts)


def test_an_unknown_feature_is_refused_by_name():
    parts = edited(
        parts_of("L1"),
        lambda m: (
            m["request"].update(features={"target": "xray"}),
            m["segments"][0].update(feature="xray"),
        ),
    )
    with pytest.raises(PreferenceViolationError, match="no L1 feature"):
        bundle_from_parts(parts)


def test_a_segment_twice_or_missing():
    both = parts_of("L0")
    for segments in ([0, 0], [0], [0, 1, 1]):
        parts = edited(both, lambda m, s=segments: m.update(segments=[m["segments"][i] for i in s]))
        with pytest.raises(PreferenceViolationError, match="once each"):
            bundle_from_parts(parts)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda p: {}, MalformedBundleError),
        (lambda p: p | {"manifest": b"\xff\xfe"}, MalformedBundleError),
        (lambda p: p | {"manifest": b"[" * 60_000}, MalformedBundleError),
        (lambda p: p | {"manifest": b" " * 64_001}, BundleLimitError),
        (lambda p: edited(p, set_field(["version"], 2)), MalformedBundleError),
        (lambda p: edited(p, set_field(["more"], 2)), MalformedBundleError),
        (lambda p: edited(p, set_field(["segments"], "all")), MalformedBundleError),
        (lambda p: edited(p, set_field(["segments", 0, "name"], "../x")), MalformedBundleError),
        (lambda p: edited(p, set_field(["segments", 0, "more"], 1)), MalformedBundleError),
        (lambda p: edited(p, set_field(["request", "label_classes"], [])), InvalidRequestError),
        (lambda p: p | {"background.0": p["target.0"]}, MalformedBundleError),
        (lambda p: {k: v for k, v in p.items() if k == "manifest"}, MalformedBundleError),
        (lambda p: p | {"target.0": p["target.0"] + b"x"}, MalformedBundleError),
        (lambda p: with_image(p, "target", p["target.0"] + b"x"), MalformedBundleError),
        (lambda p: with_image(p, "target", p["target.0"][:300]), MalformedBundleError),
    ],
)
def test_malformed(change, error):
    with pytest.raises(error):
        bundle_from_parts(change(parts_of()))


def test_limits():
    parts = parts_of()
    size = len(parts["target.0"])
    for limits, why in (
        (BundleLimits(max_image_bytes=size - 1), f"{size} bytes"),
        (BundleLimits(max_body_bytes=size - 1), f"{size} bytes"),
        (BundleLimits(max_image_px=255), "256 x 256"),
        (BundleLimits(max_images_per_segment=0), "1 images"),
    ):
        with pytest.raises(BundleLimitError, match=why):
            bundle_from_parts(parts, limits)


VALID = parts_of("L1", "L0")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
OWN = (BundleError, InvalidRequestError)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["manifest", "target.0", "x"]), st.binary(max_size=200)))
def test_any_parts_end_in_our_own_errors(parts):
    with pytest.raises(OWN):
        bundle_from_parts(parts)


@settings(max_examples=200, deadline=None)
@given(
    path=st.sampled_from(
        [
            ["version"],
            ["request"],
            ["request", "target_object"],
            ["request", "privacy"],
            ["request", "features"],
            ["segments"],
            ["segments", 0],
            ["segments", 0, "images"],
            ["segments", 0, "scheme"],
            ["segments", 1, "text"],
        ]
    ),
    value=JSON,
)
def test_any_change_of_the_manifest_is_refused(path, value):
    manifest = json.loads(VALID["manifest"])
    set_field(path, value)(manifest)
    if manifest == json.loads(VALID["manifest"]):
        return
    try:
        bundle = bundle_from_parts(VALID | {"manifest": json.dumps(manifest).encode()})
    except OWN:
        return
    # What is let through must say the same: features that are defaults, spelt out or not.
    assert path == ["request", "features"]
    assert bundle.segment("target").feature == "canny"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(VALID["target.0"]) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_of_an_image_is_refused(at, byte):
    data = bytearray(VALID["target.0"])
    if data[at] == byte:
        return
    data[at] = byte
    with pytest.raises(MalformedBundleError, match="not the one declared"):
        bundle_from_parts(VALID | {"target.0": bytes(data)})
