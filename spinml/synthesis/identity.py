"""Where a checkpoint lies and which one it is; without torch, so that planning stays light."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spinml.config import CheckpointConfig
from spinml.errors import CheckpointError
from spinml.pipeline.local_files import HOME, folder_digest, home_folder

CONTROLNET = "controlnet_"
"""How the folder of a feature's ControlNet inside a checkpoint is called, without the feature."""


def locate(name: str) -> Path | None:
    """The local folder that ``name`` means; None when it is a hub name.

    Args:
        name: ``home``, a folder, or ``owner/model`` or ``owner/model@revision`` on the hub.

    Raises:
        CheckpointError: ``home`` is not bundled, or a path that is no folder.
    """
    folder = home_folder() if name == HOME else Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name == HOME:
        raise CheckpointError(
            "the bundled checkpoint “home” is not in this installation",
            remedy="install a release, or train it with jobs/pretrain_home.py",
        )
    model, _ = split_revision(name)
    if model.startswith(("/", ".", "~")) or model.count("/") != 1:
        raise CheckpointError(
            "a checkpoint's name is neither a folder nor of the form owner/model[@revision]",
            remedy="give “home”, an existing folder, or a hub name",
            details={"name": name},
        )
    return None


def split_revision(name: str) -> tuple[str, str | None]:
    """A hub model's name and its revision, if ``name`` pins one: ``owner/model@revision``."""
    model, _, revision = name.partition("@")
    return model, revision or None


def expandable_features(config: CheckpointConfig) -> frozenset[str] | None:
    """The L1 features that there is a ControlNet for; None when only the hub knows.

    Raises:
        CheckpointError: see :func:`locate`.
    """
    named, folder = frozenset(config.controlnets), locate(config.base)
    if folder is None:
        return named or None
    parts = (path.name for path in folder.glob(f"{CONTROLNET}*") if path.is_dir())
    return named | {name.removeprefix(CONTROLNET) for name in parts}


def checkpoint_identity(config: CheckpointConfig) -> str:
    """What names the diffusion models' weights in every stage's key (rule 3).

    Local folders count by their files' content, hub models by name and revision.

    Raises:
        CheckpointError: see :func:`locate`.
    """
    names = {"base": config.base}
    if config.inpainting is not None:
        names["inpainting"] = config.inpainting
    names |= {f"controlnet_{feature}": name for feature, name in config.controlnets.items()}
    parts = [f"{role}={source_identity(names[role])}" for role in sorted(names)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def source_identity(name: str) -> str:
    """Identity of one source: ``sha256:…`` of a folder, ``name@revision`` of a hub model."""
    folder = locate(name)
    if folder is None:
        model, revision = split_revision(name)
        return f"{model}@{revision or 'main'}"
    return f"sha256:{folder_digest(folder)}"
