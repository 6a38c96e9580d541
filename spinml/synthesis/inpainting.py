"""Background inpainting: the merged model (§3.3) and what it sees of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from spinml.errors import CheckpointError
from spinml.images import Mask, Photo
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.latents import posterior, scale, to_tensor

INPUT_WEIGHT = "conv_in.weight"


def merge(
    inpainting: UNet2DConditionModel, tuned: UNet2DConditionModel, base: UNet2DConditionModel
) -> UNet2DConditionModel:
    """Add ``tuned − base`` to every parameter of ``inpainting``, in place, and return it.

    ``inpainting`` and ``base`` in float32, or the difference drowns in rounding. The inpainting
    model's first convolution has more input channels (noisy latents, then mask and masked latents);
    the difference goes to those of the noisy latents, which come first.

    Raises:
        CheckpointError: the three do not have the same parameters in the same shapes.
    """
    theirs = [dict(model.named_parameters()) for model in (tuned, base)]
    problems = _mismatches(inpainting, *theirs)
    if problems:
        raise CheckpointError(
            f"the inpainting UNet cannot take the fine-tuning: {'; '.join(problems[:5])}",
            remedy="name an inpainting model trained from the same base in checkpoint.inpainting",
            details={"parameters": len(problems)},
        )
    with torch.no_grad():
        for name, weight in inpainting.named_parameters():
            change = theirs[0][name].float() - theirs[1][name]
            part = weight[:, : change.shape[1]] if name == INPUT_WEIGHT else weight
            part += change.to(part)
    return inpainting


def _mismatches(
    inpainting: UNet2DConditionModel, tuned: dict[str, Tensor], base: dict[str, Tensor]
) -> list[str]:
    """What keeps the three from being added, one line a parameter."""
    shapes = {name: tuple(weight.shape) for name, weight in inpainting.named_parameters()}
    if INPUT_WEIGHT in shapes and INPUT_WEIGHT in base:
        channels = base[INPUT_WEIGHT].shape[1]
        out, wide, *kernel = shapes[INPUT_WEIGHT]
        shapes[INPUT_WEIGHT] = (out, min(wide, channels), *kernel)
    problems = []
    for name in sorted(set(shapes) | set(tuned) | set(base)):
        found = [
            shapes.get(name),
            *(tuple(part[name].shape) if name in part else None for part in (tuned, base)),
        ]
        if len(set(found)) > 1:
            problems.append(f"{name} is {found[0]}, tuned {found[1]}, base {found[2]}")
    return problems


def inpainting_channels(
    checkpoint: Checkpoint, images: Sequence[Photo], keep: Sequence[Mask]
) -> Tensor:
    """What stands behind the noisy latents: mask and masked image, shape ``(n, 1 + c, h, w)``.

    Args:
        images: RGB ``(H, W, 3)``, of which only the pixels in ``keep`` count.
        keep: ``(H, W)``, True where the image stays and nothing is painted.

    The mask is 1 where the model paints, at latent resolution by nearest neighbour; painted pixels
    are mid-grey (0) before encoding; the posterior's mode is taken. This is what diffusers'
    inpainting pipeline does, but for the mode, which keeps it free of chance.
    """
    kept = torch.from_numpy(np.stack(keep))[:, None].float()
    masked = posterior(checkpoint.vae, checkpoint.compute, to_tensor(images) * kept).mode()
    size = (checkpoint.latent_size, checkpoint.latent_size)
    painted = F.interpolate(1.0 - kept, size=size, mode="nearest").to(masked)
    return torch.cat([painted, scale(checkpoint.vae, masked)], dim=1)
