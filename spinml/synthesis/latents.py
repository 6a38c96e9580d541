"""Pixels to latents and back. Latents carry the VAE's scaling, as diffusion models see them.

The VAE holds float32 and computes in bfloat16 where the device does (half a grey level, against
twice the time); not in float16, in which some VAEs overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from spinml.images import Photo
from spinml.synthesis.compute import Compute


def to_tensor(images: Sequence[Photo]) -> Tensor:
    """RGB images ``(h, w, 3)`` of one size to float32 in [-1, 1], shape ``(b, 3, h, w)``."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_images(pixels: Tensor) -> list[Photo]:
    """Floats ``(b, 3, h, w)`` in [-1, 1], clipped to it, to RGB images ``(h, w, 3)``."""
    scaled = ((pixels.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(scaled.permute(0, 2, 3, 1).cpu().numpy())


def posterior(vae: AutoencoderKL, compute: Compute, pixels: Tensor) -> DiagonalGaussianDistribution:
    """The VAE's posterior of pixels ``(b, 3, h, w)`` in [-1, 1], float32, on the VAE's device."""
    with torch.no_grad(), _autocast(compute):
        moments = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.parameters
    return DiagonalGaussianDistribution(moments.float())


def scale(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """What the VAE's encoder gives → what diffusion models take."""
    scaled: Tensor = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
    return scaled


def decode(vae: AutoencoderKL, compute: Compute, latents: Tensor) -> list[Photo]:
    """Scaled latents ``(b, c, h, w)`` to RGB images."""
    raw = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    with torch.inference_mode(), _autocast(compute):
        return to_images(vae.decode(raw).sample)


def _autocast(compute: Compute) -> AbstractContextManager[object]:
    return compute.autocast() if compute.dtype is torch.bfloat16 else nullcontext()
