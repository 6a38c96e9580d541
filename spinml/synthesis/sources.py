"""Where a checkpoint's parts are read from: a local folder in diffusers' layout, or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from spinml.config import CheckpointConfig
from spinml.errors import CheckpointError, UnsafeWeightsError
from spinml.synthesis.identity import locate, split_revision

INPAINTING = "inpainting/unet"
_PICKLES = {".bin", ".ckpt", ".msgpack", ".pickle", ".pkl", ".pt", ".pth"}
_HALF = "fp16"
"""The variant of safetensors that some models of the hub have alone, as SD 1.5's inpainting."""


@dataclass(frozen=True)
class Source:
    """A local folder, or a model of the hub."""

    name: str
    folder: Path | None
    revision: str | None

    @classmethod
    def find(cls, name: str) -> Source:
        """What ``name`` means; see :func:`spinml.synthesis.identity.locate`."""
        folder = locate(name)
        return cls(name, folder, None) if folder else cls(*_hub(name))

    def load(self, kind: Any, part: str, **options: Any) -> Any:
        """``kind.from_pretrained`` of the subfolder ``part`` ("" for the source itself).

        Raises:
            UnsafeWeightsError: its weights are a pickle alone.
            CheckpointError: the part is missing or damaged.
        """
        if self.folder is not None:
            _refuse_pickles(self.name, self.folder / part)
        try:
            if not issubclass(kind, torch.nn.Module):
                return self._from_pretrained(kind, part, options)
            options["use_safetensors"] = True
            try:
                return self._from_pretrained(kind, part, options)
            except OSError as error:
                return self._half(kind, part, options, error)
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the part {part or 'itself'!r} of checkpoint {self.name!r} cannot be loaded: "
                f"{type(error).__name__}",
                remedy=self._remedy(),
                details={"checkpoint": self.name, "parts": [part]},
            ) from error

    def _from_pretrained(self, kind: Any, part: str, options: dict[str, Any]) -> Any:
        if self.folder is not None:
            return kind.from_pretrained(self.folder / part, local_files_only=True, **options)
        return kind.from_pretrained(
            self.name, subfolder=part or None, revision=self.revision, **options
        )

    def _half(self, kind: Any, part: str, options: dict[str, Any], first: OSError) -> Any:
        """The part's half-precision weights; where there are none, ``first`` is what failed."""
        try:
            return self._from_pretrained(kind, part, options | {"variant": _HALF})
        except (OSError, ValueError):
            raise first from None

    def _remedy(self) -> str:
        if self.folder is None:
            return "check the name and the network, or give a local folder in diffusers' layout"
        return "the folder must have diffusers' layout, each part with its config and safetensors"


def _hub(name: str) -> tuple[str, None, str | None]:
    model, revision = split_revision(name)
    return model, None, revision


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


def base_unet(config: CheckpointConfig) -> UNet2DConditionModel:
    """A fresh base UNet on the CPU in float32, to train or to take differences of.

    Raises:
        CheckpointError: missing or damaged.
    """
    return Source.find(config.base).load(UNet2DConditionModel, "unet", dtype=torch.float32)


def inpainting_unet(
    config: CheckpointConfig, latent_channels: int, dtype: torch.dtype
) -> UNet2DConditionModel:
    """The inpainting UNet on the CPU: it takes latents, mask (1) and masked image's latents.

    Raises:
        CheckpointError: there is none, or its channels do not fit the VAE.
    """
    if config.inpainting is None:
        source, part = Source.find(config.base), INPAINTING
    else:
        source, part = Source.find(config.inpainting), "unet"
    unet = source.load(UNet2DConditionModel, part, dtype=dtype)
    wanted, got = 2 * latent_channels + 1, int(unet.config.in_channels)
    if got != wanted:
        raise CheckpointError(
            f"the inpainting UNet takes {got} channels, {wanted} fit the VAE",
            remedy="name an inpainting model of the same family in checkpoint.inpainting",
        )
    return unet


def saved_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """A UNet that a stage saved (fine-tuned or merged), on the CPU.

    Raises:
        CheckpointError: missing or damaged.
    """
    return Source(folder.name, folder, None).load(UNet2DConditionModel, "", dtype=dtype)


def save_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write a UNet in diffusers' layout (safetensors) at half precision."""
    unet.half().save_pretrained(folder)
