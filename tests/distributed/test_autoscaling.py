"""A run on a cluster whose GPU node is not there until the autoscaler has added it.

The autoscaler is Ray's own; its nodes are processes on this machine. Ray's ``AutoscalingCluster``
does the same but ends every Ray of the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinml.distributed.head import free_port, running_head

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
EMPTY: dict[str, list[str]] = {
    "cluster_synced_files": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "rsync_exclude": [],
    "rsync_filter": [],
}
"""What a cluster on one machine has no need of, but must name."""


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }


@pytest.fixture
def address(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    """A head without GPUs, which may add one node with one."""
    address = f"127.0.0.1:{free_port()}"
    config = {
        "cluster_name": "autoscaled",
        "max_workers": 1,
        "upscaling_speed": 1000,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "disable_node_updaters": True,
            "gcs_address": address,
        },
        "auth": {"ssh_user": "nobody"},
        "docker": {},
        "file_mounts": {},
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "max_workers": 1},
        },
        **EMPTY,
    }
    path = tmp_path / "autoscaler.json"
    path.write_text(json.dumps(config))
    with running_head(
        int(address.partition(":")[2]),
        tmp_path / "head.log",
        environment,
        num_cpus=1,
        object_store_memory=100_000_000,
        include_dashboard="false",
        autoscaling_config=path,
    ):
        _wait_for(address)
        yield address


def _wait_for(address: str, timeout_s: float = 60) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"no head at {address} after {timeout_s} s")


def test_a_gpu_node_is_added_for_a_run(
    address: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.distributed.autoscaled", address, str(tmp_path)],
        env=environment,
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
