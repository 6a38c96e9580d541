"""What :mod:`tests.distributed.test_autoscaling` runs on an autoscaling cluster.

``python -m tests.distributed.autoscaled ADDRESS FOLDER`` writes ``FOLDER/figures.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from spinml.config import NodeGroup, ResourceConfig, Resources, ServerConfig
from spinml.distributed.cluster import connect
from spinml.errors import InfeasibleResourcesError
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site, plan_of

DIFFUSION = Resources(num_cpus=0, num_gpus=1)
GROUP = NodeGroup(num_cpus=1, num_gpus=1, max_nodes=1)


def main(address: str, folder: Path) -> None:
    """Run a stage that wants a GPU, without and with ``resources.node_groups``."""
    connect(address)
    before = ray.cluster_resources().get("GPU", 0)
    refused = _run(folder, ResourceConfig(diffusion=DIFFUSION))
    told = _run(folder, ResourceConfig(diffusion=DIFFUSION, node_groups=(GROUP,)))
    after = ray.cluster_resources().get("GPU", 0)
    figures = {"before": before, "after": after, "without": refused, "with": told}
    (folder / "figures.json").write_text(json.dumps(figures))
    ray.shutdown()


def _run(folder: Path, resources: ResourceConfig) -> str:
    site = Site(folder, ServerConfig(resources=resources))
    executor = site.executor()
    try:
        executor.run(
            plan_of(site.stage("tune", kind=StageKind.FINETUNE)), "anna", "run", lambda event: None
        )
    except InfeasibleResourcesError as error:
        return error.code
    finally:
        executor.close()
    return f"executed {site.executed()['tune']}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
