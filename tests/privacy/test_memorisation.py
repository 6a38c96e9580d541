"""The copy check: a planted copy is flagged, unrelated and merely similar images are not."""

import numpy as np
import pytest

from spinml.privacy.memorisation import check_copies
from spinml.privacy.similarity import normalised


def cluster(random, count, spread=1.0):
    """Embeddings around one direction: photos of the same thing."""
    return normalised(np.eye(1, 32) * 4 + spread * random.normal(size=(count, 32)))


def test_a_planted_copy_is_flagged_and_named():
    random = np.random.default_rng(0)
    private, synthetic = cluster(random, 10), cluster(random, 40, spread=3.0)
    clean = check_copies(private, synthetic, np.arange(40))
    assert (clean.flagged, clean.images) == (0, 40)
    assert clean.nearest < clean.baseline
    synthetic[7] = normalised(private[3:4] + 0.02 * random.normal(size=(1, 32)))
    found = check_copies(private, synthetic, np.arange(40) * 5)
    assert found.flagged == 1
    assert found.image == 35
    assert found.nearest > 0.98
    assert found.baseline == pytest.approx(clean.baseline)


def test_an_unrelated_set_is_not_flagged():
    random = np.random.default_rng(1)
    unrelated = normalised(random.normal(size=(50, 32)))
    assert check_copies(cluster(random, 10), unrelated, np.arange(50)).flagged == 0


def test_further_photos_of_the_same_thing_are_seldom_flagged():
    random = np.random.default_rng(2)
    shares = []
    for _ in range(40):
        found = check_copies(cluster(random, 30), cluster(random, 100), np.arange(100))
        shares.append(found.flagged / found.images)
    assert 0.01 < np.mean(shares) < 0.09  # the 0.95 quantile promises about one in twenty


def test_the_baseline_is_the_private_images_own_nearest_neighbour():
    angles = np.deg2rad([0, 10, 30, 60])
    private = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = check_copies(private, private[:1], np.array([4]))
    assert found.baseline == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-6)
    assert (found.flagged, found.image) == (1, 4)


def test_two_photos_make_no_baseline():
    assert check_copies(np.eye(2), np.eye(2), np.arange(2)) is None


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="places"):
        check_copies(np.eye(3), np.eye(3), np.arange(2))
    with pytest.raises(ValueError, match="places"):
        check_copies(np.eye(3), np.zeros((0, 3)), np.arange(0))
    with pytest.raises(ValueError, match="same embedder"):
        check_copies(np.eye(3), np.eye(4), np.arange(4))
