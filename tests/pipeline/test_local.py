"""A plan executed in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spinml.config import ServerConfig
from spinml.errors import StageError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.local import run_plan_local
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageContext, StageKind


def add_up(context: StageContext) -> dict[str, Any]:
    """The stage's number and those of its inputs, summed."""
    parts = [int((folder / "sum").read_text()) for folder in context.inputs.values()]
    total = sum(parts) + context.params["n"]
    if total < 0:
        raise StageError(f"a sum of {total}, at least 0 wanted")
    context.progress(1, 1, "sums")
    (context.out / "sum").write_text(str(total))
    return {"total": total}


def test_missing_stages_run_in_order_once(store: ArtifactStore, tmp_path: Path) -> None:
    one, two = Stage(StageKind.EXPAND, {"n": 1}), Stage(StageKind.PRIOR, {"n": 2})
    three = Stage(StageKind.MERGE, {"n": 4}, {"left": one.digest, "right": two.digest})
    plan = Plan({stage.digest: stage for stage in (one, two, three)}, {"sum": three.digest})
    operations = dict.fromkeys(StageKind, add_up)
    told: list[tuple[str, int]] = []

    def run() -> list[Stage]:
        return run_plan_local(
            plan,
            store,
            "alice",
            ServerConfig(),
            operations,
            lambda stage: lambda done, total, unit: told.append((stage.kind, done)),
            NodeCache(tmp_path / "cache"),
        )

    assert run() == [one, two, three]
    assert store.read_manifest(three.key("alice")).figures["total"] == 7
    assert told == [("expand", 1), ("prior", 1), ("merge", 1)]
    assert run() == []


def test_a_failed_stage_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    good = Stage(StageKind.EXPAND, {"n": 1})
    bad = Stage(StageKind.MERGE, {"n": -9}, {"left": good.digest})
    plan = Plan({stage.digest: stage for stage in (good, bad)}, {})
    arguments = (plan, store, "alice", ServerConfig())
    cache = NodeCache(tmp_path / "cache")
    with pytest.raises(StageError, match="no operation for: merge"):
        run_plan_local(*arguments, {StageKind.EXPAND: add_up}, cache=cache)
    with pytest.raises(StageError, match="a sum of -8"):
        run_plan_local(*arguments, dict.fromkeys(StageKind, add_up), cache=cache)
    assert store.list_keys("alice", partial=True) == [good.key("alice")]
