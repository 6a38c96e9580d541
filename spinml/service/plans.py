"""A plan as JSON: what a run's row keeps of it, and back."""

from __future__ import annotations

from typing import Any

from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.service.models import Run, StageState


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The stages in order and the results' digests."""
    stages = [
        {
            "kind": stage.kind.value,
            "params": dict(stage.params),
            "inputs": dict(stage.inputs),
            "label": stage.label,
        }
        for stage in plan
    ]
    return {"stages": stages, "results": dict(plan.results)}


def plan_from_json(data: dict[str, Any]) -> Plan:
    """The plan that :func:`plan_to_json` described; digests are computed anew."""
    stages = [
        Stage(StageKind(item["kind"]), item["params"], item["inputs"], item["label"])
        for item in data["stages"]
    ]
    return Plan({stage.digest: stage for stage in stages}, data["results"])


def still_needs_bundle(run: Run) -> bool:
    """Whether a stage that takes one of the run's sanitized segments is not done."""
    ready = (StageState.DONE, StageState.REUSED)
    done = {stage.digest for stage in run.stages if stage.state in ready}
    return bool(plan_from_json(run.plan).needed_segments(done))
