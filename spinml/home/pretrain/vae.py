"""Stage `vae`: images of 128 px to 16 channels of latents at an eighth of the size, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from spinml.home.pretrain.colour_path import MIN_CARRIED, carry_colours
from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import (
    KINDS,
    Renders,
    draw,
    save_grid,
    to_pixels,
    to_tensor,
)
from spinml.home.pretrain.workspace import Workspace

# Chroma has a thirtieth of the brightness's variance in the renders: enlarge its error.
CHROMA_GAIN = 4.0


@dataclass(frozen=True)
class VaeSettings:
    """Sizes and rates; all but a `whole_share` of the steps see crops of `crop_px`.

    `colour_weight` is on the error of 8 x 8 px means, its chroma enlarged.
    """

    channels: tuple[int, ...] = (24, 48, 96, 128)
    layers: int = 1
    latent_channels: int = 16
    batch: int = 8
    crop_px: int = 64
    whole_share: float = 0.15
    rate: float = 8e-4
    mse_weight: float = 2.0
    colour_weight: float = 2.0
    kl_weight: float = 3e-5


def build(settings: VaeSettings) -> AutoencoderKL:
    """A VAE without attention whose residual blocks start as the identity.

    If it is wide enough, it starts with colours passing through.
    """
    depth = len(settings.channels)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * depth,
        up_block_types=["UpDecoderBlock2D"] * depth,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers,
        latent_channels=settings.latent_channels,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    if settings.channels[0] >= MIN_CARRIED:
        carry_colours(vae)
    return vae


class VaeTask:
    """Reconstruction of random crops under L1, MSE, mean colour and a small KL weight."""

    def __init__(self, vae: AutoencoderKL, data: Workspace, settings: VaeSettings) -> None:
        self.modules: dict[str, nn.Module] = {"vae": vae}
        self.vae, self.settings, self.device = vae, settings, data.device
        self.train_set, self.test_set = data.train, data.test

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.vae.parameters()), "lr": self.settings.rate}]

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        whole = float(torch.rand((), generator=generator)) < self.settings.whole_share
        images = self._batch(generator, whole).to(self.device)
        posterior = self.vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        latents = posterior.mean + posterior.std * noise
        error: Tensor = self.vae.decode(latents).sample.float() - images
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        settings = self.settings
        squared = settings.mse_weight * error.square().mean()
        strong = error + (CHROMA_GAIN - 1) * (error - error.mean(dim=1, keepdim=True))
        colour = settings.colour_weight * F.avg_pool2d(strong, 8).square().mean()
        total: Tensor = error.abs().mean() + squared + colour + settings.kl_weight * kl
        return total

    def _batch(self, generator: torch.Generator, whole: bool) -> Tensor:
        """Random images of all kinds, flipped at random: whole or crops, ``(b, 3, px, px)``."""
        settings = self.settings
        size_px = self.train_set.scene.shape[1]
        crop_px = size_px if whole else min(settings.crop_px, size_px)
        count = max(1, settings.batch * settings.crop_px**2 // crop_px**2)
        crops = []
        for index in draw(len(self.train_set), count, generator):
            kind, flip, top, left = (int(v) for v in draw(1 << 30, 4, generator))
            image = self.train_set.images(KINDS[(0, 1, 2, 2)[kind % 4]])[index]
            top, left = top % (size_px - crop_px + 1), left % (size_px - crop_px + 1)
            crop = image[top : top + crop_px, left : left + crop_px]
            crops.append(crop[:, ::-1] if flip % 2 else crop)
        return to_tensor(np.stack(crops))

    def report(self, logs: Path) -> Figures:
        figures = {
            f"psnr_{kind}_db": psnr(self.vae, self.test_set, kind, self.device) for kind in KINDS
        }
        shown = [self.test_set.images(kind)[:8] for kind in KINDS]
        rows = [half for row in shown for half in (row, reconstruct(self.vae, row, self.device))]
        save_grid(logs / "vae.png", np.concatenate(rows), columns=len(shown[0]))
        return figures | {"psnr_mean_db": sum(figures.values()) / len(figures)}


def reconstruct(vae: AutoencoderKL, images: np.ndarray, device: str) -> np.ndarray:
    """Images ``(n, h, w, 3)`` through the VAE and back, in bytes."""
    vae.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), 16):
            batch = to_tensor(images[start : start + 16]).to(device)
            latents = vae.encode(batch).latent_dist.mean
            parts.append(to_pixels(vae.decode(latents).sample))
    return np.concatenate(parts)


def psnr(vae: AutoencoderKL, data: Renders, kind: str, device: str, count: int = 64) -> float:
    """Mean peak signal-to-noise ratio in dB over the images of a kind, in bytes."""
    images = data.images(kind)[:count]
    again = reconstruct(vae, images, device)
    error = ((images.astype(np.float32) - again) ** 2).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3))))


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, data: Renders, device: str, count: int = 128) -> None:
    """Give every latent channel zero mean and unit variance; `scaling_factor` becomes 1.

    Both are folded into the two 1 x 1 convolutions beside the latents, for pipelines know one
    factor for all channels. Without it brightness has six times the deviation of the channels that
    hold details, which then drown in the noise of nearly every time step.
    """
    images = np.concatenate([data.images(kind)[:count] for kind in KINDS])
    parts = [
        vae.encode(to_tensor(images[i : i + 16]).to(device)).latent_dist.mean
        for i in range(0, len(images), 16)
    ]
    std, mean = torch.std_mean(torch.cat(parts), dim=(0, 2, 3))
    if not bool(torch.isfinite(std).all()) or float(std.min()) <= 0:
        raise ValueError(f"the latents' standard deviations are {std.tolist()}, wanted all above 0")
    fold_normalisation(vae, mean, std)
    vae.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def fold_normalisation(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Change latents z of each channel, ``(c,)``, to ``(z - mean) / std``; decoding undoes it."""
    inward, outward, count = vae.quant_conv, vae.post_quant_conv, len(mean)
    inward.weight[:count] /= std[:, None, None, None]
    inward.bias[:count] = (inward.bias[:count] - mean) / std
    inward.bias[count:] -= 2 * std.log()
    outward.bias += outward.weight[:, :, 0, 0] @ mean
    outward.weight *= std[:, None, None]


def run(data: Workspace, loop: LoopSettings, settings: VaeSettings | None = None) -> Figures:
    """Train, normalise and save the VAE."""
    settings = settings or VaeSettings()
    torch.manual_seed(loop.seed)
    vae = build(settings).to(data.device)
    task = VaeTask(vae, data, settings)
    figures = train("vae", task, loop, data.folder("vae"), data.logs)
    normalise_latents(vae, data.train, data.device)
    vae.save_pretrained(data.folder("vae") / "model")
    return figures
