"""The stages EXPAND, PRIOR, FINETUNE and MERGE (DRAW and GENERATE: see draw, generate)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from spinml.config import ExpandConfig, FinetuneConfig, PromptConfig
from spinml.pipeline.stages import StageContext
from spinml.preference import BACKGROUND
from spinml.synthesis.captions import guess_labels, target_captions
from spinml.synthesis.checkpoint import Checkpoint, shared_checkpoint
from spinml.synthesis.controlnet import expand_features
from spinml.synthesis.diffusion import Order, Sampler, Tick
from spinml.synthesis.dreambooth import finetune
from spinml.synthesis.examples import ReferenceSet
from spinml.synthesis.inpainting import merge
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.references import (
    Reference,
    prepare_references,
    read_images,
    write_images,
)
from spinml.synthesis.seeds import derive_seed
from spinml.synthesis.sources import base_unet, inpainting_unet, save_unet, saved_unet
from spinml.synthesis.subjects import UNET


def run_expand(context: StageContext) -> dict[str, Any]:
    """EXPAND (§3.3, L1): input "features" (a segment's maps) → ``images/NNN.png``, RGB.

    Raises:
        CheckpointError: no ControlNet for the feature.
    """
    params, checkpoint, began = context.params, _checkpoint(context), time.monotonic()
    settings = ExpandConfig.model_validate(params["settings"])
    prompts = _prompts(context)
    features = read_images(context.inputs["features"])
    total = len(features) * settings.images_per_feature
    images = expand_features(
        checkpoint,
        features,
        settings,
        feature=params["feature"],
        prompt=prompts.of_segment(params["segment"], params["words"], tuned=False),
        negative=prompts.negative,
        seed=params["seed"],
        batch_size=params["batch_size"],
        tick=_tick(context, total),
    )
    write_images(context.out, images)
    return {
        "images": len(images),
        "images_per_s": round(len(images) / (time.monotonic() - began), 3),
    }


def run_prior(context: StageContext) -> dict[str, Any]:
    """PRIOR: class images of the base model for prior preservation → ``images/NNN.png``."""
    params, checkpoint, began = context.params, _checkpoint(context), time.monotonic()
    prompts = _prompts(context)
    count = int(params["count"])
    prompt = prompts.of_segment(params["segment"], params["words"], tuned=False)
    sampler = Sampler(
        checkpoint,
        steps=params["steps"],
        guidance_scale=params["guidance_scale"],
        negative=prompts.negative,
        batch_size=params["batch_size"],
    )
    seeds = [derive_seed(params["seed"], "class image", number) for number in range(count)]
    order = Order([prompt] * count, seeds)
    images = sampler.sample(checkpoint.unet, order, _tick(context, count))
    write_images(context.out, images)
    return {"images": count, "images_per_s": round(count / (time.monotonic() - began), 3)}


def run_finetune(context: StageContext) -> dict[str, Any]:
    """FINETUNE (§3.3, B.1): "references" and, with prior preservation, "class_images" → ``unet/``.

    The UNet is saved whole, LoRA fused, at half precision.
    """
    params, checkpoint = context.params, _checkpoint(context)
    prompts, settings = _prompts(context), FinetuneConfig.model_validate(params["settings"])
    segment, words, size_px = params["segment"], params["words"], params["resolution_px"]
    images = read_images(context.inputs["references"])
    references = prepare_references(images, segment, size_px)
    captions, guessed = _captions(checkpoint, references, context, settings)
    class_images = None
    if "class_images" in context.inputs:
        drawn = read_images(context.inputs["class_images"])
        prior = prepare_references(drawn, segment, size_px)
        caption = prompts.of_segment(segment, words, tuned=False)
        class_images = ReferenceSet(prior, [caption] * len(prior))
    tuning = finetune(
        checkpoint,
        ReferenceSet(references, captions),
        class_images,
        settings,
        seed=derive_seed(params["seed"], "fine-tune", segment),
        progress=context.progress,
    )
    save_unet(tuning.unet, context.out / UNET)
    return {
        "references": len(references),
        "class_images": 0 if class_images is None else len(class_images),
        "guessed_labels": guessed,
        "losses": tuning.losses,
        "steps_per_s": round(tuning.steps_per_s, 3),
        "prepare_s": round(tuning.prepare_s, 3),
    }


def run_merge(context: StageContext) -> dict[str, Any]:
    """MERGE (§3.3): inpainting + "tuned_unet" − base → ``unet/``.

    On a CPU, whatever the checkpoint's device, and of its parts the UNets alone.

    Raises:
        CheckpointError: the models do not fit each other.
    """
    config = context.config.checkpoint
    base = base_unet(config)
    tuned = saved_unet(context.inputs["tuned_unet"] / UNET, torch.float16)
    merged = inpainting_unet(config, int(base.config.in_channels), torch.float32)
    merge(merged, tuned, base)
    save_unet(merged, context.out / UNET)
    return {"parameters": merged.num_parameters()}


def _checkpoint(context: StageContext) -> Checkpoint:
    return shared_checkpoint(context.config.checkpoint, context.params["checkpoint"])


def _prompts(context: StageContext) -> Prompts:
    return Prompts(PromptConfig.model_validate(context.params["prompts"]))


def _tick(context: StageContext, total: int) -> Tick:
    return lambda done: context.progress(done, total, "images")


def _captions(
    checkpoint: Checkpoint,
    references: Sequence[Reference],
    context: StageContext,
    settings: FinetuneConfig,
) -> tuple[list[str], dict[str, int]]:
    """Captions of the references, and how many of them name each class ("unsure": none)."""
    params, prompts = context.params, _prompts(context)
    words, labels = params["words"], list(params["label_classes"])
    if params["segment"] == BACKGROUND:
        return [prompts.background(words, tuned=True)] * len(references), {}
    if not (settings.guess_labels and labels):
        return [prompts.unlabelled(words, tuned=True)] * len(references), {}
    encoder = checkpoint.judge("finetune.guess_labels to false")
    images = [reference.image for reference in references]
    guesses = guess_labels(encoder, images, prompts, words, labels)
    counts = Counter(guess or "unsure" for guess in guesses)
    return target_captions(prompts, words, guesses), dict(counts)
