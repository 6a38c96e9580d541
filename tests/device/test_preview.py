"""The preview shows every photo and holds all it shows."""

import re

import numpy as np
import pytest

from spinml.bundle import BundleLimits, decode_png
from spinml.device.preview import render_page, render_sheet, summarise, write_preview
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import sanitize
from tests.photos import request_of, segmented, standing


def made(target, background, photos=2, **options):
    sanitized = sanitize(request_of(target, background), [segmented()] * photos, **options)
    return sanitized, measure_leakage(sanitized)


@pytest.mark.parametrize(
    ("target", "background"), [("L0", "L0"), ("L1", "L1"), ("L2", "L2"), ("L2", "L0")]
)
def test_every_preference_can_be_shown(target, background):
    sanitized, leakage = made(target, background)
    sheet = render_sheet(sanitized, leakage)
    assert sheet.ndim == 3
    assert sheet.shape[0] > 2 * 240
    page = render_page(sanitized, leakage)
    shown = 2 + 2 * (target != "L0") + 2 * (background != "L0")
    assert page.count("<img ") == shown
    assert page.count("“cat”") == 2 + 2 * (target == "L0")
    assert "objective “what is my cat doing”; classes “eating”, “sleeping”" in page


def test_noise_is_shown_with_its_epsilon():
    plain, _ = made("L2", "L0")
    sanitized = sanitize(request_of("L2", noise={"target": 50}), [segmented()] * 2)
    leakage = measure_leakage(sanitized)
    target, background = summarise(sanitized.bundle, leakage)
    assert target.noise_sigma == 50
    assert target.epsilon > 1000
    assert f"its pixels with noise σ 50 (ε {target.epsilon:,.0f} at δ 1e-05)" == target.what
    assert (background.noise_sigma, background.epsilon) == (None, None)
    page = render_page(sanitized, leakage)
    assert page.count("with noise σ 50") == 3
    assert "promises nothing" in page
    assert "noise" not in render_page(plain, measure_leakage(plain))
    assert render_sheet(sanitized, leakage).any()


@pytest.mark.parametrize("feature", ["pose", "box", "soft_edges"])
def test_every_feature_can_be_shown(feature):
    request = request_of("L1", features={"target": feature})
    sanitized = sanitize(request, [segmented(keypoints=standing())])
    leakage = measure_leakage(sanitized)
    assert summarise(sanitized.bundle, leakage)[0].what == f"a feature map ({feature})"
    assert 0 < leakage.target.histogram < 0.5
    blank = sanitize(request_of("L0"), [segmented()])
    assert not np.array_equal(
        render_sheet(sanitized, leakage), render_sheet(blank, measure_leakage(blank))
    )


def test_the_page_loads_nothing():
    page = render_page(*made("L2", "L2", hole="box"))
    assert not re.search(r"https?://|<script|<link|@import", page)


def test_words_are_escaped():
    sanitized = sanitize(request_of("L0", "L0", target_object="Rex's bowl"), [segmented()])
    page = render_page(sanitized, measure_leakage(sanitized))
    assert "Rex&#39;s bowl" in page


def test_no_photo_at_all():
    sanitized, leakage = made("L0", "L0", photos=0)
    assert render_sheet(sanitized, leakage).shape[0] > 0
    assert "Nothing has been sent" in render_page(sanitized, leakage)


def test_files_and_summary(tmp_path):
    sanitized, leakage = made("L2", "L1")
    sheet, page = write_preview(sanitized, leakage, tmp_path / "preview")
    limits = BundleLimits(max_image_px=4000)
    assert np.ptp(decode_png(sheet.read_bytes(), limits)) > 100
    assert page.read_text().startswith("<!doctype html>")
    target, background = summarise(sanitized.bundle, leakage)
    assert (target.what, target.images) == ("its pixels", 2)
    assert background.what == "a feature map (canny)"
