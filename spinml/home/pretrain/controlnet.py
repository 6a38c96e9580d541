"""Stages `controlnet_<feature>`: objects on plain ground after a map of an L1 feature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from spinml.errors import FeatureMissingError
from spinml.home.pretrain.captions_bank import caption_tokens
from spinml.home.pretrain.diffusion import Conditioning, random_loss, sample, sampler
from spinml.home.pretrain.judge import judge_labels, load_judge
from spinml.home.pretrain.latents import load_latents
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import CLASSES, Pixels, Renders, accuracy_by_noun, draw, save_grid
from spinml.home.pretrain.unet import with_diffusion_betas
from spinml.home.pretrain.workspace import Workspace
from spinml.images import bounding_box
from spinml.privacy.extractor import SegmentInput
from spinml.privacy.features import get_feature


@dataclass(frozen=True)
class ControlNetSettings:
    """Sizes and rates; the conditioning embedding halves the edge image three times."""

    embedding: tuple[int, ...] = (16, 32, 64, 96)
    batch: int = 32
    rate: float = 5e-4
    variants: int = 6
    map_sizes: tuple[int, ...] = (128, 256)
    shown: int = 64
    sample_steps: int = 20


def feature_map(feature: str, renders: Renders, row: int, size_px: int) -> Pixels:
    """The map that a device makes of an object, as expanding takes it, ``(128, 128, 3)``.

    Args:
        size_px: side of the map on the device; it is scaled to the objects' size afterwards.
    """
    side = renders.object.shape[1]
    shape, factor = (size_px, size_px), size_px / side
    mask = cv2.resize(renders.object_mask[row], shape, interpolation=cv2.INTER_LINEAR) > 127
    pixels = cv2.resize(renders.object[row], shape, interpolation=cv2.INTER_LINEAR)
    keypoints = renders.keypoints[row] * np.array([factor, factor, 1], np.float32)
    keypoints[:, 2] = keypoints[:, 2] > 0
    segment = SegmentInput(
        "target",
        np.where(mask[..., None], pixels, 0).astype(np.uint8),
        mask,
        np.zeros(shape, bool),
        box=bounding_box(mask),
        keypoints=keypoints,
    )
    drawn = get_feature(feature).extract(segment)
    drawn = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    planes = drawn if drawn.ndim == 3 else np.repeat(drawn[..., None], 3, axis=2)
    return np.asarray(planes, np.uint8)


def feature_maps(
    feature: str, renders: Renders, sizes: tuple[int, ...]
) -> tuple[NDArray[np.int64], Pixels]:
    """Rows of the objects that have the feature ``(n,)``, and their maps ``(n, 128, 128, 3)``.

    Each is made at one of the `sizes`. A pose is a person's; a plain object may have no edge.
    """
    rows, maps = [], []
    for row in range(len(renders)):
        if feature == "pose" and not renders.keypoints[row].any():
            continue
        try:
            maps.append(feature_map(feature, renders, row, sizes[row % len(sizes)]))
        except FeatureMissingError:
            continue
        rows.append(row)
    if not rows:
        raise ValueError(f"no object in the renders has the feature {feature!r}")
    return np.array(rows), np.stack(maps)


class ControlNetTask:
    """The diffusion loss of the frozen UNet steered by the ControlNet."""

    def __init__(
        self,
        control: ControlNetModel,
        unet: UNet2DConditionModel,
        frozen: Conditioning,
        data: Workspace,
        settings: ControlNetSettings,
        feature: str,
    ) -> None:
        self.feature = feature
        self.modules: dict[str, nn.Module] = {"controlnet": control}
        self.control, self.unet, self.frozen = control, unet, frozen
        self.data, self.settings = data, settings
        self.latents = load_latents(data, "object")
        self.tokens = caption_tokens(frozen.tokenizer, data.train, "object", settings.variants)
        self.judge = load_judge(data)
        self.train_rows, self.train_maps = feature_maps(feature, data.train, settings.map_sizes)
        self.test_rows, self.test_maps = feature_maps(feature, data.test, settings.map_sizes)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.control.parameters()), "lr": self.settings.rate}]

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        picked = draw(len(self.train_rows), self.settings.batch, generator)
        variant = draw(self.settings.variants, self.settings.batch, generator)
        chosen, device = self.train_rows[picked], self.data.device
        picture = maps_to_tensor(self.train_maps[picked]).to(device)
        tokens = self.frozen.drop(self.tokens[chosen, variant], generator)

        def predict(noisy: Tensor, times: Tensor, words: Tensor) -> Tensor:
            return self._steered(noisy, times, words, picture)

        latents = self.latents[chosen].float().to(device)
        return random_loss(predict, latents, self.frozen.words(tokens), generator)

    def _steered(self, noisy: Tensor, times: Tensor, words: Tensor, picture: Tensor) -> Tensor:
        down, middle = self.control(
            noisy,
            times,
            encoder_hidden_states=words,
            controlnet_cond=picture,
            return_dict=False,
        )
        result: Tensor = self.unet(
            noisy,
            times,
            encoder_hidden_states=words,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return result

    def report(self, logs: Path) -> Figures:
        count = self.settings.shown
        maps, test = self.test_maps[:count], self.data.test.rows(self.test_rows[:count])
        made = self._draw(maps, [f"{_nouns(label)}, plain background" for label in test.label])
        rows = np.concatenate([test.object[:8], maps[:8], made[:8]])
        save_grid(logs / f"controlnet_{self.feature}.png", rows, columns=min(8, len(test)))
        overlap = [_overlap(m, mask) for m, mask in zip(made, test.object_mask, strict=True)]
        on_renders = judge_labels(self.judge, test.object)
        return {
            **accuracy_by_noun(judge_labels(self.judge, made), test.label, "label_without_words"),
            "judge_on_renders": float((on_renders == test.label).mean()),
            "silhouette_iou": float(np.mean(overlap)),
        }

    def _draw(self, maps: Pixels, prompts: list[str]) -> Pixels:
        frozen = self.frozen
        pipe = StableDiffusionControlNetPipeline(
            vae=frozen.vae,
            text_encoder=frozen.text,
            tokenizer=frozen.tokenizer,
            unet=self.unet,
            controlnet=self.control,
            scheduler=sampler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return sample(pipe, prompts, self.settings.sample_steps, image=list(maps_to_tensor(maps)))


def _nouns(label: int) -> str:
    """``a dog``: the class without its status."""
    return f"a {CLASSES[label].noun}"


def maps_to_tensor(maps: Pixels) -> Tensor:
    """Maps ``(b, h, w, 3)`` to ``(b, 3, h, w)`` in [0, 1]."""
    return torch.from_numpy(maps).permute(0, 3, 1, 2).float() / 255


def _overlap(made: Pixels, mask: NDArray[np.uint8]) -> float:
    """Intersection over union of what is not plain ground in an image and a mask."""
    away = np.abs(made.astype(np.int16) - 200).max(axis=2) > 30
    wanted = mask > 127
    return float((away & wanted).sum() / max(1, (away | wanted).sum()))


def _of_canny(data: Workspace, feature: str) -> Path | None:
    """The trained ControlNet of canny, for another feature to start from."""
    folder = data.folder("controlnet_canny")
    there = feature != "canny" and (folder / "state.pt").exists() and (folder / "model").exists()
    return folder / "model" if there else None


def run(
    data: Workspace,
    loop: LoopSettings,
    settings: ControlNetSettings | None = None,
    *,
    feature: str = "canny",
) -> Figures:
    """Train and save the ControlNet of a feature.

    It starts from an unpacked checkpoint's if there is one, else from that of canny, which has
    learned to look at a map: from the UNet's weights, a pose had no effect after 1,300 steps.
    """
    settings, stage = settings or ControlNetSettings(), f"controlnet_{feature}"
    torch.manual_seed(loop.seed)
    unet = UNet2DConditionModel.from_pretrained(data.model("unet"))
    unet = unet.requires_grad_(False).to(data.device).eval()
    if start := data.start(stage) or _of_canny(data, feature):
        control = ControlNetModel.from_pretrained(start)
    else:
        control = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=settings.embedding
        )
    control = control.to(data.device).requires_grad_(True)
    task = ControlNetTask(control, unet, Conditioning.load(data), data, settings, feature)
    figures = train(stage, task, with_diffusion_betas(loop), data.folder(stage), data.logs)
    control.save_pretrained(data.folder(stage) / "model")
    return figures
