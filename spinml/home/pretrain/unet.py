"""Stage `unet`: latent diffusion of objects on plain ground, rooms and scenes from captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from spinml.home.pretrain.captions_bank import caption_tokens
from spinml.home.pretrain.diffusion import (
    Conditioning,
    attention_groups,
    caption_gap,
    prediction,
    random_loss,
    sample,
)
from spinml.home.pretrain.judge import judge_labels, load_judge
from spinml.home.pretrain.latents import load_latents
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import (
    CLASSES,
    KINDS,
    accuracy_by_noun,
    draw,
    save_grid,
    status_group,
)
from spinml.home.pretrain.workspace import Workspace

ROOM_PROMPTS = (
    "a bedroom",
    "a bedroom with blue walls",
    "a bedroom with green walls and a wooden floor",
    "a living room",
)


@dataclass(frozen=True)
class UNetSettings:
    """Sizes and rates of the UNet, and how often each kind of image is drawn.

    The first level has no attention: at 16 x 16 latents it would take half of the time.
    """

    channels: tuple[int, ...] = (96, 128, 128)
    layers: int = 1
    heads: int = 4
    groups: int = 16
    shares: tuple[float, float, float] = (0.6, 0.3, 0.1)
    batch: int = 32
    rate: float = 8e-4
    variants: int = 6
    judged: int = 80
    sample_steps: int = 20


def build(settings: UNetSettings, latent_channels: int, words: int) -> UNet2DConditionModel:
    """A UNet on 16 x 16 latents with cross-attention to words of `words` dimensions."""
    deeper = len(settings.channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        cross_attention_dim=words,
        attention_head_dim=settings.heads,
        norm_num_groups=settings.groups,
        down_block_types=["DownBlock2D", *["CrossAttnDownBlock2D"] * deeper],
        up_block_types=[*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"],
    )


class UNetTask:
    """The diffusion loss on cached latents of all kinds."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        frozen: Conditioning,
        data: Workspace,
        settings: UNetSettings,
    ) -> None:
        self.modules: dict[str, nn.Module] = {"unet": unet}
        self.unet, self.frozen, self.data, self.settings = unet, frozen, data, settings
        self.latents = {kind: load_latents(data, kind) for kind in KINDS}
        self.tokens = {
            kind: caption_tokens(frozen.tokenizer, data.train, kind, settings.variants)
            for kind in KINDS
        }
        self.judge = load_judge(data)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return attention_groups(self.unet, self.settings.rate)

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        latents, tokens = self._batch(generator)
        words = self.frozen.words(self.frozen.drop(tokens, generator))
        latents = latents.to(self.data.device)
        return random_loss(prediction(self.unet), latents, words, generator)

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents ``(b, c, h, w)`` and token ids ``(b, t)`` of kinds drawn by their shares."""
        settings = self.settings
        shares = torch.tensor(settings.shares)
        kinds = torch.multinomial(shares, settings.batch, replacement=True, generator=generator)
        latents, tokens = [], []
        for number, kind in enumerate(KINDS):
            count = int((kinds == number).sum())
            chosen = torch.from_numpy(draw(len(self.latents[kind]), count, generator))
            variant = torch.from_numpy(draw(settings.variants, count, generator))
            latents.append(self.latents[kind][chosen].float())
            tokens.append(self.tokens[kind][chosen, variant])
        return torch.cat(latents), torch.cat(tokens)

    def report(self, logs: Path) -> Figures:
        labels = np.arange(self.settings.judged) % len(CLASSES)
        pipe = self.frozen.pipeline(self.unet)
        steps = self.settings.sample_steps
        objects = sample(pipe, [CLASSES[label].prompt for label in labels], steps)
        in_room = [f"{CLASSES[label].words} in a bedroom" for label in labels[: len(CLASSES)]]
        rooms = [prompt for prompt in ROOM_PROMPTS for _ in range(4)]
        others = sample(pipe, rooms + in_room, steps, seed=1)
        save_grid(logs / "unet_objects.png", objects, columns=len(CLASSES))
        save_grid(logs / "unet_rooms_and_scenes.png", others)
        guesses = judge_labels(self.judge, objects)
        return accuracy_by_noun(guesses, labels, "label_accuracy") | self._gaps()

    def _gaps(self) -> Figures:
        """Held-out loss at t = 800 with the right caption against one of another status."""
        test = self.data.test.slice(0, 128)
        latents = load_latents(self.data, "object", "test")[: len(test)].float()
        other = [_another(int(label), shift) for shift, label in enumerate(test.label)]
        right, wrong = (
            self.frozen.words(self.frozen.tokens([CLASSES[label].prompt for label in chosen]))
            for chosen in (test.label, other)
        )
        latents = latents.to(self.data.device)
        losses = caption_gap(prediction(self.unet), latents, right, wrong)
        return {"loss_right_caption": losses[0], "loss_wrong_caption": losses[1]}


def _another(label: int, shift: int) -> int:
    """A class of `status_group` that is not `label`, another one for each `shift`."""
    others = [i for i in status_group(label) if i != label]
    return others[shift % len(others)]


def run(data: Workspace, loop: LoopSettings, settings: UNetSettings | None = None) -> Figures:
    """Train and save the UNet, from an unpacked checkpoint's weights if there are."""
    settings = settings or UNetSettings()
    torch.manual_seed(loop.seed)
    frozen = Conditioning.load(data)
    channels, words = frozen.vae.config.latent_channels, frozen.text.config.hidden_size
    if start := data.start("unet"):
        unet = UNet2DConditionModel.from_pretrained(start).to(data.device)
    else:
        unet = build(settings, channels, words).to(data.device)
    task = UNetTask(unet, frozen, data, settings)
    figures = train("unet", task, with_diffusion_betas(loop), data.folder("unet"), data.logs)
    unet.save_pretrained(data.folder("unet") / "model")
    return figures


def with_diffusion_betas(loop: LoopSettings) -> LoopSettings:
    """The same budget with a second beta of 0.98, which text conditioning wants."""
    from dataclasses import replace

    return replace(loop, betas=(0.9, 0.98))
