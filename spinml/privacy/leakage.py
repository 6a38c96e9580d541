"""MI, eq. 1: how much of a segment what leaves the device tells, as a share of its entropy (§3.4).

Both estimators compare grey levels over the whole frame, with what is outside the segment blank
(zero), as the paper did. Of a segment that is sent and too small for the frame to show, all is
taken to be told. They are averages over pixels and no guarantee: a low MI can still hide a
recognisable outline. Text carries none (§3.4): at (L0, L0) MI is exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from spinml.privacy.sanitizer import Sanitized
from spinml.privacy.views import PhotoView
from spinml.request import BACKGROUND, TARGET

BINS = 32
"""Bins of grey levels in the joint histogram."""
RADIUS_PX = 1
"""Neighbourhood of the regional estimator: 3 x 3 pixels, the size Russakoff et al. recommend."""
QUANTISATION_VARIANCE = (256 / BINS) ** 2 / 12
"""Variance of rounding to one of BINS levels: the regional estimator's noise floor. It keeps
I(x, x) finite, and lets both estimators see at the same resolution of grey levels."""

_LEAST_NATS = 1e-6
"""Less is rounding error: a plain image has no entropy."""

Grey = npt.NDArray[np.uint8]
Estimator = Callable[[Grey, Sequence[Grey]], float]


@dataclass(frozen=True)
class MutualInformation:
    """Shares of a segment's entropy in [0, 1], by estimator."""

    histogram: float
    regional: float


@dataclass(frozen=True)
class Leakage:
    """MI of each segment, by photo and on average (eq. 1). Holds figures alone."""

    segments: Mapping[str, MutualInformation]
    """On average over the photos that show the segment; 0 where none does."""
    photos: tuple[dict[str, MutualInformation], ...]
    """Of each photo, the segments that it shows."""

    @property
    def target(self) -> MutualInformation:
        """Of the first target object."""
        return self.segments[TARGET]

    @property
    def background(self) -> MutualInformation:
        """Of the background."""
        return self.segments[BACKGROUND]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able figures: one entry a segment, and "photos"."""
        return {name: asdict(mi) for name, mi in self.segments.items()} | {
            "photos": [{name: asdict(mi) for name, mi in photo.items()} for photo in self.photos]
        }


def measure_leakage(sanitized: Sanitized) -> Leakage:
    """MI(X^j, {Y^t, Y^b}) of eq. 1 for each segment j, given everything that is sent of the photo.

    All zero when there is no photo.
    """
    photos = tuple(_measure_photo(view) for view in sanitized.views)
    segments = sanitized.bundle.request.segments
    return Leakage({name: _mean(photos, name) for name in segments}, photos)


def histogram_mi(x: Grey, ys: Sequence[Grey]) -> float:
    """I(x; ys) in nats from the joint histogram of ``x`` and all of ``ys``, each ``(H, W)``.

    Plug-in entropies with Miller and Madow's (1955) correction for bias; at least 0.
    """
    joint_y = np.zeros(x.size, np.int64)
    for image in ys:
        joint_y = _compact(joint_y * BINS + _binned(image))
    code_x = _binned(x)
    joint = joint_y * BINS + code_x
    return max(0.0, _entropy(code_x) + _entropy(joint_y) - _entropy(joint))


def regional_mi(x: Grey, ys: Sequence[Grey]) -> float:
    """I(x; ys) in nats by regional mutual information (Russakoff et al. 2004).

    Each pixel gives one vector: its neighbourhood in ``x`` and in every one of ``ys``. Taken as
    Gaussian, the entropies follow from the determinants of the covariance's blocks.
    """
    vectors = np.concatenate([_neighbourhoods(image) for image in (x, *ys)])
    vectors -= vectors.mean(axis=1, keepdims=True)
    covariance = (vectors @ vectors.T).astype(np.float64) / vectors.shape[1]
    covariance += QUANTISATION_VARIANCE * np.eye(len(covariance))
    split = (2 * RADIUS_PX + 1) ** 2
    blocks = covariance[:split, :split], covariance[split:, split:], covariance
    log_x, log_y, log_joint = (float(np.linalg.slogdet(block)[1]) for block in blocks)
    return max(0.0, 0.5 * (log_x + log_y - log_joint))


def share(estimator: Estimator, x: Grey, ys: Sequence[Grey]) -> float:
    """I(x; ys) / I(x; x), in [0, 1]; 0 when nothing is sent or ``x`` has no information to leak."""
    if not ys:
        return 0.0
    entropy = estimator(x, [x])
    return min(1.0, estimator(x, ys) / entropy) if entropy > _LEAST_NATS else 0.0


def _measure_photo(view: PhotoView) -> dict[str, MutualInformation]:
    grey = np.asarray(cv2.cvtColor(view.photo.pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    ys = [item.in_frame for item in view.sent]
    objects = np.logical_or.reduce(list(view.masks.values()))
    segments = {**view.masks, BACKGROUND: ~objects}
    sent = {item.segment for item in view.sent}
    measured = {}
    for name, mask in segments.items():
        if name in sent and not mask.any():  # too small for the frame to show
            measured[name] = MutualInformation(1.0, 1.0)
            continue
        x = np.where(mask, grey, np.uint8(0))
        measured[name] = MutualInformation(share(histogram_mi, x, ys), share(regional_mi, x, ys))
    return measured


def _mean(photos: Sequence[dict[str, MutualInformation]], name: str) -> MutualInformation:
    showing = [photo[name] for photo in photos if name in photo]
    if not showing:
        return MutualInformation(0.0, 0.0)
    return MutualInformation(
        float(np.mean([mi.histogram for mi in showing])),
        float(np.mean([mi.regional for mi in showing])),
    )


def _binned(image: Grey) -> npt.NDArray[np.int64]:
    return image.ravel().astype(np.int64) * BINS // 256


def _compact(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``codes`` numbered anew where they are large: those of many images would not fit 64 bits."""
    if codes.max() < BINS**3:
        return codes
    return np.asarray(np.unique(codes, return_inverse=True)[1], np.int64)


def _entropy(codes: npt.NDArray[np.int64]) -> float:
    """Entropy in nats of the values of ``codes``, with the Miller-Madow correction."""
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    shares = counts / codes.size
    return float(-(shares * np.log(shares)).sum() + (counts.size - 1) / (2 * codes.size))


def _neighbourhoods(image: Grey) -> npt.NDArray[np.float32]:
    """Every pixel's neighbourhood, shape ``((2 r + 1)^2, (H - 2 r) (W - 2 r))``."""
    side = 2 * RADIUS_PX + 1
    if min(image.shape) < side:
        raise ValueError(f"an image of shape {image.shape}, regional MI needs {side} pixels a side")
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.float32), (side, side))
    return np.ascontiguousarray(windows.reshape(-1, side * side).T)
