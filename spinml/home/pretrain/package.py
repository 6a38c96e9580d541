"""The stages' results as one checkpoint in diffusers' layout, at half precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from onnx import numpy_helper
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from spinml.home.pretrain.diffusion import sampler
from spinml.home.pretrain.loop import Figures
from spinml.home.pretrain.model_card import model_card
from spinml.home.pretrain.stages import MINUTES
from spinml.home.pretrain.workspace import Workspace

LIMIT_MB = 90

# Folder in the checkpoint: the class that loads it, the stage that made it, its folder there.
PARTS: dict[str, tuple[Any, str, str]] = {
    "vae": (AutoencoderKL, "vae", ""),
    "text_encoder": (CLIPTextModel, "text_image", "text_encoder"),
    "text_image": (CLIPTextModelWithProjection, "text_image", "text_image"),
    "unet": (UNet2DConditionModel, "unet", ""),
    "inpainting/unet": (UNet2DConditionModel, "inpaint", ""),
    "controlnet_canny": (ControlNetModel, "controlnet_canny", ""),
    "controlnet_pose": (ControlNetModel, "controlnet_pose", ""),
    "controlnet_box": (ControlNetModel, "controlnet_box", ""),
}


def model_index() -> dict[str, Any]:
    """What StableDiffusionPipeline.from_pretrained reads."""
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def half_precision(source: Path, target: Path) -> None:
    """Copy an ONNX model with its large weights in float16, each cast back where it is used.

    Inputs, outputs and arithmetic stay in float32; only the file halves.
    """
    model = onnx.load(str(source))
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 256:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(
                onnx.helper.make_node(
                    "Cast", [f"{name}.half"], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT
                )
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    forget_origin(model)
    for entry in model.metadata_props:
        if entry.key == "description":
            entry.value = "YOLOv8n-seg trained on SpinML's public renders"
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on nodes and values: stack traces with the trainer's paths."""
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        del item.metadata_props[:]
        item.doc_string = ""


def forget_folders(checkpoint: Path) -> None:
    """Drop from every configuration the folder that its model was loaded from."""
    for path in checkpoint.rglob("config.json"):
        content = json.loads(path.read_text())
        if content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2) + "\n")


def collect_figures(logs: Path) -> dict[str, Figures]:
    """The last figures of every stage that wrote some, with its steps and minutes."""
    figures: dict[str, Figures] = {}
    for stage in MINUTES:
        path = logs / f"{stage}.json"
        if path.exists():
            content = json.loads(path.read_text())
            figures[stage] = content["figures"]
            if history := content["history"]:  # an unpacked stage's figures have it all
                last = history[-1]  # the segmenter counts no steps
                spent = {name: last[name] for name in ("step", "minutes") if name in last}
                figures[stage] = figures[stage] | spent | _spent_before(logs, stage)
    return figures


def _spent_before(logs: Path, stage: str) -> Figures:
    """Steps and minutes of the earlier trainings whose weights the stage started from."""
    path = logs / f"{stage}.start.json"
    if not path.exists():
        return {}
    earlier = json.loads(path.read_text())
    return {
        f"{name}_of_start": earlier.get(key, 0) + earlier.get(f"{name}_of_start", 0)
        for name, key in (("steps", "step"), ("minutes", "minutes"))
        if key in earlier or f"{name}_of_start" in earlier
    }


def unpack_checkpoint(checkpoint: Path, data: Workspace) -> None:
    """Put a written checkpoint's parts where their stages left them, in float32.

    The stages unet, inpaint, controlnet_* and segmenter start from their own parts when they are
    run next; one that is not run is packaged as it was. A ControlNet that the checkpoint lacks
    starts anew. The UNet is kept as ``unet/start``, too: the inpainting UNet is to follow its
    change.
    """
    for name, (kind, stage, folder) in PARTS.items():
        if kind is ControlNetModel and not (checkpoint / name).exists():
            continue
        part = kind.from_pretrained(checkpoint / name, dtype=torch.float32)
        part.save_pretrained(data.folder(stage) / "model" / folder)
        if stage == "unet":
            part.save_pretrained(data.folder(stage) / "start")
    words = data.folder("text_image") / "model"
    CLIPTokenizer.from_pretrained(checkpoint / "tokenizer").save_pretrained(words / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(checkpoint / "tokenizer" / name, words / "tokenizer" / name)
    for name in ("text_image.json", "embedder.onnx"):
        shutil.copy(checkpoint / "text_image" / name, words / "text_image" / name)
    segmenter = data.folder("segmenter") / "model"
    segmenter.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint / "segmenter" / "segmenter.onnx", segmenter)
    _unpack_figures(checkpoint, data.logs)


def _unpack_figures(checkpoint: Path, logs: Path) -> None:
    """The stages' figures, as their own logs and as what later trainings start from."""
    logs.mkdir(parents=True, exist_ok=True)
    for stage, values in json.loads((checkpoint / "figures.json").read_text()).items():
        content = {"stage": stage, "figures": values, "history": []}
        (logs / f"{stage}.json").write_text(json.dumps(content, indent=1))
        (logs / f"{stage}.start.json").write_text(json.dumps(values, indent=1))


def write_checkpoint(data: Workspace, target: Path, limit_mb: float = LIMIT_MB) -> float:
    """Write the checkpoint beside `target`, then put it in its place; gives its size in MB."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, (kind, stage, folder) in PARTS.items():
        source = data.model(stage) / folder
        kind.from_pretrained(source, dtype=torch.float16).save_pretrained(partial / name)
    forget_folders(partial)
    _write_words(data, partial)
    (partial / "segmenter").mkdir()
    segmenter = data.model("segmenter") / "segmenter.onnx"
    half_precision(segmenter, partial / "segmenter" / "segmenter.onnx")
    sampler().save_pretrained(partial / "scheduler")
    (partial / "model_index.json").write_text(json.dumps(model_index(), indent=2) + "\n")
    figures = collect_figures(data.logs)
    (partial / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    size_mb = sum(f.stat().st_size for f in partial.rglob("*") if f.is_file()) / 1e6
    (partial / "MODEL_CARD.md").write_text(model_card(figures, len(data.train), size_mb))
    if size_mb > limit_mb:
        raise ValueError(f"{partial} is {size_mb:.1f} MB, wanted {limit_mb} at most")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return size_mb


def _write_words(data: Workspace, partial: Path) -> None:
    """The tokenizer, and what `TextImageEncoder` reads beside the text tower."""
    source = data.model("text_image")
    tokenizer = CLIPTokenizer.from_pretrained(source / "tokenizer")
    tokenizer.save_pretrained(partial / "text_image")
    tokenizer.save_pretrained(partial / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / "tokenizer" / name, partial / "tokenizer" / name)
    shutil.copy(source / "text_image" / "text_image.json", partial / "text_image")
    half_precision(
        source / "text_image" / "embedder.onnx", partial / "text_image" / "embedder.onnx"
    )
