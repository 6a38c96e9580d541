"""What fine-tuning learns of the private object, and what it forgets of the classes.

    python jobs/probe_finetuning.py --config cluster/laptop.yaml pet
    python jobs/probe_finetuning.py --config cluster/laptop.yaml human

For the base model and for each method: how many of the drawn objects pass the label check, the
check's mean probability of the wanted class, and SIM (eq. 2) of the drawings to the L2 references.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from spinml.config import ServerConfig, load_config
from spinml.preference import TARGET
from spinml.privacy.similarity import similarity
from spinml.reproduce.experiments import EXPERIMENTS, labelled, sweep_of
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.dreambooth import finetune
from spinml.synthesis.examples import ReferenceSet
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.references import prepare_references
from spinml.tradeoffs.home import PlayedHome, photos_of
from spinml.training.embedders import load_embedder

METHODS = ("lora", "full")


def l2_references(task: str, config: ServerConfig) -> tuple[Any, list[np.ndarray[Any, Any]]]:
    """The request, and the target's cut-outs as the device sends them at L2: RGBA."""
    experiment = EXPERIMENTS[task]
    (condition,) = labelled(experiment, ["L2,L2"]).values()
    request = condition.at(0)
    photos = photos_of(sweep_of(experiment, ["L2,L2"], 1, 4).photos, request)
    segments = PlayedHome(request, photos, config).sanitize(request).bundle.segments
    target = next(segment for segment in segments if segment.name == TARGET)
    files = [np.frombuffer(png, np.uint8) for png in target.images]
    decoded = [cv2.imdecode(file, cv2.IMREAD_UNCHANGED) for file in files]
    return request, [cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA) for image in decoded]


def probe(task: str, config: ServerConfig, each: int, seed: int) -> Iterator[list[str]]:
    """A row of the table for the base model and for each method."""
    checkpoint, prompts = Checkpoint.load(config.checkpoint), Prompts(config.prompts)
    settings, embed = config.generation, load_embedder(config).images
    request, cut_outs = l2_references(task, config)
    words, classes = request.target_objects[0], request.label_classes
    references = prepare_references(cut_outs, TARGET, config.checkpoint.resolution_px)
    private = embed([reference.image for reference in references])
    captions = [prompts.unlabelled(words, tuned=True)] * len(references)
    sampler = Sampler(
        checkpoint,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        negative=prompts.negative,
        batch_size=settings.batch_size,
    )
    if checkpoint.text_image is None:
        raise typer.BadParameter("the checkpoint has no text-image encoder to check labels with")
    wanted = [label for label in range(len(classes)) for _ in range(each)]
    checked = [*prompts.object_by_class(words, classes, tuned=False), *settings.negatives]
    for method in ("base model", *METHODS):
        began, unet = time.monotonic(), checkpoint.unet
        if tuned := method in METHODS:
            chosen = config.finetune.model_copy(update={"method": method})
            set_ = ReferenceSet(references, captions)
            unet = finetune(checkpoint, set_, None, chosen, seed=seed).unet.to(unet.dtype)
        took = time.monotonic() - began
        orders = [prompts.labelled(words, classes[label], tuned=tuned) for label in wanted]
        images = sampler.sample(unet, Order(orders, list(range(len(orders)))))
        rows = zip(checkpoint.text_image.guess(images, checked), wanted, strict=True)
        seen = [float(row[label]) for row, label in rows]
        passed = fmean(one >= settings.min_label_probability for one in seen)
        sim = similarity(private, embed(images))
        yield [method, f"{passed:.0%}", f"{fmean(seen):.3f}", f"{sim:.3f}", f"{took:.0f} s"]


def main(
    task: Annotated[str, typer.Argument(help="pet or human")],
    config: Annotated[Path | None, typer.Option(help="YAML; default: the defaults")] = None,
    each: Annotated[int, typer.Option(min=1, help="Drawings a class")] = 24,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw, check and print."""
    if task not in ("pet", "human"):
        raise typer.BadParameter(f"{task!r} has no classes; there are pet and human")
    table = Table("method", "label check passed", "mean probability", "SIM", "fine-tuning")
    for row in probe(task, load_config(config), each, seed):
        Console(stderr=True).print(" ".join(row), highlight=False)
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
