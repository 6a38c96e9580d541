"""Stage `latents`: every training image through the VAE once, kept in half precision."""

from __future__ import annotations

import time

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from spinml.home.pretrain.loop import Figures, Log, LoopSettings, print_now
from spinml.home.pretrain.renders import KINDS, Pixels, to_tensor
from spinml.home.pretrain.workspace import Workspace

BATCH = 32


@torch.no_grad()
def encode_images(
    vae: AutoencoderKL, images: Pixels, device: str, name: str, log: Log = print_now
) -> Tensor:
    """Scaled latents of images ``(n, h, w, 3)``, shape ``(n, c, h / 8, w / 8)`` in float16."""
    vae.eval()
    parts, begin, told = [], time.monotonic(), time.monotonic()
    for start in range(0, len(images), BATCH):
        batch = to_tensor(images[start : start + BATCH]).to(device)
        with torch.autocast(device, torch.bfloat16):
            mean = vae.encode(batch).latent_dist.mean
        parts.append((mean.float() * vae.config.scaling_factor).half().cpu())
        now = time.monotonic()
        if now - told > 20:
            done, told = start + len(batch), now
            rate = done / (now - begin)
            left_s = (len(images) - done) / rate
            log(f"latents of {name}: {done}/{len(images)}, {rate:.0f} img/s, {left_s:.0f} s left")
    return torch.cat(parts)


def load_vae(data: Workspace) -> AutoencoderKL:
    """The trained VAE, frozen."""
    vae: AutoencoderKL = AutoencoderKL.from_pretrained(data.model("vae"))
    return vae.requires_grad_(False).to(data.device)


def load_latents(data: Workspace, kind: str, split: str = "train") -> Tensor:
    """Latents of a kind from the stage `latents`, shape ``(n, 16, 16, 16)`` in float16."""
    path = data.folder("latents") / f"{split}_{kind}.npy"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: run the stage 'latents' first")
    return torch.from_numpy(np.load(path))


def run(data: Workspace, loop: LoopSettings) -> Figures:
    """Encode the training and the held-out images that have no latents yet; takes no budget."""
    vae, folder = load_vae(data), data.folder("latents")
    folder.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    for split, part in (("train", data.train), ("test", data.test.slice(0, 256))):
        for kind in KINDS:
            path = folder / f"{split}_{kind}.npy"
            if not path.exists() or len(np.load(path, mmap_mode="r")) != len(part):
                latents = encode_images(vae, part.images(kind), data.device, f"{split} {kind}")
                np.save(path, latents.numpy())
            figures[f"{split}_{kind}"] = float(len(part))
    return figures
