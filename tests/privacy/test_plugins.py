"""Plugins that are really installed: a distribution on sys.path with its entry points."""

import pickle
import sys

import numpy as np
import pytest

from spinml.bundle import BundleLimits, decode_png
from spinml.errors import (
    FeatureMissingError,
    PluginError,
    PreferenceViolationError,
    UnknownFeatureError,
    UnknownSchemeError,
)
from spinml.privacy.features import feature_names, get_feature
from spinml.privacy.features.canny import Canny
from spinml.privacy.plugins import get_scheme, plugin_names
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.sanitizer import sanitize
from tests.photos import cat, ellipse, request_of, segmented

MODULE = """
import numpy as np
from spinml.errors import FeatureMissingError, PreferenceViolationError


def refuse(why):
    raise PreferenceViolationError(f"an image is not what it says: {why}", remedy="mend it")


class Halves:
    name = "halves"

    def extract(self, segment):
        return np.where(segment.mask & (segment.pixels.mean(axis=2) > 99), 255, 0).astype("uint8")

    def check(self, image):
        if image.ndim != 2 or set(np.unique(image)) - {0, 255}:
            refuse("it has more than two levels")


class Mosaic:
    name = "mosaic"
    side = 16

    def extract(self, segment):
        return np.kron(segment.pixels[::16, ::16], np.ones((16, 16, 1), "uint8"))

    def check(self, image):
        for row in range(0, image.shape[0], 16):
            for column in range(0, image.shape[1], 16):
                block = image[row:row + 16, column:column + 16]
                shown = block[block[..., 3] > 0][:, :3]
                if len(shown) and np.ptp(shown, axis=0).any():
                    refuse("it has detail")


class Odd(Halves):
    def __init__(self, name, result):
        self.name, self.result = name, result

    def extract(self, segment):
        return self.result(segment)


def boom(segment):
    raise RuntimeError("a secret path")


def none(segment):
    raise FeatureMissingError("it is not hot enough")


raises = Odd("raises", boom)
missing = Odd("missing", none)
floats = Odd("floats", lambda segment: segment.pixels[..., 0] / 255)
small = Odd("small", lambda segment: segment.pixels[:8, :8, 0])
words = Odd("words", lambda segment: "edges")
lying = Odd("lying", lambda segment: segment.pixels[..., 0])
misnamed = Odd("another", lambda segment: None)
mute = object()


class Broken(Halves):
    name = "broken"

    def check(self, image):
        return image.shape[9]
"""
FEATURES = (
    "halves=Halves", "raises=raises", "missing=missing", "floats=floats", "small=small",
    "words=words", "lying=lying", "misnamed=misnamed", "mute=mute", "absent=NoSuchThing",
    "broken=Broken", "canny=Halves",
)  # fmt: skip


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with the plugins above, as pip would lay it out; uninstalls itself."""

    def install(module="spinml_thermal", features=FEATURES, schemes=("mosaic=Mosaic",)):
        folder = tmp_path / module
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(MODULE)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = []
        for group, entries in (("spinml.features", features), ("spinml.schemes", schemes)):
            lines.append(f"[{group}]")
            lines += [entry.replace("=", f" = {module}:") for entry in entries]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(folder))

    before = set(sys.modules)
    yield install
    for name in set(sys.modules) - before:
        if name.startswith("spinml_"):
            del sys.modules[name]


def uninstall(monkeypatch):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "spinml_thermal" not in p])


def features(name):
    return {"features": {"target": name}}


def test_a_feature_goes_all_the_way(installed, monkeypatch):
    installed()
    assert "halves" in feature_names()
    bundle = sanitize(request_of("L1", **features("halves")), [segmented()]).bundle
    parts = bundle.to_parts()
    assert bundle_from_parts(parts) == bundle
    image = decode_png(parts["target.0"], BundleLimits())
    assert image.shape == (256, 256)
    assert set(np.unique(image)) == {0, 255}
    uninstall(monkeypatch)
    with pytest.raises(PreferenceViolationError, match="target: no L1 feature 'halves'") as caught:
        bundle_from_parts(parts)
    assert "install the plugin" in caught.value.remedy


def test_a_scheme_goes_all_the_way(installed, monkeypatch):
    installed()
    request = request_of("L2", schemes={"target": "mosaic"})
    plain = sanitize(request_of("L2"), [segmented()]).bundle
    bundle = sanitize(request, [segmented()]).bundle
    parts = bundle.to_parts()
    assert bundle_from_parts(parts) == bundle
    image, before = (decode_png(b.segment("target").images[0], BundleLimits())
                     for b in (bundle, plain))  # fmt: skip
    assert np.array_equal(image[..., 3], before[..., 3])
    assert len(np.unique(image[112:128, 112:128, :3].reshape(-1, 3), axis=0)) == 1
    uninstall(monkeypatch)
    with pytest.raises(PreferenceViolationError, match="target: no scheme 'mosaic'"):
        bundle_from_parts(parts)
    with pytest.raises(UnknownSchemeError, match="no scheme 'mosaic'"):
        sanitize(request, [segmented()])


def test_the_plugins_own_check_refuses_a_photo(installed):
    installed()
    from tests.privacy.test_receive import edited, set_field, with_image

    parts = sanitize(request_of("L1", **features("halves")), [segmented()]).bundle.to_parts()
    with pytest.raises(PreferenceViolationError, match=r"target, image 0: .* two levels"):
        bundle_from_parts(with_image(parts, "target", cat()[..., 0].copy()))
    plain = sanitize(request_of("L2"), [segmented()]).bundle.to_parts()
    claimed = edited(plain, set_field(["request", "schemes"], {"target": "mosaic"}))
    with pytest.raises(PreferenceViolationError, match=r"target, image 0: .* detail"):
        bundle_from_parts(claimed)


def test_pixels_of_another_segment_do_not_reach_a_plugin(installed):
    installed()
    photo, mask = cat(), ellipse()
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8)
    changed = np.where(mask[..., None], photo, noise)
    for request in (request_of("L1", **features("halves")),
                    request_of("L2", schemes={"target": "mosaic"})):  # fmt: skip
        first, second = (sanitize(request, [segmented(p, mask)]).bundle for p in (photo, changed))
        assert first.to_parts() == second.to_parts()


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("raises", PluginError, "raises.extract failed: RuntimeError; nothing was sent"),
        ("floats", PluginError, r"float64 of shape \(256, 256\); wanted uint8"),
        ("small", PluginError, r"uint8 of shape \(8, 8\); wanted uint8 of shape \(256, 256\)"),
        ("words", PluginError, "gave a str"),
        ("misnamed", PluginError, "its name is another"),
        ("mute", PluginError, "it has no extract nor check"),
        ("absent", PluginError, "cannot be loaded: AttributeError"),
        ("broken", PluginError, "broken.check failed: IndexError"),
        ("missing", FeatureMissingError, "not hot enough"),
        ("lying", PreferenceViolationError, "two levels"),
        ("unheard", UnknownFeatureError, "no L1 feature 'unheard'"),
    ],
)
def test_whatever_a_plugin_does_wrong_makes_no_bundle(installed, name, error, why):
    installed()
    with pytest.raises(error, match=why) as caught:
        sanitize(request_of("L1", **features(name)), [segmented()])
    assert "secret" not in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (error, str(caught.value))


def test_a_plugin_cannot_take_the_place_of_the_packages_own(installed):
    installed()
    assert isinstance(get_feature("canny"), Canny)


def test_two_plugins_of_one_name(installed):
    installed("spinml_thermal")
    installed("spinml_thermal_two")
    assert plugin_names("spinml.schemes") == ["mosaic"]
    with pytest.raises(PluginError, match="2 plugins are called 'mosaic'"):
        get_scheme("mosaic")
