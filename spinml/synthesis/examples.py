"""What DreamBooth learns from: reference and class images with captions, as batches of latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.diffusion import PromptEncoder, encode_prompts
from spinml.synthesis.latents import posterior, scale, to_tensor
from spinml.synthesis.references import Reference

_ENCODE_BATCH = 8


@dataclass(frozen=True)
class ReferenceSet:
    """Images of one size and a caption for each."""

    references: Sequence[Reference]
    captions: Sequence[str]

    def __len__(self) -> int:
        return len(self.references)


@dataclass(frozen=True)
class Batch:
    """One batch; references first, then class images.

    Attributes:
        latents: ``(b, c, h, w)``, scaled, float32.
        embeddings: ``(b, tokens, width)`` of the captions.
        weight: ``(b, 1, h, w)``, 0 in holes.
        n_instance: how many of the ``b`` are references.
    """

    latents: Tensor
    embeddings: Tensor
    weight: Tensor
    n_instance: int


class Examples(Protocol):
    """A source of batches; all chance comes from ``generator``."""

    generator: torch.Generator

    def draw(self) -> Batch: ...


class _Base:
    """Chooses which images stand in a batch and which of them are mirrored."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        references: ReferenceSet,
        class_images: ReferenceSet | None,
        batch_size: int,
        seed: int,
    ) -> None:
        self.checkpoint = checkpoint
        self.sets = [references] if class_images is None else [references, class_images]
        self.n_instance = min(batch_size, len(references))
        self.generator = torch.Generator("cpu").manual_seed(seed)
        everything = [item for part in self.sets for item in part.references]
        self.captions = [caption for part in self.sets for caption in part.captions]
        self.pixels = to_tensor([item.image for item in everything])
        self.weight = _latent_weight(everything, checkpoint.latent_size)

    def choose(self) -> tuple[list[int], Tensor]:
        """Indices of a batch's images, and whether each is mirrored ``(b,)``."""
        chosen, offset = [], 0
        for part in self.sets:
            order = torch.randint(len(part), (self.n_instance,), generator=self.generator)
            chosen += [offset + int(index) for index in order]
            offset += len(part)
        return chosen, torch.rand(len(chosen), generator=self.generator) < 0.5

    def batch(self, latents: Tensor, embeddings: Tensor, chosen: list[int], flip: Tensor) -> Batch:
        device = self.checkpoint.compute.device
        weight = _mirrored(self.weight[chosen], flip).to(device)
        return Batch(latents.float().to(device), embeddings, weight, self.n_instance)


class CachedExamples(_Base):
    """Encodes every image (and its mirror image) and every caption once, before training.

    The VAE's posterior is cached, not a sample of it: each step draws its own latents, as without
    the cache.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        references: ReferenceSet,
        class_images: ReferenceSet | None,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(checkpoint, references, class_images, batch_size, seed)
        both = torch.stack([self.pixels, self.pixels.flip(-1)], dim=1).flatten(0, 1)
        parts = [
            posterior(
                checkpoint.vae, checkpoint.compute, both[start : start + _ENCODE_BATCH]
            ).parameters
            for start in range(0, len(both), _ENCODE_BATCH)
        ]
        self.moments = torch.cat(parts)
        self.embeddings = PromptEncoder(checkpoint)(self.captions)

    def draw(self) -> Batch:
        chosen, flip = self.choose()
        rows = [2 * index + int(mirrored) for index, mirrored in zip(chosen, flip, strict=True)]
        latents = _sample(self.checkpoint, self.moments[rows], self.generator)
        return self.batch(latents, self.embeddings[chosen], chosen, flip)


class UncachedExamples(_Base):
    """Encodes images and captions in every step, as diffusers' reference script does.

    It exists to be measured against (jobs/benchmark.py).
    """

    def draw(self) -> Batch:
        chosen, flip = self.choose()
        pixels = _mirrored(self.pixels[chosen], flip)
        moments = posterior(self.checkpoint.vae, self.checkpoint.compute, pixels).parameters
        latents = _sample(self.checkpoint, moments, self.generator)
        captions = [self.captions[index] for index in chosen]
        return self.batch(latents, encode_prompts(self.checkpoint, captions), chosen, flip)


def _sample(checkpoint: Checkpoint, moments: Tensor, generator: torch.Generator) -> Tensor:
    """Scaled latents ``(b, c, h, w)`` drawn from posteriors ``(b, 2 c, h, w)``."""
    drawn = DiagonalGaussianDistribution(moments).sample(generator=generator)
    return scale(checkpoint.vae, drawn)


def _mirrored(images: Tensor, flip: Tensor) -> Tensor:
    """``images`` ``(b, c, h, w)``, mirrored left to right where ``flip`` ``(b,)``."""
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def _latent_weight(references: Sequence[Reference], size: int) -> Tensor:
    """Weights at latent resolution ``(n, 1, size, size)``: 1 only where a whole cell is seen."""
    weights = torch.from_numpy(np.stack([reference.weight for reference in references]))[:, None]
    hidden = F.adaptive_max_pool2d(1.0 - weights, size)
    return (hidden < 0.5).float()
