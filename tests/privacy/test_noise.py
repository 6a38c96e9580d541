"""Noise on L2's pixels (§5.5): what it changes, what it leaves, and its ε."""

import json

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from spinml.bundle import BundleLimits, decode_png
from spinml.errors import DeviceError
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.noise import add_noise, epsilon, sent_pixels
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.reidentification import sanitize_alike
from spinml.privacy.sanitizer import sanitize
from spinml.privacy.secret import data_folder, device_secret
from spinml.request import Scheme
from tests.photos import request_of, segmented

SIGMAS = (5, 10, 50)
SECRET = bytes(32)


def made(sigma=None, seed=0, target="L2", background="L0", segment="target", hole="inpaint"):
    noise = {} if sigma is None else {segment: sigma}
    return sanitize(
        request_of(target, background, seed=seed, noise=noise), [segmented()], hole=hole
    )


def sent(sanitized, name="target"):
    return decode_png(sanitized.bundle.segment(name).images[0], BundleLimits())


@pytest.mark.parametrize("sigma", [5, 10, 25])
def test_the_noise_is_gaussian_and_of_the_asked_size(sigma):
    plain = np.full((256, 256, 4), 128, np.uint8)
    away = add_noise(plain, sigma, 0, SECRET)[..., :3].astype(float) - 128
    assert away.mean() == pytest.approx(0, abs=0.02 * sigma)
    assert away.std() == pytest.approx(sigma, rel=0.02)
    for k in (1, 2):  # rounded: what is at most k σ was less than half a level more
        share = 2 * ndtr((k * sigma + 0.5) / sigma) - 1
        assert np.mean(np.abs(away) <= k * sigma) == pytest.approx(share, abs=0.005)
    assert np.abs(np.corrcoef(away.reshape(-1, 3).T)[0, 1]) < 0.02


@pytest.mark.parametrize("hole", ["inpaint", "box", "silhouette"])
def test_nothing_but_the_segments_colours_changes(hole):
    clean, noisy = (
        made(target="L2", background="L2", hole=hole),
        made(10, target="L2", background="L2", segment="background", hole=hole),
    )
    assert np.array_equal(sent(clean), sent(noisy))
    before, after = sent(clean, "background"), sent(noisy, "background")
    assert np.array_equal(before[..., 3], after[..., 3])
    assert not after[after[..., 3] == 0].any()
    assert np.mean(before[after[..., 3] > 0] != after[after[..., 3] > 0]) > 0.5


def test_alpha_stays_and_the_outside_is_empty():
    before, after = sent(made()), sent(made(50))
    assert np.array_equal(before[..., 3], after[..., 3])
    assert not after[after[..., 3] == 0].any()
    assert after[..., :3].max() == 255


def test_the_same_request_gives_the_same_bytes_and_another_seed_others():
    assert made(10).bundle.digest == made(10).bundle.digest
    assert not np.array_equal(sent(made(10)), sent(made(10, seed=1)))


def noise_of(plain, sigma=10, seed=0, secret=SECRET):
    """The noise on a grey picture, in units of σ."""
    return (add_noise(plain, sigma, seed, secret)[..., :3].astype(float) - plain[..., :3]) / sigma


@pytest.mark.parametrize(
    "change",
    [{"secret": b"x" * 32}, {"seed": 1}, {"sigma": 20}, {"plain": np.full((64, 64, 4), 121)}],
)
def test_whoever_lacks_one_part_cannot_compute_the_noise(change):
    """The server has seed and σ, and may guess the pixels: the device's key is what it lacks."""
    known = {"plain": np.full((64, 64, 4), 120, np.uint8)}
    assert np.array_equal(noise_of(**known), noise_of(**known))
    guessed = known | change
    guessed["plain"] = guessed["plain"].astype(np.uint8)
    other = noise_of(**guessed)
    assert abs(np.corrcoef(noise_of(**known).ravel(), other.ravel())[0, 1]) < 0.05


def test_one_picture_at_two_strengths_cannot_be_solved_for():
    """x + 5 n and x + 10 n would give x away."""
    clean, weak, strong = (sent(made(sigma))[..., :3].astype(float) for sigma in (None, 5, 10))
    shown = sent(made())[..., 3] > 0
    solved = (2 * weak - strong)[shown]
    assert np.sqrt(np.mean((solved - clean[shown]) ** 2)) > 8


def test_the_key_is_made_once_kept_and_private():
    first = made(10).bundle.digest
    path = data_folder() / "noise_key"
    assert path.stat().st_mode & 0o077 == 0
    assert (device_secret(), len(device_secret())) == (path.read_bytes(), 32)
    assert [item.name for item in data_folder().iterdir()] == ["noise_key"]
    path.unlink()
    assert made(10).bundle.digest != first
    path.write_bytes(b"short")
    with pytest.raises(DeviceError, match="5 bytes, wanted 32"):
        made(10)


def test_no_key_is_made_where_no_noise_is_asked_for():
    made()
    assert not (data_folder() / "noise_key").exists()


def test_the_attacker_draws_noise_of_its_own():
    sanitized = made(10)
    (candidate,) = sanitize_alike(sanitized, [segmented()])
    assert not np.array_equal(candidate.image("target", Scheme.L2), sent(sanitized))


def test_the_server_takes_it_as_l2_and_reads_the_sigma():
    bundle = made(10).bundle
    arrived = bundle_from_parts(bundle.to_parts())
    assert arrived == bundle
    assert arrived.request.noise == {"target": 10.0}
    assert json.loads(bundle.manifest())["request"]["noise"] == {"target": 10.0}


def test_mi_is_measured_on_what_is_sent_and_falls_with_sigma():
    shares = [measure_leakage(made(sigma)).target for sigma in (None, *SIGMAS)]
    for estimator in ("histogram", "regional"):
        values = [getattr(share, estimator) for share in shares]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize(("sigma", "pixels"), [(50_000, 1), (500, 1), (300, 4), (60, 10)])
@pytest.mark.parametrize("delta", [1e-5, 1e-2])
def test_epsilon_is_the_root_of_the_exact_condition(sigma, pixels, delta):
    """Against the condition of Balle and Wang (2018) written out with scipy."""

    def delta_of(eps):
        ratio = 255 * np.sqrt(3 * pixels) / sigma
        tail = np.exp(eps + log_ndtr(-ratio / 2 - eps / ratio))
        return ndtr(ratio / 2 - eps / ratio) - tail

    found = epsilon(sigma, pixels, delta)
    if found == 0:
        assert delta_of(0.0) <= delta
    else:
        assert delta_of(found) == pytest.approx(delta, rel=1e-6)
        assert delta_of(found * 0.99) > delta


def test_epsilon_of_a_known_case_and_of_a_picture():
    one = 255 * np.sqrt(3)  # sensitivity and σ alike
    assert epsilon(one, 1) == pytest.approx(4.377, abs=0.001)
    values = [epsilon(sigma, 20_000) for sigma in SIGMAS]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 1000  # the paper: larger than one thousand even at σ = 50


@pytest.mark.parametrize(("sigma", "pixels", "delta"), [(0, 1, 0.1), (1, 0, 0.1), (1, 1, 0)])
def test_epsilon_refuses_what_has_none(sigma, pixels, delta):
    with pytest.raises(ValueError, match="wanted"):
        epsilon(sigma, pixels, delta)


def test_sent_pixels_are_those_that_are_not_transparent():
    sanitized = made()
    (png,) = sanitized.bundle.segment("target").images
    assert sent_pixels(png) == np.count_nonzero(sent(sanitized)[..., 3])
