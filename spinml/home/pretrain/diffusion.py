"""What the three diffusion stages share: noise schedule, loss, conditioning and sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from spinml.home.pretrain.latents import load_vae
from spinml.home.pretrain.renders import Pixels
from spinml.home.pretrain.tokens import encode
from spinml.home.pretrain.workspace import Workspace

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
NOISY_END = 0.6
CAPTION_DROPOUT = 0.1

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noisy latents ``(b, c, h, w)``, time steps ``(b,)``, words ``(b, t, d)`` to a prediction."""


def sampler() -> DPMSolverMultistepScheduler:
    """The scheduler that the checkpoint ships, with the training's noise schedule."""
    return DPMSolverMultistepScheduler(**SCHEDULE)


@dataclass(frozen=True)
class Conditioning:
    """The frozen text tower, its tokenizer and the VAE."""

    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    vae: AutoencoderKL

    @classmethod
    def load(cls, data: Workspace) -> Conditioning:
        model = data.model("text_image")
        text = CLIPTextModel.from_pretrained(model / "text_encoder").requires_grad_(False)
        tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
        return cls(text.to(data.device).eval(), tokenizer, load_vae(data))

    @torch.no_grad()
    def words(self, tokens: Tensor) -> Tensor:
        """Token ids ``(b, t)`` to the last hidden state ``(b, t, d)``, in float32."""
        with torch.autocast(self.text.device.type, enabled=False):
            ids = tokens.to(self.text.device)
            return self.text(input_ids=ids).last_hidden_state  # type: ignore[no-any-return]

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Token ids of captions, shape ``(n, t)``."""
        return encode(self.tokenizer, captions)

    def drop(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Replace a tenth of the captions by the empty one, for guidance."""
        empty = self.tokens([""])
        dropped = torch.rand(len(tokens), 1, generator=generator) < CAPTION_DROPOUT
        return torch.where(dropped, empty, tokens)

    def pipeline(self, unet: UNet2DConditionModel) -> StableDiffusionPipeline:
        """The real pipeline around a UNet in training."""
        pipe = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text,
            tokenizer=self.tokenizer,
            unet=unet,
            scheduler=sampler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe


def noise_loss(
    predict: Predict, latents: Tensor, words: Tensor, times: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the v-prediction, one value a sample, shape ``(b,)``."""
    schedule = DDPMScheduler(**SCHEDULE)
    noisy = schedule.add_noise(latents, noise, times)
    wanted = schedule.get_velocity(latents, noise, times)
    error: Tensor = predict(noisy, times, words).float() - wanted
    return error.square().mean(dim=(1, 2, 3))


def random_loss(
    predict: Predict, latents: Tensor, words: Tensor, generator: torch.Generator
) -> Tensor:
    """`noise_loss` at random time steps that lean to the noisy end, a scalar."""
    count, device = len(latents), latents.device
    times = (1000 * torch.rand(count, generator=generator) ** NOISY_END).long().clamp(max=999)
    noise = torch.randn(latents.shape, generator=generator)
    return noise_loss(predict, latents, words, times.to(device), noise.to(device)).mean()


def attention_groups(module: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameters in two groups: cross-attention learns at twice the rate."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    cross = [p for name, p in named if ".attn2." in name]
    rest = [p for name, p in named if ".attn2." not in name]
    return [{"params": rest, "lr": rate}, {"params": cross, "lr": 2 * rate}]


@torch.no_grad()
def sample(
    pipe: Any,
    prompts: Sequence[str],
    steps: int,
    seed: int = 0,
    guidance: float = 3.0,
    batch: int = 16,
    **images: Sequence[Any],
) -> Pixels:
    """Images ``(n, h, w, 3)`` of any Stable Diffusion pipeline; `images` go in batches too."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(prompts), batch):
        cut = slice(start, start + batch)
        with torch.autocast(pipe.device.type, torch.bfloat16):
            result = pipe(
                prompt=list(prompts[cut]),
                guidance_scale=guidance,
                num_inference_steps=steps,
                generator=generator,
                output_type="np",
                **{name: list(value[cut]) for name, value in images.items()},
            )
        parts.append((np.nan_to_num(result.images) * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def caption_gap(
    predict: Predict, latents: Tensor, right: Tensor, wrong: Tensor, time: int = 800
) -> tuple[float, float]:
    """Loss with right and with wrong words at one time step and the same noise.

    They are equal where the words have no effect, however well the plain loss falls.
    """
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    times = torch.full((len(latents),), time, device=latents.device)
    noise = noise.to(latents.device)
    losses = [noise_loss(predict, latents, w, times, noise) for w in (right, wrong)]
    return float(losses[0].mean()), float(losses[1].mean())


def prediction(unet: nn.Module) -> Predict:
    """A UNet as a function of noisy latents, time steps and words."""

    def predict(noisy: Tensor, times: Tensor, words: Tensor) -> Tensor:
        result: Tensor = unet(noisy, times, encoder_hidden_states=words).sample
        return result

    return predict
