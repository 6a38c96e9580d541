"""Stage `text_image`: a contrastive encoder whose text tower conditions the diffusion model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from spinml.home.pretrain.captions_bank import caption_tokens, write_captions
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import (
    CLASSES,
    KINDS,
    Pixels,
    Renders,
    accuracy_by_noun,
    draw,
    status_group,
)
from spinml.home.pretrain.tokens import build_tokenizer, encode
from spinml.home.pretrain.tower import WIDTHS, ImageTower, augment
from spinml.home.pretrain.workspace import Workspace


@dataclass(frozen=True)
class TextImageSettings:
    """Sizes and rates of the two towers; the joint space has `joint` dimensions."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    joint: int = 128
    tower: tuple[int, ...] = WIDTHS
    merges: int = 400
    variants: int = 6
    batch: int = 96
    rate: float = 1e-3


def build_text(
    settings: TextImageSettings, tokenizer: CLIPTokenizer
) -> CLIPTextModelWithProjection:
    """A text tower whose token embeddings start wide, so that prompts differ from the start."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        projection_dim=settings.joint,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModelWithProjection(config)
    embeddings = model.get_input_embeddings()
    nn.init.normal_(embeddings.weight, std=0.5)
    return model


class TextImageTask:
    """CLIP's loss, with the same words of two images counted as both right."""

    def __init__(
        self,
        text: CLIPTextModelWithProjection,
        image: ImageTower,
        tokenizer: CLIPTokenizer,
        data: Workspace,
        settings: TextImageSettings,
    ) -> None:
        self.text, self.image, self.tokenizer, self.settings = text, image, tokenizer, settings
        self.scale = nn.ParameterDict({"logit_scale": nn.Parameter(torch.tensor(2.5))})
        self.modules: dict[str, nn.Module] = {"text": text, "image": image, "scale": self.scale}
        self.train_set, self.test_set, self.device = data.train, data.test, data.device
        self.tokens = {
            kind: caption_tokens(tokenizer, self.train_set, kind, settings.variants)
            for kind in KINDS
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        return [{"params": parameters, "lr": self.settings.rate}]

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        images, tokens = self._batch(generator)
        vectors = F.normalize(self.image(images.to(self.device)).float(), dim=-1)
        words = embed_tokens(self.text, tokens.to(self.device))
        logits = self.scale["logit_scale"].clamp(max=4.6).exp() * vectors @ words.T
        same = (tokens[:, None] == tokens[None]).all(dim=-1).float().to(self.device)
        target = same / same.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images ``(b, 3, h, w)`` in [0, 1], token ids ``(b, max_length)``; half are objects."""
        count = self.settings.batch
        shares = {
            "object": count // 2,
            "room": count // 4,
            "scene": count - count // 2 - count // 4,
        }
        images, tokens = [], []
        for kind, share in shares.items():
            chosen = draw(len(self.train_set), share, generator)
            variant = draw(self.settings.variants, share, generator)
            images.append(self.train_set.images(kind)[chosen])
            tokens.append(self.tokens[kind][chosen, variant])
        return augment(unit_images(np.concatenate(images)), generator), torch.cat(tokens)

    def report(self, logs: Path) -> Figures:
        prompts = [one.prompt for one in CLASSES]
        in_room = [f"{one.words} in a bedroom" for one in CLASSES]
        hidden = self._hidden(prompts)
        figures: Figures = {}
        for name, images, words in (
            ("status_objects", self.test_set.object, prompts),
            ("status_scenes", self.test_set.scene, in_room),
        ):
            guesses = self._zero_shot(images, words)
            figures |= accuracy_by_noun(guesses, self.test_set.label, name)
        return figures | {
            "caption_of_8_rooms": self._pick_caption("room"),
            "caption_of_8_objects": self._pick_caption("object"),
            "prompt_spread": float(hidden.std(dim=0).mean() / hidden.std()),
            "logit_scale": float(self.scale["logit_scale"].exp()),
        }

    def _hidden(self, prompts: Sequence[str]) -> Tensor:
        ids = encode(self.tokenizer, prompts).to(self.device)
        return self.text(input_ids=ids).last_hidden_state  # type: ignore[no-any-return]

    def _vectors(self, images: Pixels) -> Tensor:
        parts = [
            self.image(unit_images(images[i : i + 64]).to(self.device))
            for i in range(0, len(images), 64)
        ]
        return F.normalize(torch.cat(parts), dim=-1)

    def _zero_shot(self, images: Pixels, prompts: Sequence[str]) -> np.ndarray:
        """Of each held-out image the class of its nearest prompt, among its object's statuses."""
        words = embed_tokens(self.text, encode(self.tokenizer, prompts).to(self.device))
        scores = (self._vectors(images) @ words.T).cpu().numpy()
        groups = [status_group(label) for label in self.test_set.label]
        return np.array([g[int(row[g].argmax())] for row, g in zip(scores, groups, strict=True)])

    def _pick_caption(self, kind: str) -> float:
        """Share of the held-out images that pick their own caption out of eight others'."""
        captions = [row[0] for row in write_captions(self.test_set, kind, 1, seed=1)]
        words = embed_tokens(self.text, encode(self.tokenizer, captions).to(self.device))
        scores = self._vectors(self.test_set.images(kind)) @ words.T
        groups = [range(i, i + 8) for i in range(0, len(captions) - 7, 8)]
        right = [scores[g.start : g.stop, g.start : g.stop].argmax(1).cpu() for g in groups]
        return float(
            np.mean([(r == torch.arange(8)).float().mean() for r in right] or [torch.zeros(())])
        )


def embed_tokens(text: CLIPTextModelWithProjection, tokens: Tensor) -> Tensor:
    """Token ids ``(b, t)`` to normalised vectors in the joint space, shape ``(b, joint)``."""
    return F.normalize(text(input_ids=tokens).text_embeds.float(), dim=-1)


def unit_images(images: Pixels) -> Tensor:
    """Bytes ``(b, h, w, 3)`` to floats in [0, 1], shape ``(b, 3, h, w)``."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


class Embedder(nn.Module):
    """What `embedder.onnx` computes: RGB in [0, 1] to L2-normalised embeddings."""

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.tower(image), dim=-1)


def export_embedder(tower: ImageTower, path: Path, size_px: int = 128) -> None:
    """Write the image tower as ONNX: `image` ``(b, 3, 128, 128)`` to `embedding` ``(b, joint)``."""
    example = torch.rand(2, 3, size_px, size_px)
    program = torch.onnx.export(
        Embedder(tower).eval().cpu(),
        (example,),
        dynamo=True,
        input_names=["image"],
        output_names=["embedding"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        opset_version=18,
        verbose=False,
    )
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {path}")
    program.save(str(path), external_data=False)


def save(task: TextImageTask, folder: Path) -> None:
    """The folder that `TextImageEncoder` loads, the text encoder alone, and the image tower."""
    joint = folder / "text_image"
    task.text.save_pretrained(joint)
    task.tokenizer.save_pretrained(joint)
    export_embedder(task.image, joint / "embedder.onnx", task.train_set.scene.shape[1])
    scale = float(task.scale["logit_scale"].detach().exp())
    description = {
        "size_px": task.train_set.scene.shape[1],
        "dimensions": task.settings.joint,
        "logit_scale": scale,
    }
    (joint / "text_image.json").write_text(json.dumps(description, indent=1))
    encoder = CLIPTextModel(task.text.config)
    encoder.load_state_dict(_without_projection(task.text))
    encoder.save_pretrained(folder / "text_encoder")
    save_file(task.image.state_dict(), str(folder / "image_tower.safetensors"))


def _without_projection(text: CLIPTextModelWithProjection) -> dict[str, Tensor]:
    """The state of the text tower alone, under the names that `CLIPTextModel` uses."""
    prefix = "text_model."
    state = text.state_dict()
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


def run(data: Workspace, loop: LoopSettings, settings: TextImageSettings | None = None) -> Figures:
    """Learn the vocabulary, train both towers, save and export them.

    Never starts from a checkpoint: new captions have new words.
    """
    settings = settings or TextImageSettings()
    model = data.folder("text_image") / "model"
    folder = model / "tokenizer"
    if (data.folder("text_image") / "state.pt").exists():
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    else:
        tokenizer = build_tokenizer(_all_captions(data.train), settings.merges, folder)
    torch.manual_seed(loop.seed)
    text = build_text(settings, tokenizer).to(data.device)
    image = ImageTower(settings.joint, settings.tower).to(data.device)
    task = TextImageTask(text, image, tokenizer, data, settings)
    figures = train("text_image", task, loop, data.folder("text_image"), data.logs)
    save(task, model)
    return figures


def _all_captions(data: Renders) -> list[str]:
    return [text for kind in KINDS for row in write_captions(data, kind, 2, 7) for text in row]
