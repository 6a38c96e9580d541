"""The plain-ground rule: how a dog is cut out of a picture and put on plain ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GROUND_RGB = (200, 200, 200)
MARGIN = 0.12


def on_plain_ground(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut the object out and centre it on plain ground.

    The crop is the square around the mask's box with ``MARGIN`` of its longer side on each side;
    what lies outside the picture is ground. The edge is softened by the resize alone.

    Args:
        image: RGB, shape ``(h, w, 3)``.
        mask: the object, shape ``(h, w)``; must not be empty.
        size_px: side of the result.

    Returns:
        The picture, shape ``(size_px, size_px, 3)``, and its mask in 0..255.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        raise ValueError("the mask is empty: there is nothing to cut out")
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
    side = round((1 + 2 * MARGIN) * max(width, height))
    y0, x0 = top - (side - height) // 2, left - (side - width) // 2
    alpha = _crop(mask.astype(np.float32)[..., None], y0, x0, side)
    colour = _crop(image.astype(np.float32), y0, x0, side)
    ground = np.array(GROUND_RGB, np.float32)
    flat = colour * alpha + ground * (1 - alpha)
    how = cv2.INTER_AREA if side >= size_px else cv2.INTER_LINEAR
    picture = cv2.resize(flat, (size_px, size_px), interpolation=how)
    soft = cv2.resize(alpha[..., 0], (size_px, size_px), interpolation=how)
    return (
        np.asarray(picture.round().clip(0, 255), np.uint8),
        np.asarray((soft * 255).round().clip(0, 255), np.uint8),
    )


def _crop(array: NDArray[np.float32], y0: int, x0: int, side: int) -> NDArray[np.float32]:
    """A square window, zero where it leaves the array; shape ``(side, side, c)``."""
    height, width, channels = array.shape
    out = np.zeros((side, side, channels), np.float32)
    top, left = max(0, y0), max(0, x0)
    bottom, right = min(height, y0 + side), min(width, x0 + side)
    out[top - y0 : bottom - y0, left - x0 : right - x0] = array[top:bottom, left:right]
    return out
