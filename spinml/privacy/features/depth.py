"""Depth as an L1 feature (§3.2): near is bright, in coarse blocks."""

from __future__ import annotations

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
        seen = segment.mask & ~segment.hole
        if not seen.any():
            raise FeatureMissingError("no depth: the segment is empty")
        blocks = _block_means(segment.models.depth.nearness(segment.pixels), seen.astype(np.uint8))
        rows, columns = _block_of(*seen.shape)
        low, high = np.quantile(blocks[np.isfinite(blocks)], _ENDS)
        if not high > low:
            raise FeatureMissingError(
                "a segment has no depth: the model finds it flat",
                remedy="leave that photo out, or choose L0 for the segment",
            )
        levels = 1 + np.rint(254 * np.clip((np.nan_to_num(blocks) - low) / (high - low), 0, 1))
        return np.where(seen, levels[rows][:, columns], 0).astype(np.uint8)

    def check(self, image: Image) -> None:
        """See :class:`Extractor`: grey, and no detail finer than GRID blocks but for an outline."""
        require_channels(self.name, image, 1)
        if not image.any():
            raise not_a_map(self.name, "it is empty")
        rows, columns = _block_of(*image.shape)
        brightest = np.zeros((rows[-1] + 1, columns[-1] + 1), np.uint8)
        np.maximum.at(brightest, (rows[:, None], columns[None, :]), image)
        fine = (image != 0) & (image != brightest[rows][:, columns])
        if fine.any():
            raise not_a_map(
                self.name, f"{fine.mean():.0%} of it has detail finer than {GRID} blocks a side"
            )


def _block_of(height: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The block's row of every row, and its column of every column."""
    per_block = max(1.0, max(height, width) / GRID)
    return (
        (np.arange(height) / per_block).astype(np.int64),
        (np.arange(width) / per_block).astype(np.int64),
    )


def _block_means(nearness: Nearness, seen: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean over each block's seen pixels; NaN where none is."""
    if nearness.shape != seen.shape:
        raise ValueError(f"a depth of shape {nearness.shape} for pixels of {seen.shape}")
    rows, columns = _block_of(*seen.shape)
    block = rows[:, None] * (columns[-1] + 1) + columns[None, :]
    count = (int(rows[-1]) + 1) * (int(columns[-1]) + 1)
    sums = np.bincount(block.ravel(), (nearness * seen).ravel(), minlength=count)
    seen_in = np.bincount(block.ravel(), seen.ravel(), minlength=count)
    means = np.divide(sums, seen_in, out=np.full(count, np.nan), where=seen_in > 0)
    return np.asarray(means.reshape(int(rows[-1]) + 1, -1), np.float64)
