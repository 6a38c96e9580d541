"""One loader for the bundled checkpoint, a local folder and the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from spinml.synthesis.text_image import TextImageEncoder

INPAINTING = "inpainting/unet"
_PICKLES = {".bin", ".ckpt", ".msgpack", ".pickle", ".pkl", ".pt", ".pth"}


@dataclass(frozen=True)
class _Source:
    """Where parts are loaded from: a local folder, or a model of the hub."""

    name: str
    folder: Path | None
    revision: str | None

    @classmethod
    def find(cls, name: str, revision: str | None) -> _Source:
        return cls(name, locate(name), revision)

    def load(self, kind: Any, part: str, **options: Any) -> Any:
        """``kind.from_pretrained`` of the subfolder ``part`` ("" for the source itself).

        Raises:
            UnsafeWeightsError: its weights are a pickle alone.
            CheckpointError: the part is missing or damaged.
        """
        if issubclass(kind, torch.nn.Module):
            options["use_safetensors"] = True
        try:
            if self.folder is not None:
                _refuse_pickles(self.name, self.folder / part)
                return kind.from_pretrained(self.folder / part, local_files_only=True, **options)
            return kind.from_pretrained(
                self.name, subfolder=part or None, revision=self.revision, **options
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the part {part or 'itself'!r} of checkpoint {self.name!r} cannot be loaded: "
                f"{type(error).__name__}",
                remedy=self._remedy(),
                details={"checkpoint": self.name, "parts": [part]},
            ) from error

    def _remedy(self) -> str:
        if self.folder is None:
            return "check the name and the network, or give a local folder in diffusers' layout"
        return "the folder must have diffusers' layout, each part with its config and safetensors"


def _refuse_pickles(name: str, folder: Path) -> None:
    """Say it of a part that has weights, but only such as run code when they are read.

    Raises:
        UnsafeWeightsError: names the part.
    """
    files = {path.suffix for path in folder.glob("*") if path.is_file()}
    if files & _PICKLES and ".safetensors" not in files:
        raise UnsafeWeightsError(
            f"the part {folder.name!r} of checkpoint {name!r} has its weights in a pickle alone, "
            "which can run any code and is never loaded",
            remedy="convert them: load it where you trust it and save_pretrained() it again, or "
            "take a revision with safetensors",
            details={"checkpoint": name, "parts": [folder.name]},
        )


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
        source = _Source.find(config.base, config.revision)
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
        """A fresh base UNet in float32, to train or to take differences of."""
        source = _Source.find(self.config.base, self.config.revision)
        unet = source.load(UNet2DConditionModel, "unet", dtype=torch.float32)
        return unet.to(self.compute.device)

    def inpainting_unet(self, dtype: torch.dtype | None = None) -> UNet2DConditionModel:
        """The inpainting UNet: input channels are latents, mask (1), masked image's latents.

        Args:
            dtype: of its weights; None is the compute type.

        Raises:
            CheckpointError: there is none, or its channels do not fit the VAE.
        """
        options = {"dtype": dtype or self.compute.dtype}
        if self.config.inpainting is None:
            source = _Source.find(self.config.base, self.config.revision)
            unet = source.load(UNet2DConditionModel, INPAINTING, **options)
        else:
            source = _Source.find(self.config.inpainting, self.config.revision)
            unet = source.load(UNet2DConditionModel, "unet", **options)
        wanted, got = 2 * self.latent_shape[0] + 1, int(unet.config.in_channels)
        if got != wanted:
            raise CheckpointError(
                f"the inpainting UNet takes {got} channels, {wanted} fit the VAE",
                remedy="name an inpainting model of the same family in checkpoint.inpainting",
            )
        return _frozen(unet, self.compute)

    def controlnet(self, feature: str) -> ControlNetModel:
        """The ControlNet for an L1 feature.

        Raises:
            CheckpointError: there is none for ``feature``.
        """
        if feature in self.config.controlnets:
            source, part = _Source.find(self.config.controlnets[feature], None), ""
        else:
            source = _Source.find(self.config.base, self.config.revision)
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

    def load_unet(self, folder: Path, dtype: torch.dtype | None = None) -> UNet2DConditionModel:
        """A UNet that a stage saved (fine-tuned or merged), ready to sample.

        Args:
            dtype: of its weights; None is the compute type.

        Raises:
            CheckpointError: missing or damaged.
        """
        source = _Source(folder.name, folder, None)
        unet = source.load(UNet2DConditionModel, "", dtype=dtype or self.compute.dtype)
        return _frozen(unet, self.compute)

    @cached_property
    def text_image(self) -> TextImageEncoder | None:
        """The text-image encoder that judges labels; None where the checkpoint ships none."""
        folder = locate(self.config.base)
        if folder is None or not (folder / "text_image").is_dir():
            return None
        return TextImageEncoder.load(folder / "text_image")


def _load_all(source: _Source, loaders: dict[str, Callable[[], Any]]) -> dict[str, Any]:
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


def save_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write a UNet in diffusers' layout (safetensors) at half precision."""
    unet.half().save_pretrained(folder)
