"""The copy check: is a synthetic image nearer to a private one than those are to each other?

SIM is a mean over all pairs and cannot show one memorised photo; the nearest pair can. Diffusion
models do give back training images (Carlini et al. 2023), fine-tuned on a few ones above all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinml.privacy.similarity import Embeddings, normalised

BASELINE_QUANTILE = 0.95
"""Of the private images' cosines to their own nearest neighbour."""
LEAST_PRIVATE = 3
"""Fewer private images say nothing about how near two of them usually are."""


@dataclass(frozen=True)
class CopyCheck:
    """The nearest pair of a synthetic and a private image of one segment."""

    nearest: float
    """Cosine of that pair, in [-1, 1]."""
    baseline: float
    """Cosine above which a synthetic image is flagged."""
    flagged: int
    images: int
    """Synthetic images that were compared."""
    image: int
    """The nearest synthetic image's place in the dataset, from 0."""


def check_copies(
    private: Embeddings, synthetic: Embeddings, places: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> CopyCheck | None:
    """Compare ``(n, d)`` private with ``(m, d)`` synthetic embeddings of one segment.

    A synthetic image is flagged when its cosine to a private one exceeds the baseline: the
    0.95 quantile, rounded up to an observed value, of each private image's cosine to its nearest
    *other* one (leave-one-out). Further photos of the same person would be flagged for about one
    in twenty, or one in n + 1 where n is smaller; photos that are alike raise the baseline, so
    that a room which every photo shows is no copy.

    Args:
        places: ``(m,)``, each synthetic image's place in the dataset.

    Returns:
        None when there are fewer than ``LEAST_PRIVATE`` private images: there is no baseline then.

    Raises:
        ValueError: no synthetic image, or widths or lengths that disagree.
    """
    if not len(synthetic) or len(synthetic) != len(places):
        raise ValueError(f"{len(synthetic)} synthetic embeddings with {len(places)} places")
    if private.shape[1] != synthetic.shape[1]:
        raise ValueError(
            f"private embeddings have {private.shape[1]} numbers, synthetic {synthetic.shape[1]}: "
            "they were not made by the same embedder"
        )
    if len(private) < LEAST_PRIVATE:
        return None
    own, made = normalised(private), normalised(synthetic)
    among = own @ own.T
    np.fill_diagonal(among, -np.inf)
    baseline = float(np.quantile(among.max(axis=1), BASELINE_QUANTILE, method="higher"))
    nearest = (made @ own.T).max(axis=1)
    return CopyCheck(
        nearest=float(nearest.max()),
        baseline=baseline,
        flagged=int((nearest > baseline).sum()),
        images=len(made),
        image=int(places[nearest.argmax()]),
    )
