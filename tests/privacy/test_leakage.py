"""MI (eq. 1): known cases, the ends of its range, and the order of the schemes."""

import cv2
import numpy as np
import pytest

from spinml.privacy.leakage import histogram_mi, measure_leakage, regional_mi, share
from spinml.privacy.sanitizer import sanitize
from tests.photos import cat, request_of, segmented

ESTIMATORS = [histogram_mi, regional_mi]
RANDOM = np.random.default_rng(0)


def grey():
    return np.asarray(cv2.cvtColor(cat(), cv2.COLOR_RGB2GRAY), np.uint8)


def noise():
    return RANDOM.integers(0, 256, (480, 640), np.uint8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_image_tells_all_of_itself(estimator):
    assert share(estimator, grey(), [grey()]) == pytest.approx(1.0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_independent_noise_tells_nothing(estimator):
    assert share(estimator, grey(), [noise()]) < 0.001
    assert share(estimator, noise(), [noise(), noise()]) < 0.02


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nothing_sent_tells_exactly_nothing(estimator):
    assert share(estimator, grey(), []) == 0.0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_plain_segment_has_nothing_to_tell(estimator):
    plain = np.full((48, 64), 77, np.uint8)
    assert share(estimator, plain, [plain]) == 0.0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_more_sent_tells_no_less(estimator):
    blurred = np.asarray(cv2.GaussianBlur(grey(), (0, 0), 4), np.uint8)
    one = estimator(grey(), [blurred])
    assert 0 < one <= estimator(grey(), [blurred, grey()]) + 1e-9


def test_histogram_of_two_even_halves_is_one_bit():
    x = np.zeros((200, 200), np.uint8)
    x[:, 100:] = 255
    assert histogram_mi(x, [x]) == pytest.approx(np.log(2), abs=1e-4)
    assert histogram_mi(x, [np.ascontiguousarray(x.T)]) == pytest.approx(0.0, abs=1e-4)


def test_regional_agrees_with_the_gaussian_channel():
    """x and x + noise, both white: 9 independent pairs of 1/2 log(1 + S²/(...)) nats each."""
    signal = RANDOM.normal(128, 30, (600, 600))
    x = signal.clip(0, 255).round().astype(np.uint8)
    y = (signal + RANDOM.normal(0, 20, signal.shape)).clip(0, 255).round().astype(np.uint8)
    floor = 64 / 12
    vx, vy = x.astype(float).var() + floor, y.astype(float).var() + floor
    covariance = np.cov(x.ravel().astype(float), y.ravel().astype(float))[0, 1]
    expected = -0.5 * 9 * np.log(1 - covariance**2 / (vx * vy))
    assert regional_mi(x, [y]) == pytest.approx(expected, rel=0.02)


def measured(target, background):
    return measure_leakage(sanitize(request_of(target, background), [segmented()]))


def test_zero_at_l0_small_at_l1_large_at_l2():
    l0, l1, l2 = (measured(scheme, "L0").target for scheme in ("L0", "L1", "L2"))
    assert (l0.histogram, l0.regional) == (0.0, 0.0)
    assert 0 < l1.histogram < 0.1
    assert 0 < l1.regional < 0.05
    assert l2.histogram > 0.7
    assert l2.regional > 0.5


def test_background_rises_with_its_scheme():
    shares = [measured("L0", scheme).background.histogram for scheme in ("L0", "L1", "L2")]
    assert shares[0] == 0.0
    assert shares[1] < 0.05 < 0.5 < shares[2]


def test_mean_over_photos_and_json():
    other = segmented(np.ascontiguousarray(cat()[:, ::-1]))
    leakage = measure_leakage(sanitize(request_of("L2"), [segmented(), other]))
    each = [photo["target"].histogram for photo in leakage.photos]
    assert leakage.target.histogram == pytest.approx(np.mean(each))
    assert leakage.as_dict()["photos"][1]["target"]["histogram"] == each[1]


@pytest.mark.parametrize("scheme", ["L0", "L1", "L2"])
def test_an_object_that_the_frame_cannot_show_is_taken_to_be_told_whole(scheme):
    photo = np.tile(cat(), (1, 8, 1))[:300]
    mask = np.zeros(photo.shape[:2], bool)
    mask[101:117, 2003:2006] = True
    leakage = measure_leakage(sanitize(request_of(scheme), [segmented(photo, mask)]))
    told = float(scheme != "L0")
    assert (leakage.target.histogram, leakage.target.regional) == (told, told)


def test_no_photos_no_leak():
    leakage = measure_leakage(sanitize(request_of("L0", "L0"), []))
    assert leakage.photos == ()
    assert leakage.background.regional == 0.0
