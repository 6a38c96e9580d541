"""DreamBooth with prior preservation (§3.3, B.1; Ruiz et al. 2023)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from torch import Tensor

from spinml.config import FinetuneConfig
from spinml.errors import StageError
from spinml.pipeline.stages import Progress, silent
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.examples import CachedExamples, Examples, ReferenceSet, UncachedExamples

MAX_GRADIENT_NORM = 1.0
LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
_LOSSES_KEPT = 100


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning gives.

    Attributes:
        unet: the customised UNet, float32; LoRA weights are fused into it.
        losses: mean loss of each of at most 100 equal parts of the training.
        steps_per_s: optimiser steps a second, without preparation.
        prepare_s: seconds to fill the caches.
    """

    unet: UNet2DConditionModel
    losses: list[float]
    steps_per_s: float
    prepare_s: float


def prior_preserving_loss(
    prediction: Tensor, target: Tensor, weight: Tensor, n_instance: int, prior_weight: float
) -> Tensor:
    """Mean squared error on references plus ``prior_weight`` times that on class images.

    Args:
        prediction, target: shape ``(b, c, h, w)``, references first.
        weight: ``(b, 1, h, w)``, 0 where a reference has a hole; scales nothing, only selects.
        n_instance: how many of the ``b`` are references; the rest are class images.

    Returns:
        A scalar. Each part is the mean over what its weights select; an empty part counts 0.
    """
    error = (prediction.float() - target.float()).pow(2)
    parts = [
        _weighted_mean(error[part], weight[part])
        for part in (slice(0, n_instance), slice(n_instance, None))
    ]
    return parts[0] + prior_weight * parts[1]


def _weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    weights = weight.to(error).expand_as(error)
    return (error * weights).sum() / weights.sum().clamp(min=1.0)


def finetune(
    checkpoint: Checkpoint,
    references: ReferenceSet,
    class_images: ReferenceSet | None,
    settings: FinetuneConfig,
    *,
    seed: int,
    progress: Progress = silent,
) -> Tuning:
    """Fine-tune a copy of the base UNet on ``references``.

    A step takes ``batch_size`` references and, with prior preservation, as many class images,
    ``gradient_accumulation`` times over. The text encoder and the VAE stay as they are. The same
    inputs and seed give the same weights on the same hardware.

    Args:
        class_images: images of the base model's own idea of the class; None: no prior preservation.

    Raises:
        StageError: the loss is not finite.
    """
    began = time.monotonic()
    kind = CachedExamples if settings.cache else UncachedExamples
    examples = kind(checkpoint, references, class_images, settings.batch_size, seed)
    prepare_s = time.monotonic() - began
    unet = _trainable(checkpoint.base_unet(), settings, seed)
    began = time.monotonic()
    with _plain_attention(unet):
        losses = _train(checkpoint, unet, examples, settings, progress)
    steps_per_s = settings.steps / (time.monotonic() - began)
    if settings.method == "lora":
        unet.fuse_lora()
        unet.unload_lora()
    unet.disable_gradient_checkpointing()
    return Tuning(unet.eval().requires_grad_(False), _thinned(losses), steps_per_s, prepare_s)


def _trainable(
    unet: UNet2DConditionModel, settings: FinetuneConfig, seed: int
) -> UNet2DConditionModel:
    """``unet`` with gradients where ``settings.method`` trains it."""
    unet.train()
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    if settings.method == "lora":
        unet.requires_grad_(False)
        rank = settings.lora_rank
        with _seeded(seed):
            unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=LORA_TARGETS))
    return unet


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's global generator seeded inside (peft initialises with it), as before outside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _plain_attention(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside, attention on a CPU is written out: there the fused kernel's backward is slower."""
    fused = unet.attn_processors
    if unet.device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        unet.set_attn_processor(fused)


def _train(
    checkpoint: Checkpoint,
    unet: UNet2DConditionModel,
    examples: Examples,
    settings: FinetuneConfig,
    progress: Progress,
) -> list[float]:
    """Run all optimiser steps; the loss of each."""
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=1e-2, fused=True
    )
    noiser = DDPMScheduler.from_config(checkpoint.scheduler(1).config)
    # Small gradients would be zero in float16.
    compute = checkpoint.compute
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype is torch.float16)
    losses: list[float] = []
    for step in range(settings.steps):
        parts = []
        for _ in range(settings.gradient_accumulation):
            loss = _loss(checkpoint, unet, examples, noiser, settings)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
        total = float(torch.stack(parts).sum())  # a GPU is waited for once a step
        if not total < float("inf"):
            raise StageError(
                f"fine-tuning's loss is {total} at step {step}, wanted a finite one",
                remedy="lower finetune.learning_rate or set checkpoint.dtype to float32",
            )
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
        progress(step + 1, settings.steps, "steps")
    return losses


def _loss(
    checkpoint: Checkpoint,
    unet: UNet2DConditionModel,
    examples: Examples,
    noiser: DDPMScheduler,
    settings: FinetuneConfig,
) -> Tensor:
    """The loss of one fresh batch, as its share of the optimiser step that it is a part of."""
    batch = examples.draw()
    device = checkpoint.compute.device
    noise = torch.randn(batch.latents.shape, generator=examples.generator).to(device)
    steps = torch.randint(
        noiser.config.num_train_timesteps, (len(noise),), generator=examples.generator
    ).to(device)
    noisy = noiser.add_noise(batch.latents, noise, steps)
    with checkpoint.compute.autocast():
        prediction = unet(noisy, steps, batch.embeddings, return_dict=False)[0]
    target = _target(noiser, batch.latents, noise, steps)
    loss = prior_preserving_loss(
        prediction, target, batch.weight, batch.n_instance, settings.prior_loss_weight
    )
    return loss / settings.gradient_accumulation


def _target(noiser: Any, latents: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
    """What the UNet was trained to predict.

    Raises:
        StageError: a prediction type that DreamBooth does not know.
    """
    kind = noiser.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: Tensor = noiser.get_velocity(latents, noise, steps)
        return velocity
    raise StageError(
        f"the scheduler's prediction_type is {kind!r}, wanted epsilon or v_prediction",
        remedy="use a checkpoint with one of these",
    )


def _thinned(losses: list[float]) -> list[float]:
    """Means of at most ``_LOSSES_KEPT`` equal parts."""
    parts = torch.tensor(losses).tensor_split(min(_LOSSES_KEPT, len(losses)))
    return [round(float(part.mean()), 6) for part in parts]
