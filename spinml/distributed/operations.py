"""Which function executes which stage, named by import path so that only workers import torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from spinml.errors import StageError
from spinml.pipeline.stages import StageFunction, StageKind

DEFAULT_FUNCTIONS: Mapping[StageKind, str] = {
    StageKind.EXPAND: "spinml.synthesis.stages:run_expand",
    StageKind.PRIOR: "spinml.synthesis.stages:run_prior",
    StageKind.FINETUNE: "spinml.synthesis.stages:run_finetune",
    StageKind.MERGE: "spinml.synthesis.stages:run_merge",
    StageKind.EXPORT: "spinml.training.stages:run_export",
    StageKind.MEASURE: "spinml.training.stages:run_measure",
}
DEFAULT_SOURCES: Mapping[StageKind, str] = {
    StageKind.DRAW: "spinml.distributed.generation:ObjectShards",
    StageKind.GENERATE: "spinml.distributed.generation:SyntheticShards",
}


@dataclass(frozen=True)
class Operations:
    """Import paths ``module:attribute`` of all that a worker runs.

    DRAW and GENERATE run their ``sources`` on Ray Data and TRAIN runs ``trainer`` on Ray Train,
    unless ``functions`` names a plain function for them.
    """

    functions: Mapping[StageKind, str] = field(default_factory=lambda: dict(DEFAULT_FUNCTIONS))
    sources: Mapping[StageKind, str] = field(default_factory=lambda: dict(DEFAULT_SOURCES))
    """Each a :class:`spinml.distributed.generation.ShardSource`."""
    trainer: str = "spinml.distributed.train:train_specialised"
    """A StageFunction that runs in each of Ray Train's workers; rank 0's files are the result."""

    def function(self, kind: StageKind) -> StageFunction:
        """The function that executes ``kind``.

        Raises:
            StageError: none is named, or it cannot be imported.
        """
        if kind not in self.functions:
            raise StageError(f"no operation is named for the stage {kind}")
        return cast(StageFunction, load(self.functions[kind]))


def load(path: str) -> Any:
    """The object that ``module:attribute`` names.

    Raises:
        StageError: no such module or attribute.
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise StageError(
            f"the operation {path} cannot be imported: {error}",
            remedy="install spinml with the extra [server] on every node",
        ) from error
