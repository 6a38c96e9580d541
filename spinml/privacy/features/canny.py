"""Canny edges as an L1 feature (§3.2), and what tells a map of them from a photo."""

from __future__ import annotations

import cv2
import numpy as np

from spinml.errors import FeatureMissingError
from spinml.images import Mask
from spinml.privacy.extractor import Image, SegmentInput, not_a_map, require_channels


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

    def extract(self, segment: SegmentInput) -> Image:
        """See :class:`Extractor`: shape ``(H, W)``, 255 on edges, 0 elsewhere."""
        grey = cv2.cvtColor(segment.pixels, cv2.COLOR_RGB2GRAY)
        smooth = cv2.GaussianBlur(grey, (0, 0), self.blur_sigma)
        dx = cv2.Sobel(smooth, cv2.CV_16S, 1, 0)
        dy = cv2.Sobel(smooth, cv2.CV_16S, 0, 1)
        inside = segment.mask
        slope = np.hypot(dx[inside].astype(np.float32), dy[inside].astype(np.float32))
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

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: black and white, sparse, thin, connected lines."""
        require_channels(self.name, image, 1)
        white = image == 255
        if not np.all(white | (image == 0)):
            raise not_a_map(self.name, "it has grey levels, an edge map has 0 and 255 alone")
        self.check_lines(self.name, white)

    def check_lines(self, name: str, white: Mask) -> None:
        """Return when ``white`` ``(H, W)`` is sparse, thin, connected lines.

        Raises:
            PreferenceViolationError: it is not; says so of a map called ``name``.
        """
        count = int(white.sum())
        if count > self.max_white * white.size:
            raise not_a_map(
                name,
                f"{count / white.size:.0%} of it is white, at most {self.max_white:.0%} can be",
            )
        for what, found, limit in (
            ("lies in solid 3 x 3 blocks", _in_solid_blocks(white, 3), self.max_solid),
            ("lies in solid 2 x 2 blocks", _in_solid_blocks(white, 2), self.max_double),
            ("stands in dots, not lines", _in_small_groups(white, 3), self.max_loose),
        ):
            if found > self.tolerated_pixels + limit * count:
                raise not_a_map(
                    name, f"{found / count:.0%} of its white {what}, at most {limit:.0%} can"
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
