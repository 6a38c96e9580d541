"""Depth as an L1 feature (§3.2): near is bright, in coarse blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spinml.errors import FeatureMissingError
from spinml.privacy.extractor import Image, Nearness, SegmentInput, not_a_map, require_channels

GRID = 64
"""Blocks along the longer side: as fine as the latents of Stable Diffusion at 512 pixels."""
_ENDS = (0.02, 0.98)
"""Quantiles of nearness that become black and white."""


class Depth:
    """Relative inverse depth of the segment by the device's depth model; 0 where it is not.

    It leaves in blocks, at most GRID along its longer side. The check holds arrivals to that, and
    cannot do more: a grey photo shrunk to GRID blocks passes. What it rules out is that a photo
    travels in any finer detail, or in colour.
    """

    name = "depth"

    def extract(self, segment: SegmentInput) -> Image:
        """See :class:`Extractor`: shape ``(H, W)``; 1 (far) to 255 (near) on the segment."""
        if segment.models.depth is None:
            raise FeatureMissingError(
                "no depth: there is no depth model",
                remedy="give one (MiDaS or Depth Anything as ONNX) with --depth-model",
            )
        means = _block_means(segment.models.depth.nearness(segment.pixels), segment)
        seen = np.isfinite(means)
        if not seen.any():
            raise FeatureMissingError("no depth: the segment is empty")
        low, high = np.quantile(means[seen], _ENDS)
        if not high > low:
            raise FeatureMissingError(
                "a segment has no depth: the model finds it flat",
                remedy="leave that photo out, or choose L0 for the segment",
            )
        levels = 1 + np.rint(254 * np.clip((np.nan_to_num(means) - low) / (high - low), 0, 1))
        rows, columns = _block_of(*segment.mask.shape)
        return np.where(seen, levels, 0).astype(np.uint8)[rows][:, columns]

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: grey, and no detail finer than GRID blocks."""
        require_channels(self.name, image, 1)
        if not image.any():
            raise not_a_map(self.name, "it is empty")
        rows, columns = _block_of(*image.shape)
        first = np.searchsorted(rows, rows), np.searchsorted(columns, columns)
        fine = float(np.mean(image != image[first[0]][:, first[1]]))
        if fine:
            raise not_a_map(
                self.name, f"{fine:.1%} of it has detail finer than {GRID} blocks a side"
            )


def _block_of(height: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The block's row of every row, and its column of every column."""
    per_block = max(1.0, max(height, width) / GRID)
    return (
        (np.arange(height) / per_block).astype(np.int64),
        (np.arange(width) / per_block).astype(np.int64),
    )


def _block_means(nearness: Nearness, segment: SegmentInput) -> npt.NDArray[np.float64]:
    """Mean over each block's pixels of the segment; NaN where none is, or the hole is."""
    if nearness.shape != segment.mask.shape:
        raise ValueError(f"a depth of shape {nearness.shape} for pixels of {segment.mask.shape}")
    rows, columns = _block_of(*segment.mask.shape)
    shape = int(rows[-1]) + 1, int(columns[-1]) + 1
    block = (rows[:, None] * shape[1] + columns[None, :]).ravel()

    def total(of: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums = np.bincount(block, of.ravel(), minlength=shape[0] * shape[1])
        return sums.reshape(shape).astype(np.float64)

    count, erased = total(segment.mask), total(segment.hole)
    ours = (count > 0) & (erased == 0)
    sums = total(np.where(segment.mask, nearness, np.float32(0)))
    return np.asarray(np.divide(sums, count, out=np.full(shape, np.nan), where=ours), np.float64)
