"""Stage `controlnet`: objects on plain ground after canny edges."""

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

from spinml.home.pretrain.captions_bank import caption_tokens
from spinml.home.pretrain.diffusion import Conditioning, random_loss, sample, sampler
from spinml.home.pretrain.judge import judge_labels, load_judge
from spinml.home.pretrain.latents import load_latents
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import Pixels, draw, save_grid
from spinml.home.pretrain.unet import with_diffusion_betas
from spinml.home.pretrain.workspace import Workspace

LOW, HIGH = 100, 200


@dataclass(frozen=True)
class ControlNetSettings:
    """Sizes and rates; the conditioning embedding halves the edge image three times."""

    embedding: tuple[int, ...] = (16, 32, 64, 96)
    batch: int = 32
    rate: float = 5e-4
    variants: int = 6


def canny(image: Pixels, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """White edges of the object inside its mask on black, shape ``(h, w, 3)``."""
    edges = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), LOW, HIGH)
    edges[cv2.dilate(mask, np.ones((3, 3), np.uint8)) < 128] = 0
    return np.repeat(edges[..., None], 3, axis=2)


class ControlNetTask:
    """The diffusion loss of the frozen UNet steered by the ControlNet."""

    def __init__(
        self,
        control: ControlNetModel,
        unet: UNet2DConditionModel,
        frozen: Conditioning,
        data: Workspace,
        settings: ControlNetSettings,
    ) -> None:
        self.modules: dict[str, nn.Module] = {"controlnet": control}
        self.control, self.unet, self.frozen = control, unet, frozen
        self.data, self.settings = data, settings
        self.latents = load_latents(data, "object")
        self.tokens = caption_tokens(frozen.tokenizer, data.train, "object", settings.variants)
        self.judge = load_judge(data)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.control.parameters()), "lr": self.settings.rate}]

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        chosen = draw(len(self.latents), self.settings.batch, generator)
        variant = draw(self.settings.variants, self.settings.batch, generator)
        renders, device = self.data.train, self.data.device
        edges = np.stack([canny(renders.object[i], renders.object_mask[i]) for i in chosen])
        picture = edges_to_tensor(edges).to(device)
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
        test = self.data.test.slice(0, 32)
        pairs = zip(test.object, test.object_mask, strict=True)
        edges = np.stack([canny(image, mask) for image, mask in pairs])
        made = self._draw(edges, ["a dog, plain background"] * len(edges))
        rows = np.concatenate([test.object[:8], edges[:8], made[:8]])
        save_grid(logs / "controlnet.png", rows, columns=min(8, len(test)))
        guesses = judge_labels(self.judge, made)
        overlap = [_overlap(m, mask) for m, mask in zip(made, test.object_mask, strict=True)]
        return {
            "label_accuracy_without_words": float((guesses == test.label).mean()),
            "judge_on_renders": float((judge_labels(self.judge, test.object) == test.label).mean()),
            "silhouette_iou": float(np.mean(overlap)),
        }

    def _draw(self, edges: NDArray[np.uint8], prompts: list[str]) -> Pixels:
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
        return sample(pipe, prompts, image=list(edges_to_tensor(edges)))


def edges_to_tensor(edges: NDArray[np.uint8]) -> Tensor:
    """Edge images ``(b, h, w, 3)`` to ``(b, 3, h, w)`` in [0, 1]."""
    return torch.from_numpy(edges).permute(0, 3, 1, 2).float() / 255


def _overlap(made: Pixels, mask: NDArray[np.uint8]) -> float:
    """Intersection over union of what is not plain ground in an image and a mask."""
    away = np.abs(made.astype(np.int16) - 200).max(axis=2) > 30
    wanted = mask > 127
    return float((away & wanted).sum() / max(1, (away | wanted).sum()))


def run(data: Workspace, loop: LoopSettings, settings: ControlNetSettings | None = None) -> Figures:
    """Train and save the ControlNet."""
    settings = settings or ControlNetSettings()
    torch.manual_seed(loop.seed)
    unet = UNet2DConditionModel.from_pretrained(data.model("unet"))
    unet = unet.requires_grad_(False).to(data.device).eval()
    control = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=settings.embedding
    ).to(data.device)
    control.requires_grad_(True)
    task = ControlNetTask(control, unet, Conditioning.load(data), data, settings)
    loop = with_diffusion_betas(loop)
    figures = train("controlnet", task, loop, data.folder("controlnet"), data.logs)
    control.save_pretrained(data.folder("controlnet") / "model")
    return figures
