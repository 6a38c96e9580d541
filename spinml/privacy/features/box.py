"""The layout box as an L1 feature (§3.2): where the object would stand, and nothing of it."""

from __future__ import annotations

import numpy as np

from spinml.errors import FeatureMissingError
from spinml.images import bounding_box
from spinml.privacy.extractor import (
    Image,
    SegmentInput,
    not_a_map,
    require_channels,
    require_values,
)


class Box:
    """The target object's bounding box: one filled white rectangle on black, in its square frame.

    The frame is centred on the object and scaled to it, so that the box tells how wide the object
    is for its height, and neither its size nor its place in the photo. A background has no box.
    """

    name = "box"

    def extract(self, segment: SegmentInput) -> Image:
        """See :class:`Extractor`: shape ``(H, W)``, 255 in the box, 0 elsewhere."""
        if segment.box is None:
            raise FeatureMissingError(
                f"a {segment.segment} has no box: it is the frame itself",
                remedy="choose L0 or another feature for it",
            )
        x0, y0, x1, y1 = segment.box
        out = np.zeros(segment.mask.shape, np.uint8)
        out[y0:y1, x0:x1] = 255
        return out

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: one axis-aligned rectangle; such a map holds four numbers."""
        require_channels(self.name, image, 1)
        require_values(self.name, image, (0, 255))
        white = image == 255
        if not white.any():
            raise not_a_map(self.name, "it is empty")
        x0, y0, x1, y1 = bounding_box(white)
        if not white[y0:y1, x0:x1].all():
            raise not_a_map(self.name, "its white is not one filled, upright rectangle")
