"""L1's features: how each is taken from a segment, and how a map of it is told from a photo (§3.2).

A feature map that arrives at the server is checked to be of the declared kind, so that a photo
cannot travel under a feature's name by mistake or by a tampered client. The check is a filter,
not a proof: whoever controls the sender can always draw words with edges.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from spinml.errors import FeatureMissingError, PreferenceViolationError, UnknownFeatureError
from spinml.images import Mask, Photo

FeatureMap = npt.NDArray[np.uint8]
"""Single-channel, shape ``(H, W)``."""


class FeatureExtractor(Protocol):
    """One kind of L1 feature."""

    name: str

    def extract(self, segment: Photo, mask: Mask) -> FeatureMap:
        """The map of ``segment``, shape ``(H, W)``; pixels outside ``mask`` have no influence.

        Raises:
            FeatureMissingError: the segment has no such feature.
        """
        ...

    def check(self, feature_map: npt.NDArray[np.uint8]) -> None:
        """Return when ``feature_map`` is of this kind.

        Raises:
            PreferenceViolationError: it is something else; says which property failed.
        """
        ...


class Canny:
    """Canny edges (Canny 1986): white lines, one pixel wide, on black."""

    name = "canny"

    blur_sigma = 1.0
    strong_share = 0.15
    """The steepest share of a segment's pixels that may start an edge."""
    strong_range = (60.0, 260.0)
    """Bounds of the upper threshold, in Sobel units, so that noise on a plain wall is no edge."""
    weak_ratio = 0.4
    """Lower threshold as a share of the upper one."""

    # The limits below: over 30 real photos at 128, 256 and 512 px, canny maps stayed under 0.000,
    # 0.07 and 0.01; thresholded, error-diffused and halftoned photos broke at least one (tests).
    max_white = 0.30
    max_solid = 0.01
    """Largest share of white pixels that may lie in solid 3 x 3 blocks."""
    max_double = 0.12
    """Largest share of white pixels that may lie in solid 2 x 2 blocks (corners make a few)."""
    max_loose = 0.02
    """Largest share of white pixels that may stand in groups of fewer than three."""
    tolerated_pixels = 12
    """Every share is also granted this many pixels, for maps of few and short edges."""

    def extract(self, segment: Photo, mask: Mask) -> FeatureMap:
        """See :class:`FeatureExtractor`. Outside ``mask`` is black before edges are taken."""
        grey = cv2.cvtColor(np.where(mask[..., None], segment, np.uint8(0)), cv2.COLOR_RGB2GRAY)
        smooth = cv2.GaussianBlur(grey, (0, 0), self.blur_sigma)
        dx = cv2.Sobel(smooth, cv2.CV_16S, 1, 0)
        dy = cv2.Sobel(smooth, cv2.CV_16S, 0, 1)
        slope = np.hypot(dx[mask].astype(np.float32), dy[mask].astype(np.float32))
        if slope.size == 0:
            raise FeatureMissingError("no canny edges: the segment is empty")
        strong = float(np.clip(np.quantile(slope, 1 - self.strong_share), *self.strong_range))
        edges = cv2.Canny(dx, dy, self.weak_ratio * strong, strong, L2gradient=True)
        while np.count_nonzero(edges) > self.max_white * edges.size:  # gravel, grass, knitwear
            strong *= 1.25
            edges = cv2.Canny(dx, dy, self.weak_ratio * strong, strong, L2gradient=True)
        if not edges.any():
            raise FeatureMissingError(
                "a segment shows no canny edge: it is plain or too dark",
                remedy="leave that photo out, or choose L0 for the segment",
            )
        return np.asarray(edges, np.uint8)

    def check(self, feature_map: npt.NDArray[np.uint8]) -> None:
        """See :class:`FeatureExtractor`: black and white, sparse, thin, connected lines."""
        if feature_map.ndim != 2:
            raise self._refusal(f"it has {feature_map.shape[-1]} channels, an edge map has 1")
        white = feature_map == 255
        if not np.all(white | (feature_map == 0)):
            raise self._refusal("it has grey levels, an edge map has 0 and 255 alone")
        count = int(white.sum())
        if count > self.max_white * white.size:
            raise self._refusal(
                f"{count / white.size:.0%} of it is white, at most {self.max_white:.0%} can be"
            )
        for what, found, limit in (
            ("lies in solid 3 x 3 blocks", _in_solid_blocks(white, 3), self.max_solid),
            ("lies in solid 2 x 2 blocks", _in_solid_blocks(white, 2), self.max_double),
            ("stands in dots, not lines", _in_small_groups(white, 3), self.max_loose),
        ):
            if found > self.tolerated_pixels + limit * count:
                raise self._refusal(
                    f"{found / count:.0%} of its white {what}, at most {limit:.0%} can"
                )

    def _refusal(self, why: str) -> PreferenceViolationError:
        return PreferenceViolationError(
            f"an image is not a {self.name} map: {why}",
            remedy="send what spinml's sanitizer makes, or declare L2",
        )


def _in_solid_blocks(white: Mask, side: int) -> int:
    """How many True pixels of ``white`` are part of a full ``side x side`` block."""
    opened = cv2.morphologyEx(
        white.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8)
    )
    return int(np.count_nonzero(opened))


def _in_small_groups(white: Mask, fewest: int) -> int:
    """How many True pixels are in 8-connected groups of fewer than ``fewest``."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(white.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int(areas[areas < fewest].sum())


_EXTRACTORS: dict[str, FeatureExtractor] = {"canny": Canny()}


def feature_names() -> list[str]:
    """The features that L1 can send, sorted."""
    return sorted(_EXTRACTORS)


def get_feature(name: str) -> FeatureExtractor:
    """The extractor called ``name``.

    Raises:
        UnknownFeatureError: there is none of that name.
    """
    if name not in _EXTRACTORS:
        raise UnknownFeatureError(
            f"no L1 feature {name[:40]!r}",
            remedy=f"choose one of: {', '.join(feature_names())}",
        )
    return _EXTRACTORS[name]
