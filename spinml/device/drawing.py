"""Boxes drawn into photos, for people."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from spinml.images import Photo

_COLOURS = ((47, 111, 106), (217, 142, 74), (94, 84, 142), (178, 58, 72), (110, 136, 40))
Box = tuple[float, float, float, float]


def draw_boxes(photo: Photo, boxes: Iterable[tuple[Box, int, str]]) -> Photo:
    """A copy of RGB ``photo`` ``(H, W, 3)`` with each box (x0, y0, x1, y1), its class's colour and
    its caption.

    Args:
        boxes: box, index of its class, caption; OpenCV draws the caption's ASCII letters alone.
    """
    drawn = np.ascontiguousarray(photo).copy()
    thickness = max(1, round(max(photo.shape[:2]) / 240))
    for (x0, y0, x1, y1), index, caption in boxes:
        colour = _COLOURS[index % len(_COLOURS)]
        first, last = (round(x0), round(y0)), (round(x1) - 1, round(y1) - 1)
        cv2.rectangle(drawn, first, last, colour, thickness)
        at = (round(x0) + thickness, max(round(y0) - 2 * thickness, 10))
        scale = 0.3 + 0.1 * thickness
        cv2.putText(drawn, caption, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return drawn
