"""Runs and a sweep on a cluster whose GPU nodes are not there until the autoscaler adds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from spinml.config import NodeGroup
from spinml.distributed.autoscaling import autoscaling_cluster
from spinml.report.scaling import Execution, Timeline

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]


def test_a_gpu_node_is_added_for_a_run(tmp_path: Path) -> None:
    group = NodeGroup(num_cpus=1, num_gpus=1, max_nodes=1)
    with autoscaling_cluster(group, tmp_path, idle_s=300, head_cpus=1) as cluster:
        done = subprocess.run(
            [sys.executable, "-m", "tests.distributed.autoscaled", cluster.address, str(tmp_path)],
            env=cluster.environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=480,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "figures.json").read_text()) == {
        "before": 0,
        "after": 1,
        "without": "infeasible_resources",
        "with": "executed 1",
    }


def test_a_sweep_grows_the_cluster_spreads_and_leaves_it_empty(tmp_path: Path) -> None:
    """``jobs/autoscaling.py`` as an operator calls it, with four preferences and three nodes."""
    sweep = yaml.safe_load((ROOT / "examples" / "sweep.yaml").read_text())
    sweep["request"] = yaml.safe_load((ROOT / "examples" / "pet.yaml").read_text())
    sweep["space"] = {"preferences": {"target": ["L0", "L2"], "background": ["L0", "L2"]}}
    file, out = tmp_path / "sweep.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(sweep))
    command = [sys.executable, str(ROOT / "jobs" / "autoscaling.py"), str(file)]
    options = ["--nodes", "3", "--out", str(out), "--wait", "300", "--plain", "--json"]
    done = subprocess.run(
        [*command, *options],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=1300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((out / "timeline.json").read_text())
    assert written["figures"] == figures
    timeline = Timeline.model_validate(written["timeline"])

    assert (figures["trials"], figures["failed"]) == (4, 0)
    assert timeline.samples[0].nodes == ()
    assert 2 <= timeline.most_nodes <= 3
    # Two fine-tuned, one merged, two drawn; generated, trained, exported, measured for each.
    assert figures["stages"] == 2 + 1 + 2 + 4 * 4
    assert timeline.executed_again() == []
    assert all(one.ended_s is not None for one in timeline.executions)
    assert any(
        one.node != other.node and _overlap(one, other)
        for one, other in combinations(timeline.executions, 2)
    ), "stages ran on several nodes at once"
    assert timeline.emptied_s is not None
    assert timeline.samples[-1].nodes == ()
    assert (out / "autoscaling.png").read_bytes().startswith(b"\x89PNG")


def _overlap(one: Execution, other: Execution) -> bool:
    assert one.ended_s is not None
    assert other.ended_s is not None
    return one.began_s < other.ended_s and other.began_s < one.ended_s


def _environment(home: Path) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"PYTHONPATH": str(ROOT), "HOME": str(home)}
