"""Human pose as an L1 feature (§3.2, §4.2), drawn as OpenPose draws it (Cao et al. 2019)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from spinml.errors import FeatureMissingError
from spinml.images import Mask
from spinml.preference import BACKGROUND
from spinml.privacy.extractor import Image, SegmentInput, not_a_map, require_channels
from spinml.privacy.private import Keypoints

LEAST_CONFIDENCE = 0.3
"""A keypoint that is less sure was not seen."""
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of each keypoint; a limb has the colour of its place in LIMBS at 60 %."""
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Which keypoints a limb joins, in the order in which they are drawn."""
LIMB_COLOURS = tuple(tuple(int(0.6 * c) for c in colour) for colour in COLOURS[: len(LIMBS)])
_NEAR = 0.03
"""A keypoint so near to the segment, as a share of the frame, is on it: outlines are not exact."""

_ROUNDING_PX = 2.5
"""How much wider than drawn a stick may be: its corners lie on whole pixels (at most 2.0 over
10,000 sticks of all lengths and slopes, at 32 to 1024 pixels)."""


class Pose:
    """One person's 18 keypoints (COCO's, and the neck) and 17 limbs on black.

    Keypoints are those given, or the device's pose model finds them on the segment alone. One that
    is not on the segment is left out, for it may be another person's. Nothing is antialiased: only
    the palette's colours occur.
    """

    name = "pose"

    def extract(self, segment: SegmentInput) -> Image:
        """See :class:`Extractor`: shape ``(H, W, 3)``."""
        places = _on_segment(_keypoints(segment), segment.mask)
        canvas = np.zeros((*segment.mask.shape, 3), np.uint8)
        radius = radius_px(segment.mask.shape)
        limbs = [(i, a, b) for i, (a, b) in enumerate(LIMBS) if a in places and b in places]
        if not limbs:
            raise FeatureMissingError(
                f"a segment shows no pose: {len(places)} of 18 keypoints, none joined by a limb",
                remedy="leave that photo out, give --keypoints, or choose L0 for the segment",
            )
        for index, first, second in limbs:
            _draw_limb(canvas, places[first], places[second], radius, LIMB_COLOURS[index])
        for index, place in places.items():
            cv2.circle(canvas, place, radius, COLOURS[index], thickness=-1)
        return canvas

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: each keypoint's colour in one disc, each limb's in one stick."""
        require_channels(self.name, image, 3)
        codes = _codes(image)
        if not np.isin(codes, [0, *map(_code, COLOURS + LIMB_COLOURS)]).all():
            raise not_a_map(self.name, "it has colours that are not OpenPose's")
        if not codes.any():
            raise not_a_map(self.name, "it is empty")
        widest = 2 * radius_px(codes.shape)
        for joint in COLOURS:
            rows, columns = np.nonzero(codes == _code(joint))
            if rows.size and max(np.ptp(rows), np.ptp(columns)) > widest:
                raise not_a_map(self.name, "a keypoint's colour is not one disc")
        for limb in LIMB_COLOURS:
            if _width(codes == _code(limb)) > widest + _ROUNDING_PX:
                raise not_a_map(self.name, "a limb's colour is not one stick")


def radius_px(shape: tuple[int, ...]) -> int:
    """Radius of a keypoint and half width of a limb: OpenPose's 4 pixels at 512, in proportion."""
    return max(2, round(max(shape[:2]) / 128))


def _keypoints(segment: SegmentInput) -> Keypoints:
    """Given or found.

    Raises:
        FeatureMissingError: the segment has none, or there is neither a file nor a model.
    """
    if segment.segment == BACKGROUND:
        raise FeatureMissingError(
            f"a {segment.segment} has no pose: it is the target object's",
            remedy="choose L0 or another feature for it",
        )
    if segment.keypoints is not None:
        return segment.keypoints
    if segment.models.pose is None:
        raise FeatureMissingError(
            "no pose: there are neither keypoints nor a pose model",
            remedy="give a model with --pose-model, or keypoints with --keypoints",
        )
    found = segment.models.pose.keypoints(segment.pixels)
    if found is None:
        raise FeatureMissingError(
            "a segment shows no pose: the model finds no person on it",
            remedy="leave that photo out, give --keypoints, or choose L0 for the segment",
        )
    return found


def _on_segment(keypoints: Keypoints, mask: Mask) -> dict[int, tuple[int, int]]:
    """``(x, y)`` by keypoint, of those that were seen and are on the segment."""
    height, width = mask.shape
    side = 2 * round(_NEAR * max(mask.shape)) + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    places = {}
    for index, (x, y, confidence) in enumerate(keypoints):
        column, row = round(float(x)), round(float(y))
        inside = 0 <= column < width and 0 <= row < height
        if confidence >= LEAST_CONFIDENCE and inside and near[row, column]:
            places[index] = (column, row)
    return places


def _draw_limb(
    canvas: Image,
    first: tuple[int, int],
    second: tuple[int, int],
    radius: int,
    colour: tuple[int, ...],
) -> None:
    """An ellipse from one keypoint to the other, as OpenPose draws a limb."""
    dx, dy = first[0] - second[0], first[1] - second[1]
    centre = ((first[0] + second[0]) // 2, (first[1] + second[1]) // 2)
    axes = (int(math.hypot(dx, dy) / 2), radius)
    angle = int(math.degrees(math.atan2(dy, dx)))
    cv2.fillConvexPoly(canvas, cv2.ellipse2Poly(centre, axes, angle, 0, 360, 1), colour)


def _codes(image: Image) -> npt.NDArray[np.int64]:
    """Each pixel's colour as one number, ``(H, W)``."""
    wide = image.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _code(colour: tuple[int, ...]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _width(mask: Mask) -> float:
    """The least width, over all directions, of a strip that holds all True pixels' centres."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    if points is None:
        return 0.0
    hull = cv2.convexHull(points)[:, 0].astype(np.float64)
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    if len(hull) < 3:
        return 0.0
    normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / lengths[:, None]
    return float(np.ptp(hull @ normals.T, axis=0).min())
