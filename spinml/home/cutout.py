"""A dog cut out of a picture and put on plain ground, by the one rule of ``spinml.images``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinml.images import Photo, cut_out, on_plain_ground


def plain_cutout(
    image: Photo, mask: NDArray[np.bool_], size_px: int
) -> tuple[Photo, NDArray[np.uint8]]:
    """The dog on plain ground, shape ``(size_px, size_px, 3)``, and its soft mask in 0..255.

    Args:
        image: RGB, shape ``(h, w, 3)``.
        mask: the dog, shape ``(h, w)``; must not be empty.
        size_px: side of the result.
    """
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to cut out")
    rgba = cut_out(image, mask, size_px)
    return on_plain_ground(rgba), np.ascontiguousarray(rgba[..., 3])
