"""Small real stages: they write files, count how often they ran, and can wait, die or fail.

Each execution leaves a file ``<stage parameter "name">.<uuid>`` in the folder named by the stage
parameter ``journal``, so that a test counts executions across processes and crashes.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import train as ray_train

from spinml.config import ServerConfig
from spinml.distributed.generation import Shard
from spinml.errors import CheckpointError, GenerationError
from spinml.pipeline.stages import Progress, Stage, StageContext


def journal(params: Mapping[str, Any], name: str, **facts: Any) -> None:
    """Note one execution."""
    facts |= {"pid": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "at": time.time()}
    facts |= {"threads": os.environ.get("OMP_NUM_THREADS")}
    facts |= {"node": ray.get_runtime_context().get_node_id()}
    folder, file = Path(params["journal"]), f"{name}.{uuid.uuid4().hex}"
    part = folder.with_name(f"{file}.part")  # beside the journal, which is read meanwhile
    part.write_text(json.dumps(facts))
    part.rename(folder / file)


def write(context: StageContext) -> dict[str, Any]:
    """Write the parameters and the names of the inputs; ``wait_s`` passes in steps of 0.05 s."""
    params = context.params
    journal(params, params["name"])
    began, wait_s = time.monotonic(), float(params.get("wait_s", 0))
    while (passed := time.monotonic() - began) < wait_s:
        time.sleep(0.05)
        context.progress(int(100 * passed / wait_s), 100, "percent")
    if params.get("raises"):
        raise GenerationError("4 of 4 objects broken", remedy="draw better", details={"n": 4})
    if params.get("divides"):
        return {"never": 1 / 0}
    given = {
        role: sorted(file.name for file in path.iterdir()) for role, path in context.inputs.items()
    }
    (context.out / "out.json").write_text(json.dumps({"name": params["name"], "given": given}))
    journal(params, f"{params['name']}-ended")
    return {"inputs": len(given)}


class TextShards:
    """A ShardSource that writes text."""

    unit = "images"

    def __init__(self, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> None:
        self.params = stage.params
        if self.params.get("lacks"):
            journal(self.params, "made")
            raise CheckpointError("no such checkpoint", remedy="check its name")

    @staticmethod
    def plan(params: Mapping[str, Any]) -> Sequence[Shard]:
        return [Shard(f"shard-{index:05d}.txt", 4) for index in range(params["shards"])]

    def draw(self, index: int, path: Path, progress: Progress) -> None:
        journal(self.params, f"begun-shard-{index}")
        if self.params.get("kills"):
            os._exit(1)
        for image in range(4):
            time.sleep(float(self.params["wait_s"]) / 4)
            progress(image + 1, 4, "images")
        if self.params.get("raises"):
            raise GenerationError("4 of 4 objects broken", remedy="draw better")
        path.write_text(f"shard {index}")
        journal(self.params, f"shard-{index}")

    @staticmethod
    def finish(folder: Path, stage: Stage) -> dict[str, Any]:
        names = sorted(path.name for path in folder.iterdir())
        (folder / "card.txt").write_text("\n".join(names))
        return {"shards": len(names)}


def train_loop(context: StageContext) -> dict[str, Any]:
    """Runs in each of Ray Train's workers; dies at epoch ``dies_at``, once. An epoch takes
    ``wait_s``."""
    params = context.params
    for epoch in range(params["epochs"]):
        journal(params, f"epoch-{epoch}")
        if (
            epoch == params.get("dies_at")
            and len(list(Path(params["journal"]).glob("epoch-0*"))) == 1
        ):
            os._exit(1)
        time.sleep(float(params.get("wait_s", 0)))
        ray_train.report({"epoch": epoch})
        context.progress(epoch + 1, params["epochs"], "epochs")
    (context.out / "model.txt").write_text("trained")
    return {"epochs": params["epochs"]}
