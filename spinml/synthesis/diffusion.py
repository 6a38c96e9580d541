"""Batched sampling in which an image depends on its seed and prompt, not on its batch.

diffusers' pipelines are not used here because StableDiffusionInpaintPipeline refuses UNets of other
than 4 or 9 input channels (the bundled checkpoint's VAE has its own number of channels), and
because plain, inpainting and ControlNet sampling are one loop below.

Noise is drawn on the CPU from one generator an image, and DPM-Solver++ adds none later. In float32
an image is the same in any batch up to about 1e-4 of the value range; in bfloat16 matrix products
round differently by batch size and images may differ by a few grey levels. The same shard with the
same batch size on the same hardware is the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from spinml.images import Photo
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.latents import decode

Tick = Callable[[int], None]
"""Told how many images are done after each batch; may raise to stop."""


class Control(Protocol):
    """What steers the UNet from beside, such as a ControlNet."""

    def residuals(self, latents: Tensor, step: Tensor, embeddings: Tensor) -> dict[str, object]:
        """Keyword arguments for the UNet; batch axis as in ``latents``."""

    def select(self, start: int, stop: int) -> Control:
        """The control of images ``start`` to ``stop``."""


class PromptEncoder:
    """Prompts to embeddings, each computed once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._cache: dict[str, Tensor] = {}

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings ``(b, tokens, width)`` of ``prompts`` in the compute type."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._cache]
        if missing:
            self._cache |= dict(
                zip(missing, encode_prompts(self._checkpoint, missing), strict=True)
            )
        return torch.stack([self._cache[prompt] for prompt in prompts])


def encode_prompts(checkpoint: Checkpoint, prompts: Sequence[str]) -> Tensor:
    """Embeddings ``(b, tokens, width)`` of ``prompts``, which are cut at the encoder's length."""
    ids = checkpoint.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=checkpoint.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        embeddings: Tensor = checkpoint.text_encoder(ids.to(checkpoint.compute.device))[0]
    return embeddings


@dataclass(frozen=True)
class Order:
    """Images to draw.

    Attributes:
        prompts: one an image.
        seeds: one an image.
        extra: channels that stand behind the noisy latents, ``(n, e, h, w)``; what an inpainting
            UNet sees of the image around the mask.
        control: a control of ``n`` images.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    extra: Tensor | None = None
    control: Control | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def select(self, start: int, stop: int) -> Order:
        """The order for images ``start`` to ``stop``."""
        return Order(
            self.prompts[start:stop],
            self.seeds[start:stop],
            None if self.extra is None else self.extra[start:stop],
            None if self.control is None else self.control.select(start, stop),
        )


class Sampler:
    """Draws images with DPM-Solver++ and classifier-free guidance.

    Args:
        steps: solver steps an image.
        guidance_scale: 1 or less switches guidance off and halves the cost.
        negative: prompt that guidance steers away from.
        batch_size: images computed at once.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        steps: int,
        guidance_scale: float,
        negative: str = "",
        batch_size: int = 16,
    ) -> None:
        self.checkpoint = checkpoint
        self.steps, self.guidance_scale, self.negative = steps, guidance_scale, negative
        self.batch_size = batch_size
        self.encode = PromptEncoder(checkpoint)

    def sample(
        self, unet: UNet2DConditionModel, order: Order, tick: Tick | None = None
    ) -> list[Photo]:
        """The images of ``order``, RGB ``(H, W, 3)``, in its order."""
        images: list[Photo] = []
        for start in range(0, len(order), self.batch_size):
            latents = self._denoise(unet, order.select(start, start + self.batch_size))
            images += decode(self.checkpoint.vae, self.checkpoint.compute, latents)
            if tick:
                tick(len(images))
        return images

    def _denoise(self, unet: UNet2DConditionModel, order: Order) -> Tensor:
        """Latents ``(b, c, h, w)`` in float32."""
        device, dtype = self.checkpoint.compute.device, self.checkpoint.compute.dtype
        scheduler = self.checkpoint.scheduler(self.steps)
        noise = initial_noise(self.checkpoint.latent_shape, order.seeds).to(device)
        latents: Tensor = noise * scheduler.init_noise_sigma
        guided = self.guidance_scale > 1.0
        embeddings = self.encode(order.prompts)
        if guided:
            embeddings = torch.cat([self.encode([self.negative] * len(order)), embeddings])
        with torch.inference_mode():
            for step in scheduler.timesteps:
                seen = scheduler.scale_model_input(latents, step).to(dtype)
                prediction = self._predict(unet, seen, step, embeddings, order)
                latents = scheduler.step(prediction.float(), step, latents).prev_sample
        return latents

    def _predict(
        self,
        unet: UNet2DConditionModel,
        latents: Tensor,
        step: Tensor,
        embeddings: Tensor,
        order: Order,
    ) -> Tensor:
        """The guided prediction for ``latents`` ``(b, c, h, w)``."""
        repeats = len(embeddings) // len(latents)
        latents = torch.cat([latents] * repeats)
        steering: dict[str, object] = {}
        if order.control is not None:
            steering = order.control.residuals(latents, step, embeddings)
        if order.extra is not None:
            extra = torch.cat([order.extra.to(latents)] * repeats)
            latents = torch.cat([latents, extra], dim=1)
        prediction: Tensor = unet(
            latents, step, encoder_hidden_states=embeddings, return_dict=False, **steering
        )[0]
        if repeats == 1:
            return prediction
        without, conditioned = prediction.float().chunk(2)
        return torch.lerp(without, conditioned, self.guidance_scale)


def initial_noise(shape: tuple[int, ...], seeds: Sequence[int]) -> Tensor:
    """Unit Gaussian noise ``(b, *shape)``; each image's from its own seed, on the CPU."""
    drawn = [
        torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds
    ]
    return torch.stack(drawn)
