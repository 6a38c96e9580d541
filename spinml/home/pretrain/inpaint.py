"""Stage `inpaint`: the UNet with 1 mask and 16 masked-image channels more, which fills backgrounds.

Masks are as in diffusers: 1 is repainted, and the masked image is 0 there, in [-1, 1].
Every weight but `conv_in`'s added channels starts from the UNet, so that a background model tuned
from the UNet merges as inpaint + tuned - base.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from spinml.home.pretrain.captions_bank import caption_tokens
from spinml.home.pretrain.diffusion import (
    Conditioning,
    attention_groups,
    prediction,
    random_loss,
    sampler,
)
from spinml.home.pretrain.latents import encode_images, load_latents
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import Pixels, Renders, draw, save_grid, to_pixels
from spinml.home.pretrain.unet import with_diffusion_betas
from spinml.home.pretrain.workspace import Workspace

GREY = 127.5
PASTED_SCALES = (0.2, 0.9)
"""Side of a pasted cut-out over the picture's, about as generation places objects."""


@dataclass(frozen=True)
class InpaintSettings:
    """How many examples of each sort are prepared, and how they are trained."""

    scenes: int = 3500
    pasted: int = 4000
    boxes: int = 1500
    batch: int = 32
    rate: float = 4e-4
    variants: int = 4
    sample_steps: int = 20


def widen(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy of a UNet whose `conv_in` takes mask and masked image too, with zero weights."""
    channels = unet.config.in_channels
    wide = UNet2DConditionModel.from_config(unet.config, in_channels=2 * channels + 1)
    state = unet.state_dict()
    first = torch.zeros_like(wide.conv_in.weight)
    first[:, :channels] = state["conv_in.weight"]
    wide.load_state_dict(state | {"conv_in.weight": first})
    return wide


@torch.no_grad()
def follow(
    wide: UNet2DConditionModel, tuned: UNet2DConditionModel, base: UNet2DConditionModel
) -> None:
    """Add to an inpainting UNet what its UNet has learned since: wide + tuned - base, in place."""
    before, after = base.state_dict(), tuned.state_dict()
    for name, weight in wide.state_dict().items():
        change = after[name] - before[name]
        known = weight[:, : change.shape[1]] if name == "conv_in.weight" else weight
        known += change


def paste(
    room: Pixels, cut: Pixels, cut_mask: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.uint8]]:
    """An object cut out of its picture, scaled and put somewhere in a room: image and its mask."""
    size_px = len(room)
    scale = rng.uniform(*PASTED_SCALES)
    shift = rng.uniform(-0.5, 0.5, 2) * (1 - scale) * size_px
    centre = (1 - scale) * size_px / 2
    matrix = np.array([[scale, 0, centre + shift[0]], [0, scale, centre + shift[1]]])
    moved = cv2.warpAffine(cut, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(cut_mask, matrix, (size_px, size_px), flags=cv2.INTER_NEAREST)
    image = np.where(mask[..., None] > 127, moved, room).astype(np.uint8)
    return image, mask


def random_box(size_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask of one box of a quarter to the whole of the side, 255 inside."""
    height, width = (int(v) for v in rng.uniform(0.25, 1.0, 2) * size_px)
    top, left = (int(rng.integers(0, size_px - side + 1)) for side in (height, width))
    mask = np.zeros((size_px, size_px), np.uint8)
    mask[top : top + height, left : left + width] = 255
    return mask


def hide(images: Pixels, repaint: NDArray[np.uint8]) -> Pixels:
    """Images ``(n, h, w, 3)`` with the pixels to repaint at the middle grey."""
    hidden: Pixels = np.where(repaint[..., None] > 127, np.uint8(round(GREY)), images)
    return hidden.astype(np.uint8)


def to_latent_mask(repaint: NDArray[np.uint8], size: int) -> Tensor:
    """Masks ``(n, h, w)`` in bytes to ``(n, 1, size, size)`` of 0 and 1, as diffusers does."""
    mask = torch.from_numpy((repaint > 127).astype(np.float32))[:, None]
    return F.interpolate(mask, size=(size, size))


@dataclass(frozen=True)
class Examples:
    """Target latents ``(n, c, h, w)``, masks ``(n, 1, h, w)``, masked latents, captions' ids."""

    latents: Tensor
    masks: Tensor
    masked: Tensor
    tokens: Tensor

    @classmethod
    def joined(cls, parts: list[Examples]) -> Examples:
        """All parts one after another."""
        names = ("latents", "masks", "masked", "tokens")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def prepare(data: Workspace, frozen: Conditioning, settings: InpaintSettings) -> Examples:
    """Examples of all three sorts from the training renders; encoded once and kept on disk."""
    path = data.folder("inpaint") / "examples.pt"
    if path.exists():
        return Examples(**torch.load(path, weights_only=True))
    renders, rng = data.train, np.random.default_rng(5)
    rooms = caption_tokens(frozen.tokenizer, renders, "room", settings.variants, seed=3)
    scenes = caption_tokens(frozen.tokenizer, renders, "scene", settings.variants, seed=3)
    parts = [
        _around_objects(data, frozen, settings.scenes, rooms),
        _around_pasted(data, frozen, settings.pasted, rooms, rng),
        _boxes(data, frozen, settings.boxes, "room", rooms, rng),
        _boxes(data, frozen, settings.boxes, "scene", scenes, rng),
    ]
    examples = Examples.joined([part for part in parts if len(part.latents)])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(vars(examples), path)
    return examples


def _examples(
    data: Workspace,
    frozen: Conditioning,
    name: str,
    latents: Tensor,
    images: Pixels,
    repaint: NDArray[np.uint8],
    tokens: Tensor,
) -> Examples:
    masked = encode_images(frozen.vae, hide(images, repaint), data.device, f"masked {name}")
    return Examples(latents, to_latent_mask(repaint, latents.shape[-1]), masked, tokens)


def _around_objects(data: Workspace, frozen: Conditioning, count: int, tokens: Tensor) -> Examples:
    renders = data.train
    count = min(count, len(renders))
    latents = load_latents(data, "scene")[:count]
    images, repaint = renders.scene[:count], 255 - renders.mask[:count]
    return _examples(data, frozen, "scenes", latents, images, repaint, tokens[:count])


def _around_pasted(
    data: Workspace, frozen: Conditioning, count: int, tokens: Tensor, rng: np.random.Generator
) -> Examples:
    rooms = rng.integers(0, len(data.train), count)
    images, masks = paste_many(data.train, rooms, rng)
    latents = encode_images(frozen.vae, images, data.device, "pasted")
    chosen = tokens[torch.from_numpy(rooms)]
    return _examples(data, frozen, "pasted", latents, images, 255 - masks, chosen)


def paste_many(
    renders: Renders, rooms: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.uint8]]:
    """A random object in each of the rooms: images ``(n, h, w, 3)`` and its masks ``(n, h, w)``."""
    images, masks = [], []
    for room in rooms:
        row = int(rng.integers(0, len(renders)))
        image, mask = paste(renders.room[room], renders.object[row], renders.object_mask[row], rng)
        images.append(image)
        masks.append(mask)
    return np.stack(images), np.stack(masks)


def _boxes(
    data: Workspace,
    frozen: Conditioning,
    count: int,
    kind: str,
    tokens: Tensor,
    rng: np.random.Generator,
) -> Examples:
    images = data.train.images(kind)[-count:]
    repaint = np.stack([random_box(images.shape[1], rng) for _ in images])
    latents = load_latents(data, kind)[-count:]
    return _examples(data, frozen, f"{kind} boxes", latents, images, repaint, tokens[-count:])


class InpaintTask:
    """The diffusion loss with mask and masked image beside the noisy latents."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        frozen: Conditioning,
        data: Workspace,
        settings: InpaintSettings,
    ) -> None:
        self.modules: dict[str, nn.Module] = {"unet": unet}
        self.unet, self.frozen, self.data, self.settings = unet, frozen, data, settings
        self.examples = prepare(data, frozen, settings)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return attention_groups(self.unet, self.settings.rate)

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        examples, device = self.examples, self.data.device
        count = self.settings.batch
        chosen = torch.from_numpy(draw(len(examples.latents), count, generator))
        variant = torch.from_numpy(draw(examples.tokens.shape[1], count, generator))
        tokens = self.frozen.drop(examples.tokens[chosen, variant], generator)
        beside = torch.cat([examples.masks[chosen].float(), examples.masked[chosen].float()], dim=1)
        beside, unet = beside.to(device), prediction(self.unet)

        def predict(noisy: Tensor, times: Tensor, words: Tensor) -> Tensor:
            return unet(torch.cat([noisy, beside], dim=1), times, words)

        latents = examples.latents[chosen].float().to(device)
        return random_loss(predict, latents, self.frozen.words(tokens), generator)

    def report(self, logs: Path) -> Figures:
        test, rng = self.data.test, np.random.default_rng(11)
        pasted, masks = paste_many(test, np.arange(min(8, len(test))), rng)
        images = np.concatenate([test.scene[:8], pasted])
        repaint = 255 - np.concatenate([test.mask[:8], masks])
        made = self._fill(images, repaint)
        save_grid(logs / "inpaint.png", _rows(hide(images, repaint), made), columns=len(pasted))
        return {"kept_pixels_error": _kept_error(images, made, repaint)}

    def _fill(self, images: Pixels, repaint: NDArray[np.uint8]) -> Pixels:
        """Images with the region filled, ``(n, h, w, 3)``."""
        prompts = [_PROMPTS[i % len(_PROMPTS)] for i in range(len(images))]
        device = self.data.device
        masked = encode_images(self.frozen.vae, hide(images, repaint), device, "report").float()
        beside = torch.cat([to_latent_mask(repaint, masked.shape[-1]), masked], dim=1)
        steps = self.settings.sample_steps
        return fill(self.frozen, self.unet, prompts, beside.to(device), steps)


_PROMPTS = ("a bedroom", "a bedroom with blue walls", "a living room")


@torch.no_grad()
def fill(
    frozen: Conditioning,
    unet: UNet2DConditionModel,
    prompts: list[str],
    beside: Tensor,
    steps: int,
    guidance: float = 3.0,
) -> Pixels:
    """Images ``(n, h, w, 3)`` made beside masks and masked latents ``(n, 1 + c, h / 8, w / 8)``.

    diffusers' StableDiffusionInpaintPipeline refuses a UNet that has not 4 or 9 input channels,
    so that its loop is written out here for 16-channel latents.
    """
    device = beside.device
    empty, words = (frozen.words(frozen.tokens(texts)) for texts in ([""] * len(prompts), prompts))
    context, twice = torch.cat([empty, words]), torch.cat([beside, beside])
    scheduler = sampler()
    scheduler.set_timesteps(steps, device=device)
    shape = (len(prompts), unet.config.out_channels, *beside.shape[2:])
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        for time in scheduler.timesteps:
            noisy = torch.cat([torch.cat([latents, latents]), twice], dim=1)
            plain, guided = prediction(unet)(noisy, time, context).float().chunk(2)
            step = scheduler.step(plain + guidance * (guided - plain), time, latents)
            latents = step.prev_sample
        vae = frozen.vae
        return to_pixels(vae.decode(latents / vae.config.scaling_factor).sample)


def _rows(before: Pixels, after: Pixels) -> Pixels:
    """Half of the images above what was made of them, then the other half."""
    half = len(before) // 2
    return np.concatenate([before[:half], after[:half], before[half:], after[half:]])


def _kept_error(images: Pixels, made: Pixels, repaint: NDArray[np.uint8]) -> float:
    """Mean absolute error, in levels, of the pixels that should have been kept."""
    kept = repaint < 128
    return float(np.abs(images.astype(np.float32) - made)[kept].mean())


def _start(data: Workspace) -> UNet2DConditionModel:
    """An unpacked checkpoint's inpainting UNet that follows the UNet; else the UNet widened."""
    tuned = UNet2DConditionModel.from_pretrained(data.model("unet"))
    start = data.start("inpaint")
    if start is None:
        return widen(tuned)
    wide: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(start)
    follow(wide, tuned, UNet2DConditionModel.from_pretrained(data.folder("unet") / "start"))
    return wide


def run(data: Workspace, loop: LoopSettings, settings: InpaintSettings | None = None) -> Figures:
    """Train and save the inpainting UNet; it starts from the UNet, or as `_start` says."""
    torch.manual_seed(loop.seed)
    frozen = Conditioning.load(data)
    unet = _start(data).to(data.device)
    task = InpaintTask(unet, frozen, data, settings or InpaintSettings())
    figures = train("inpaint", task, with_diffusion_betas(loop), data.folder("inpaint"), data.logs)
    unet.save_pretrained(data.folder("inpaint") / "model")
    return figures
