"""Whether a picture shows its target object well enough to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinml.images import bounding_box

if TYPE_CHECKING:
    from spinml.home.renderer import Frame

Mask = NDArray[np.bool_]
MIN_SHARE = {"dog": 0.025, "person": 0.018}
"""Least share of the picture."""
MAX_AT_BORDER = 0.01
BOTTLE_SIDES = (0.11, 0.6)
"""Longer side of a bottle's box over the picture's side, least and most."""
MIN_SHOWN = 0.002
"""Least share of the picture for a further object to count as shown: a sliver has no box."""
MIN_KEYPOINTS = 9
"""Keypoints of a person that must be seen; of those that face away half are hidden."""


def usable(frame: Frame, target: str) -> bool:
    """Whether the target object, called so by the scene, is large enough and hardly cut off."""
    if target == "bottle":
        return _fits(frame.mask)
    seen = frame.keypoints is None or int((frame.keypoints[:, 2] == 2).sum()) >= MIN_KEYPOINTS
    return seen and large(frame.mask, MIN_SHARE[target])


def shown(mask: Mask | None) -> bool:
    """Whether a further object is in the picture, more than a sliver of it."""
    return mask is not None and float(mask.mean()) >= MIN_SHOWN


def large(mask: Mask, min_share: float) -> bool:
    """Whether a mask ``(h, w)`` covers enough of the picture and hardly touches its border."""
    area = int(mask.sum())
    return area >= min_share * mask.size and _at_border(mask) <= MAX_AT_BORDER * area


def _fits(mask: Mask) -> bool:
    """Whether a bottle is of a size that is found, whole and hardly hidden."""
    if not mask.any() or _at_border(mask) > 0:
        return False
    x0, y0, x1, y1 = bounding_box(mask)
    longer = max(x1 - x0, y1 - y0) / mask.shape[0]
    full = mask.sum() / ((x1 - x0) * (y1 - y0))
    return BOTTLE_SIDES[0] <= longer <= BOTTLE_SIDES[1] and bool(full > 0.4)


def _at_border(mask: Mask) -> int:
    """Pixels of the mask at the picture's border."""
    return int(mask[0].sum() + mask[-1].sum() + mask[1:-1, 0].sum() + mask[1:-1, -1].sum())
