"""Soft edges as an L1 feature (§3.2): lines with a halo, the stronger the brighter, as HED's."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from spinml.errors import FeatureMissingError
from spinml.images import Mask
from spinml.privacy.extractor import Image, SegmentInput, not_a_map, require_channels
from spinml.privacy.features.canny import Canny

LEVELS = (255, 188, 130, 70)
"""Brightness of a line by the strength of its edge; no halo has one of these values."""
HALO_PX = 3
"""How far a line's halo reaches."""
_HALO_SIGMA = 1.5
_FEWEST_PX = 3
"""Shorter pieces of a line are left out: dots carry a photo, lines do not."""


class SoftEdges:
    """Edges after HED (Xie & Tu 2015), by OpenCV alone: canny lines, each with a soft halo.

    A line has one brightness, by the mean slope along it. All that the map holds is in its lines:
    the halo follows from them, which is how the check tells it from a photo, dark or blurred.
    """

    name = "soft_edges"

    def __init__(self) -> None:
        self._canny = Canny()

    def extract(self, segment: SegmentInput) -> Image:
        """See :class:`Extractor`: shape ``(H, W)``, in [0, 255]."""
        try:
            edges = self._canny.extract(segment)
        except FeatureMissingError as error:
            raise FeatureMissingError(
                error.message.replace("canny", "soft"), remedy=error.remedy
            ) from None
        levels = _levels_of_lines(segment, edges > 0)
        # A halo that is cut off at the hole would not be the one that follows from its line.
        side = 2 * (HALO_PX + 1) + 1
        levels[cv2.dilate(segment.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0] = 0
        drawn = np.zeros(edges.shape, np.uint8)
        for level in LEVELS:
            line = _without_dots((levels == level) & (drawn < level))
            drawn = np.maximum(drawn, _with_halo(line, level))
        if not drawn.any():
            raise FeatureMissingError(
                "a segment shows no soft edge beside its hole",
                remedy="leave that photo out, or choose L0 for the segment",
            )
        return drawn

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: thin lines of four levels, and the halo that follows of them."""
        require_channels(self.name, image, 1)
        self._canny.check_lines(self.name, np.isin(image, LEVELS))
        follows = np.zeros(image.shape, np.uint8)
        for level in LEVELS:
            follows = np.maximum(follows, _with_halo(image == level, level))
        wrong = float(np.mean(follows != image))
        if wrong:
            raise not_a_map(self.name, f"{wrong:.1%} of it is neither a line nor a line's halo")


def _levels_of_lines(segment: SegmentInput, edges: Mask) -> Image:
    """Each edge pixel's level ``(H, W)``, one for a whole line; 0 where there is no edge."""
    grey = cv2.cvtColor(segment.pixels, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey, (0, 0), Canny.blur_sigma).astype(np.float32)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    count, lines = cv2.connectedComponents(edges.astype(np.uint8), connectivity=8)
    sizes = np.bincount(lines.ravel(), minlength=count)
    means = np.bincount(lines.ravel(), slope.ravel(), minlength=count) / np.maximum(sizes, 1)
    # Quartiles over the lines' pixels: the brightest level goes to the steepest quarter.
    bounds = np.quantile(means[lines[edges]], [0.25, 0.5, 0.75])
    rank = np.searchsorted(bounds, means, side="right")
    level_of: npt.NDArray[np.uint8] = np.asarray(LEVELS[::-1], np.uint8)[rank]
    return np.where(edges, level_of[lines], np.uint8(0))


def _with_halo(line: Mask, level: int) -> Image:
    """``line`` at ``level``, fading over HALO_PX: a function of the squared distance to it."""
    if not line.any():
        return np.zeros(line.shape, np.uint8)
    distance = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared = np.minimum(np.rint(distance.astype(np.float64) ** 2), HALO_PX**2 + 1).astype(np.int64)
    return np.asarray(_profile(level)[squared], np.uint8)


def _profile(level: int) -> npt.NDArray[np.uint8]:
    """Brightness by squared distance in pixels, 0 … HALO_PX² + 1."""
    squared = np.arange(HALO_PX**2 + 2)
    values = np.rint(level * np.exp(-squared / (2 * _HALO_SIGMA**2)))
    return np.where(squared <= HALO_PX**2, values, 0).astype(np.uint8)


def _without_dots(line: Mask) -> Mask:
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(line.astype(np.uint8), connectivity=8)
    long = stats[:, cv2.CC_STAT_AREA] >= _FEWEST_PX
    long[0] = False
    return np.asarray(long[pieces], np.bool_)
