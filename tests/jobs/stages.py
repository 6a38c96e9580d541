"""Stages on the cluster that wait for the test before they train."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from spinml.config import ServerConfig
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import StageContext, StageKind
from spinml.service.work import Execute
from tests.sweep.fakes import run

GATE = "SPINML_TEST_GATE"
"""Names a file: training begins when it is there."""
HELD = Operations(
    functions={kind: "tests.jobs.stages:held" for kind in StageKind if kind != StageKind.SEGMENT}
)


def held(context: StageContext) -> dict[str, Any]:
    """As :func:`tests.sweep.fakes.run`."""
    while context.stage.kind is StageKind.TRAIN and not Path(os.environ[GATE]).exists():
        context.progress(0, 1, "epochs")
        time.sleep(0.1)
    return run(context)


def on_ray(config: ServerConfig, store: ArtifactStore) -> Execute:
    """The service's executor: the real one."""
    return Executor(config, store, HELD).run
