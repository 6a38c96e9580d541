"""One loader for the bundled checkpoint, a local folder and the hub."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from spinml.config import CheckpointConfig
from spinml.errors import CheckpointError, UnsafeWeightsError
from spinml.synthesis.compute import Compute, select_compute
from spinml.synthesis.identity import CONTROLNET, expandable_features, locate
from spinml.synthesis.sources import Source, base_unet, inpainting_unet, saved_unet
from spinml.synthesis.text_image import TextImageEncoder


class Checkpoint:
    """The parts of a latent diffusion model, on one device and ready to sample.

    Attributes:
        vae: float32; see :mod:`spinml.synthesis.latents` for what it computes in.
        tokenizer, text_encoder: the prompt's encoder.
        unet: the base UNet, in the compute type. Copy it before changing it.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        compute: Compute,
        vae: AutoencoderKL,
        tokenizer: CLIPTokenizer,
        text_encoder: CLIPTextModel,
        unet: UNet2DConditionModel,
        scheduler: DPMSolverMultistepScheduler,
    ) -> None:
        self.config, self.compute = config, compute
        self.vae, self.tokenizer, self.text_encoder, self.unet = vae, tokenizer, text_encoder, unet
        self._scheduler = scheduler

    @classmethod
    def load(cls, config: CheckpointConfig) -> Checkpoint:
        """Load what ``config`` names.

        Raises:
            UnsafeWeightsError: a part has its weights in a pickle alone.
            CheckpointError: parts are missing or damaged (all of them named), or they do not fit
                the configured resolution.
            ConfigError: the device or precision cannot be had.
        """
        compute = select_compute(config)
        source = Source.find(config.base)
        dtype = {"dtype": compute.dtype}
        loaders: dict[str, Callable[[], Any]] = {
            "vae": lambda: source.load(AutoencoderKL, "vae", dtype=torch.float32),
            "tokenizer": lambda: source.load(CLIPTokenizer, "tokenizer"),
            "text_encoder": lambda: source.load(CLIPTextModel, "text_encoder", **dtype),
            "unet": lambda: source.load(UNet2DConditionModel, "unet", **dtype),
            "scheduler": lambda: source.load(DPMSolverMultistepScheduler, "scheduler"),
        }
        parts = _load_all(source, loaders)
        for name in ("vae", "text_encoder", "unet"):
            parts[name] = _frozen(parts[name], compute)
        checkpoint = cls(config, compute, **parts)
        checkpoint.latent_size  # noqa: B018 - checks the resolution now, not in the middle of a run
        return checkpoint

    @cached_property
    def latent_size(self) -> int:
        """Side of the latents of an image of the configured resolution.

        Raises:
            CheckpointError: the resolution is not a multiple of what VAE and UNet downsample.
        """
        vae_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        unet_factor = 2 ** (len(self.unet.config.block_out_channels) - 1)
        resolution = self.config.resolution_px
        if resolution % (vae_factor * unet_factor):
            raise CheckpointError(
                f"resolution_px is {resolution}, but the checkpoint needs a multiple of "
                f"{vae_factor * unet_factor}",
                remedy="change checkpoint.resolution_px",
            )
        return int(resolution // vae_factor)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of one image's latents."""
        return int(self.vae.config.latent_channels), self.latent_size, self.latent_size

    def scheduler(self, steps: int) -> DPMSolverMultistepScheduler:
        """A fresh DPM-Solver++ set to ``steps`` steps; the trained noise schedule is kept."""
        scheduler = DPMSolverMultistepScheduler.from_config(self._scheduler.config)
        scheduler.set_timesteps(steps, device=self.compute.device)
        return scheduler

    def base_unet(self) -> UNet2DConditionModel:
        """A fresh base UNet in float32, to train."""
        return base_unet(self.config).to(self.compute.device)

    def inpainting_unet(self) -> UNet2DConditionModel:
        """The inpainting UNet, ready to sample: see :func:`spinml.synthesis.sources`.

        Raises:
            CheckpointError: there is none, or its channels do not fit the VAE.
        """
        channels, dtype = self.latent_shape[0], self.compute.dtype
        return _frozen(inpainting_unet(self.config, channels, dtype), self.compute)

    def controlnet(self, feature: str) -> ControlNetModel:
        """The ControlNet for an L1 feature.

        Raises:
            CheckpointError: there is none for ``feature``.
        """
        if feature in self.config.controlnets:
            source, part = Source.find(self.config.controlnets[feature]), ""
        else:
            source = Source.find(self.config.base)
            part = f"{CONTROLNET}{feature}"
            known = expandable_features(self.config)
            if known is not None and feature not in known:
                others = ", ".join(sorted(known)) or "there is none"
                raise CheckpointError(
                    f"checkpoint {source.name!r} has no ControlNet for the feature {feature!r}: "
                    f"there is no {part}",
                    remedy=f"name another feature in the request ({others}), or add one to "
                    "checkpoint.controlnets",
                )
        return _frozen(source.load(ControlNetModel, part, dtype=self.compute.dtype), self.compute)

    def load_unet(self, folder: Path) -> UNet2DConditionModel:
        """A UNet that a stage saved (fine-tuned or merged), ready to sample.

        Raises:
            CheckpointError: missing or damaged.
        """
        return _frozen(saved_unet(folder, self.compute.dtype), self.compute)

    @cached_property
    def text_image(self) -> TextImageEncoder | None:
        """The text-image encoder that judges labels; None where the checkpoint ships none."""
        folder = locate(self.config.base)
        if folder is None or not (folder / "text_image").is_dir():
            return None
        return TextImageEncoder.load(folder / "text_image")

    def judge(self, without: str) -> TextImageEncoder:
        """:attr:`text_image`, where a setting needs it.

        Args:
            without: what to set where there is none.

        Raises:
            CheckpointError: the checkpoint ships none.
        """
        if self.text_image is None:
            raise CheckpointError(
                f"checkpoint {self.config.base!r} has no text-image encoder to judge images with: "
                "there is no folder text_image",
                remedy=f"set {without}",
            )
        return self.text_image


def _load_all(source: Source, loaders: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Every part, or one error that names all that are missing."""
    parts: dict[str, Any] = {}
    failed: dict[str, CheckpointError] = {}
    for name, load in loaders.items():
        try:
            parts[name] = load()
        except CheckpointError as error:
            failed[name] = error
    if failed:
        unsafe = [error for error in failed.values() if isinstance(error, UnsafeWeightsError)]
        first = next(iter(unsafe or failed.values()))
        raise type(first)(
            f"checkpoint {source.name!r} lacks {len(failed)} part(s): {', '.join(failed)}"
            + (f"; {first.message}" if unsafe else ""),
            remedy=first.remedy,
            details={"checkpoint": source.name, "parts": list(failed)},
        ) from first
    return parts


def _frozen(model: Any, compute: Compute) -> Any:
    return model.to(compute.device).eval().requires_grad_(False)


@lru_cache(maxsize=1)
def _cached(config_json: str, _identity: str) -> Checkpoint:
    return Checkpoint.load(CheckpointConfig.model_validate_json(config_json))


def shared_checkpoint(config: CheckpointConfig, identity: str) -> Checkpoint:
    """The checkpoint of this process: loaded once, kept while ``config`` and weights stay the same.

    Args:
        identity: :func:`spinml.synthesis.identity.checkpoint_identity` of ``config``.
    """
    return _cached(config.model_dump_json(), identity)
