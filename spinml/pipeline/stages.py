"""Stages: pure functions of their inputs and parameters, named by the hash of both (rule 3)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from spinml.config import ServerConfig
from spinml.errors import ArtifactError
from spinml.request import Task

KEY_VERSION = 1
"""Raised when a stage's code changes what it makes from the same inputs."""

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class StageKind(StrEnum):
    """The stages of a run, in the order of the data's way (§3.3, §3.4)."""

    SEGMENT = "segment"
    """Source: a sanitized segment as it arrived. Stored by the ingress, never executed."""
    EXPAND = "expand"
    """L1 features and words → reference images (ControlNet)."""
    PRIOR = "prior"
    """Class images of the base model for prior preservation (DreamBooth)."""
    FINETUNE = "finetune"
    """Reference images → a customised diffusion UNet (DreamBooth)."""
    MERGE = "merge"
    """Inpainting UNet + tuned − base → customised background inpainting UNet."""
    DRAW = "draw"
    """A model and prompts → a target object, cut out of plain ground, once for each image."""
    GENERATE = "generate"
    """Drawn objects and a background's model → labelled Parquet shards."""
    TRAIN = "train"
    """Shards → specialised model, best epoch kept."""
    EXPORT = "export"
    """Model → ONNX with its preprocessing and class names inside."""
    MEASURE = "measure"
    """Synthetic embeddings and the figures of the report."""


@dataclass(frozen=True)
class Stage:
    """One node of a plan.

    ``inputs`` maps a role ("references", "target_unet", …) to the digest of the stage that makes
    it. ``params`` is JSON-able and holds all else that the result depends on.
    """

    kind: StageKind
    params: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    """For people: "fine-tune target"; not part of the key."""

    @property
    def detects(self) -> bool:
        """Whether the run's task is detection; parameters of other tasks do not say theirs."""
        return bool(self.params.get("task") == Task.DETECTION)

    @property
    def digest(self) -> str:
        """SHA-256 of kind, parameters and inputs, in hexadecimal."""
        payload = {
            "version": KEY_VERSION,
            "kind": self.kind.value,
            "params": self.params,
            "inputs": dict(self.inputs),
        }
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def key(self, tenant: str) -> ArtifactKey:
        """Where the result lies for ``tenant``."""
        return ArtifactKey(tenant, self.kind, self.digest)


@dataclass(frozen=True)
class ArtifactKey:
    """Where a stage's result lies: ``<tenant>/<kind>/<digest>/``.

    Raises:
        ArtifactError: a tenant or digest that could name another place in the store.
    """

    tenant: str
    kind: StageKind
    digest: str

    def __post_init__(self) -> None:
        check_tenant(self.tenant)
        if not _DIGEST.fullmatch(self.digest):
            raise ArtifactError(
                f"a digest of {len(self.digest)} characters, 64 lower-case hexadecimal ones wanted"
            )

    @property
    def path(self) -> str:
        return f"{self.tenant}/{self.kind.value}/{self.digest}"


def check_tenant(tenant: str) -> str:
    """``tenant`` if it is a plain folder name.

    Raises:
        ArtifactError: neither letters, digits, ``-`` and ``_`` alone, nor at most 64 of them.
    """
    if not _TENANT.fullmatch(tenant):
        raise ArtifactError(
            f"a tenant's name of {len(tenant)} characters cannot be a folder",
            remedy="use 1 to 64 letters, digits, - and _, starting with a letter or digit",
        )
    return tenant


class Progress(Protocol):
    """Told how far a stage is. Raises StageCancelledError when the run was cancelled."""

    def __call__(self, done: int, total: int, unit: str) -> None: ...


class StageStanding(Protocol):
    """How far a stage is, in whatever tells it."""

    @property
    def state(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def unit(self) -> str: ...


def silent(done: int, total: int, unit: str) -> None:
    """A Progress that tells nobody."""


class Kept(Protocol):
    """One file that outlives the process of a stage, so that the next attempt goes on from it."""

    def keep(self, file: Path) -> None:
        """Store ``file`` in place of the one before."""

    def restore(self, file: Path) -> bool:
        """Write what was kept last to ``file``; False where nothing was."""


class NothingKept:
    """A Kept that forgets: every attempt begins anew."""

    def keep(self, file: Path) -> None:
        pass

    def restore(self, file: Path) -> bool:
        return False


@dataclass(frozen=True)
class StageContext:
    """All that a stage's function gets. It writes its result into ``out`` and returns figures."""

    stage: Stage
    inputs: Mapping[str, Path]
    """Role → local folder with the input artifact's files."""
    out: Path
    """An empty local folder; its files become the artifact."""
    config: ServerConfig
    progress: Progress = silent
    kept: Kept = field(default_factory=NothingKept)

    @property
    def params(self) -> Mapping[str, Any]:
        return self.stage.params


StageFunction = Callable[[StageContext], dict[str, Any]]
"""Runs a stage; the dict (JSON-able figures) goes into the artifact's manifest."""
