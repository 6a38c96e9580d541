"""dataset.json and the dataset card: what the synthetic dataset is, made of and good for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from spinml.pipeline.stages import Stage
from spinml.synthesis.dataset import summarise

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def finish_dataset(folder: Path, stage: Stage) -> dict[str, Any]:
    """Write ``dataset.json`` and ``README.md`` beside the shards of a GENERATE stage.

    Returns:
        The figures: see :func:`spinml.synthesis.dataset.summarise`, and what it was made from.
    """
    figures = summarise(folder) | {
        "seed": stage.params["seed"],
        "resolution_px": stage.params["settings"].get("image_px") or stage.params["resolution_px"],
    }
    (folder / "dataset.json").write_text(json.dumps(figures, indent=2))
    (folder / "README.md").write_text(_card(figures, stage.params), encoding="utf-8")
    return figures


def model_key(stage: Stage, role: str) -> str:
    """Which model played ``role``: the digest of the stage that made it, or the checkpoint's."""
    return stage.inputs.get(role) or f"base:{stage.params['checkpoint']}"


def _card(figures: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    header = {
        "pretty_name": f"Synthetic {' and '.join(params['target_objects'])} in "
        f"{params['background']}",
        "task_categories": ["image-classification", "object-detection"],
        "size_categories": [_size(int(figures["images"]))],
        "tags": ["synthetic", "spinml"],
        "configs": [{"config_name": "default", "data_files": "shard-*.parquet"}],
    }
    counts = "\n".join(f"| {name} | {count} |" for name, count in figures["counts"].items())
    rejected = ", ".join(f"{reason} {n}" for reason, n in figures["rejected"].items()) or "none"
    settings = params["settings"]
    pairs = zip(params["target_objects"], figures["target_models"], strict=True)
    models = ", ".join(f"{words} by `{model}`" for words, model in pairs)
    return f"""---
{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---

# {header["pretty_name"]}

Drawn by a diffusion model for one run of SpinML; no image in it is a photo. Target objects were
drawn on plain ground, the first from the prompt “object × class”, cut out, placed at random and
given a background by an inpainting model (§3.3 of the SpinML paper).

| class | images |
|---|---|
{counts}

- Resolution: {figures["resolution_px"]} px. Seed: {figures["seed"]}.
- Objects drawn: {figures["draws"]}; rejected as broken: {rejected}; left out after \
{settings["max_draws"]} draws: {figures["left_out"]}.
- Models: {models}; background by `{figures["background_model"]}`.
- Sampler: DPM-Solver++, {settings["steps"]} steps, guidance {settings["guidance_scale"]} for \
objects and {settings["background_guidance_scale"]} for backgrounds.

A label is the class in the prompt, not a person's judgement: a share of labels is wrong. If an
object or the background was shared at L1 or L2, images resemble what was shared: treat the dataset
as private to who asked for it.
"""


def _size(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "n>100K")
