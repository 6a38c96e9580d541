"""Fine-tuning and sampling: steps and images a second."""

from __future__ import annotations

import time
from statistics import median

from spinml.benchmarks.bench import Bench, Row
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.dreambooth import finetune
from spinml.synthesis.examples import CachedExamples, Examples
from spinml.synthesis.prompts import Prompts


def benchmark_finetune(bench: Bench) -> list[Row]:
    """DreamBooth's optimiser steps a second with and without the caches, in turns.

    A batch is ``batch_size`` references and as many class images. What drawing batches still takes
    of a cached step is timed, too: no better cache could save more than that.
    """
    settings = bench.config.finetune.model_copy(update={"steps": bench.steps})
    references, class_images = bench.references(8), bench.references(8)
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(bench.repeats + 1):
        bench.tell(f"finetune: {_turn(bench, repeat)}")
        for cache in (True, False):
            chosen = settings.model_copy(update={"cache": cache})
            tuning = finetune(bench.checkpoint, references, class_images, chosen, seed=repeat)
            if repeat:  # the first pair warms up
                speeds[cache].append(tuning.steps_per_s)
    cached, uncached = median(speeds[True]), median(speeds[False])
    gain = median(with_ / without for with_, without in zip(*speeds.values(), strict=True))
    examples = CachedExamples(
        bench.checkpoint, references, class_images, settings.batch_size, seed=0
    )
    draws = bench.steps * settings.gradient_accumulation
    left = _seconds_of_draws(examples, draws) / bench.steps * cached
    return [
        Row("DreamBooth, cached", cached, "steps/s"),
        Row("DreamBooth, without caches", uncached, "steps/s"),
        Row("DreamBooth, gain of the caches", gain, "x", "≥ 1.5", gain >= 1.5),
        Row("Encoding, of a step without caches", 100 * (1 - 1 / gain), "%"),
        Row("Drawing, of a cached step", 100 * left, "%"),
    ]


def _seconds_of_draws(examples: Examples, count: int) -> float:
    """Seconds of ``count`` batches, none of them still being computed on a GPU at the end."""
    began = time.monotonic()
    for _ in range(count):
        examples.draw().latents.cpu()
    return time.monotonic() - began


def _turn(bench: Bench, repeat: int) -> str:
    return f"pair {repeat} of {bench.repeats}" if repeat else "a pair for warming up"


def benchmark_sampling(bench: Bench) -> list[Row]:
    """Images a second at batch 1 and at the configured batch, in turns."""
    batch = bench.config.generation.batch_size
    speeds: dict[int, list[float]] = {1: [], batch: []}
    for repeat in range(bench.repeats + 1):
        bench.tell(f"sampling: {_turn(bench, repeat)}")
        for size, count in ((1, 2), (batch, batch)):
            speed = images_per_s(bench, size, count)
            if repeat:
                speeds[size].append(speed)
    ratios = [large / one for large, one in zip(speeds[batch], speeds[1], strict=True)]
    return [
        Row("Sampling, batch 1", median(speeds[1]), "images/s"),
        Row(f"Sampling, batch {batch}", median(speeds[batch]), "images/s"),
        Row("Sampling, gain of the batch", median(ratios), "x", "≥ 2", median(ratios) >= 2),
    ]


def images_per_s(bench: Bench, batch_size: int, count: int) -> float:
    """Speed of ``count`` images, ``batch_size`` at once."""
    generation = bench.config.generation
    sampler = Sampler(
        bench.checkpoint,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        batch_size=batch_size,
    )
    prompt = Prompts(bench.config.prompts).labelled("dog", "eating", tuned=False)
    began = time.monotonic()
    sampler.sample(bench.checkpoint.unet, Order([prompt] * count, list(range(count))))
    return count / (time.monotonic() - began)
