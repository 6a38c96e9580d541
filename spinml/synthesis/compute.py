"""On which device and in which precision diffusion models compute."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from spinml.config import CheckpointConfig, DType
from spinml.errors import ConfigError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the floating-point type of its matrix products.

    Models that only sample hold their weights in ``dtype``; models in training hold them in
    float32 and compute under :meth:`autocast`.
    """

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to ``dtype``; nothing where that is float32."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def select_compute(config: CheckpointConfig) -> Compute:
    """The device and precision that ``config`` asks for.

    Raises:
        ConfigError: ``cuda`` is asked for and this process has no GPU; float16 on a CPU.
    """
    device = select_device(config.device)
    if config.dtype == "float16" and device.type == "cpu":
        raise ConfigError(
            "checkpoint.dtype is float16 on a CPU, which trains and draws unstably",
            remedy="set checkpoint.dtype to auto, bfloat16 or float32",
        )
    return Compute(device, _select_dtype(config.dtype, device))


def select_device(wanted: str) -> torch.device:
    """``auto`` is a GPU where this process holds one, else the CPU.

    Ray lets actors with ``num_gpus=0`` see every GPU (ray#62492) unless CUDA_VISIBLE_DEVICES is
    empty, so an explicitly empty variable counts as no GPU.

    Raises:
        ConfigError: ``cuda`` is asked for and this process has no GPU.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    has_gpu = visible != "" and torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise ConfigError(
            "checkpoint.device is cuda, but this process holds no GPU",
            remedy="give the actor num_gpus, or set checkpoint.device to auto",
        )
    return torch.device("cuda" if has_gpu and wanted != "cpu" else "cpu")


def _select_dtype(wanted: DType, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        return _DTYPES[wanted]
    return torch.bfloat16 if computes_bfloat16(device) else torch.float32


def computes_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` has bfloat16 arithmetic of its own (not emulated, which is slower)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
