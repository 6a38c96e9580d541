"""Reference images from L1 features: ControlNet draws what the feature map outlines (§3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from diffusers import ControlNetModel
from torch import Tensor

from spinml.config import ExpandConfig
from spinml.images import Photo
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.diffusion import Order, Sampler, Tick
from spinml.synthesis.seeds import derive_seed

FeatureMap = npt.NDArray[np.uint8]
"""Shape ``(H, W)`` or, RGB, ``(H, W, 3)``."""


@dataclass(frozen=True)
class ControlNetControl:
    """A ControlNet and one condition an image.

    Attributes:
        conditions: feature maps in [0, 1], shape ``(n, 3, H, W)``, in the model's type.
        scale: weight of the ControlNet's residuals.
    """

    model: ControlNetModel
    conditions: Tensor
    scale: float

    def residuals(self, latents: Tensor, step: Tensor, embeddings: Tensor) -> dict[str, object]:
        """What the UNet adds to its skip connections and its middle block."""
        repeats = len(latents) // len(self.conditions)
        down, middle = self.model(
            latents,
            step,
            encoder_hidden_states=embeddings,
            controlnet_cond=torch.cat([self.conditions] * repeats),
            conditioning_scale=self.scale,
            return_dict=False,
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def select(self, start: int, stop: int) -> ControlNetControl:
        return ControlNetControl(self.model, self.conditions[start:stop], self.scale)


def expand_features(
    checkpoint: Checkpoint,
    features: Sequence[FeatureMap],
    settings: ExpandConfig,
    *,
    feature: str,
    prompt: str,
    negative: str,
    seed: int,
    batch_size: int,
    tick: Tick | None = None,
) -> list[Photo]:
    """``settings.images_per_feature`` reference images for each feature map, in the maps' order.

    Args:
        features: maps of any size, grey or RGB; scaled to the checkpoint's resolution.
        feature: which L1 feature they are, e.g. "canny".

    Raises:
        CheckpointError: the checkpoint has no ControlNet for ``feature``.
    """
    model = checkpoint.controlnet(feature)
    side = checkpoint.config.resolution_px
    maps = torch.stack([_condition(feature_map, side) for feature_map in features])
    conditions = maps.repeat_interleave(settings.images_per_feature, dim=0)
    conditions = conditions.to(checkpoint.compute.device, checkpoint.compute.dtype)
    seeds = [derive_seed(seed, "expand", number) for number in range(len(conditions))]
    sampler = Sampler(
        checkpoint,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        negative=negative,
        batch_size=batch_size,
    )
    control = ControlNetControl(model, conditions, settings.conditioning_scale)
    order = Order([prompt] * len(seeds), seeds, control=control)
    return sampler.sample(checkpoint.unet, order, tick)


def _condition(feature_map: FeatureMap, side: int) -> Tensor:
    """A map ``(H, W[, 3])`` as the ControlNet takes it: ``(3, side, side)`` in [0, 1]."""
    shrinks = side < max(feature_map.shape)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(feature_map, (side, side), interpolation=method), np.float32)
    planes = scaled.transpose(2, 0, 1) if scaled.ndim == 3 else scaled
    return torch.from_numpy(np.ascontiguousarray(planes) / 255.0).expand(3, side, side)
