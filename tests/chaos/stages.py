"""Stages of no work: they sleep, write small files, and note in a log that they ran."""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinml.config import ServerConfig
from spinml.errors import GenerationError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import Stage, StageContext, StageKind
from spinml.service.work import Execute
from tests.service.executors import FILES

LOG, LONGEST_S, PADDING = "SPINML_CHAOS_LOG", "SPINML_CHAOS_STAGE_S", "SPINML_CHAOS_BYTES"
"""Environment: the log's path, the longest stage in seconds, bytes of each artifact."""
BROKEN = "broken"
"""A class whose dataset cannot be drawn."""


@dataclass(frozen=True)
class Execution:
    """One execution of a stage; ``ended`` is None if its process died under it."""

    digest: str
    pid: int
    began: float
    ended: float | None


def run(context: StageContext) -> dict[str, Any]:
    """A StageFunction."""
    stage = context.stage
    seconds = random.Random(stage.digest).uniform(0.3, 1.0) * float(os.environ[LONGEST_S])
    mark = _note(stage, "began")
    ends_at, steps = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        time.sleep(0.05)
        steps += 1
        context.progress(steps, steps + 1, "steps")
    if BROKEN in stage.params.get("label_classes", ()):
        _note(stage, "ended", mark)
        raise GenerationError("no object could be drawn", remedy="ask for another class")
    files = FILES.get(stage.kind, {"result": b"result"})
    padding = random.Random(stage.digest).randbytes(int(os.environ[PADDING]))
    for name, data in {**files, "padding": padding}.items():
        file = context.out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    _note(stage, "ended", mark)
    return {}


def _note(stage: Stage, what: str, mark: float | None = None) -> float:
    """One line, appended at once; no server that a test kills is between it and the disk."""
    mark = mark or time.time()
    line = {"what": what, "mark": mark, "at": time.time(), "digest": stage.digest}
    descriptor = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(line | {"pid": os.getpid()}) + "\n").encode())
    os.close(descriptor)
    return mark


def executions(log: Path) -> dict[str, list[Execution]]:
    """Digest → its executions, by when they began."""
    found: dict[tuple[str, int, float], Execution] = {}
    for text in log.read_text().splitlines() if log.exists() else ():
        line = json.loads(text)
        key = line["digest"], line["pid"], line["mark"]
        ended = line["at"] if line["what"] == "ended" else None
        found[key] = Execution(*key, ended)
    by_digest: dict[str, list[Execution]] = defaultdict(list)
    for execution in sorted(found.values(), key=lambda one: one.began):
        by_digest[execution.digest].append(execution)
    return by_digest


def on_ray(config: ServerConfig, store: ArtifactStore) -> Execute:
    """The real executor, with stages of no work: an ExecuteFactory."""
    from spinml.distributed.executor import Executor
    from spinml.distributed.operations import Operations

    functions = dict.fromkeys(StageKind, "tests.chaos.stages:run")
    return Executor(config, store, Operations(functions=functions)).run
