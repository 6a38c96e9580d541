"""An autoscaling cluster on this machine: Ray's own autoscaler, whose nodes are processes here.

It is the autoscaler's second version, which KubeRay runs, too.
Ray's ``AutoscalingCluster`` does the same, but ends every Ray of the machine, and reads a file that
its wheel does not contain.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)

from spinml.config import NodeGroup
from spinml.distributed.head import free_port, running_head
from spinml.errors import ServerUnavailableError

OBJECT_STORE_BYTES = 100_000_000
"""Of each node; results travel through the artifact store."""
START_TIMEOUT_S = 120.0

_UNUSED: dict[str, Any] = {
    "auth": {"ssh_user": "nobody"},
    "docker": {},
    "file_mounts": {},
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


@dataclass(frozen=True)
class LocalCluster:
    """How to reach the cluster."""

    address: str
    """``host:port``."""
    environment: dict[str, str]
    """What a process that joins it must have been started with: Ray reads its token when it is
    imported."""


@contextmanager
def autoscaling_cluster(
    group: NodeGroup, folder: Path, *, idle_s: float, head_cpus: float = 0
) -> Iterator[LocalCluster]:
    """A head without GPUs, which adds up to ``group.max_nodes`` nodes as work waits; all of it
    ends with the block.

    Args:
        group: what each added node has; ``memory_gb`` is not imitated.
        folder: for the autoscaler's file and the head's log.
        idle_s: how long a node is idle before it goes; the autoscaler looks once a second.
        head_cpus: the head's; with 0 no stage runs there.

    Raises:
        ServerUnavailableError: the head did not come up.
    """
    port = free_port()
    cluster = LocalCluster(f"127.0.0.1:{port}", _environment())
    as_head = {  # by these the autoscaler knows the head among its nodes
        "RAY_FAKE_CLUSTER": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    file = folder / "autoscaler.json"
    file.write_text(json.dumps(_description(cluster.address, group, idle_s, head_cpus)))
    with running_head(
        port,
        folder / "head.log",
        cluster.environment | as_head,
        num_cpus=head_cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard="false",
        autoscaling_config=file,
    ):
        _wait_for(port)
        yield cluster


def _environment() -> dict[str, str]:
    return os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_autoscaler_v2": "1",
        # All nodes share this machine: a new one must come up, which Ray gives half a minute for,
        # though the workers of the others are busy starting.
        "RAY_worker_niceness": "5",
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }


def _description(
    address: str, group: NodeGroup, idle_s: float, head_cpus: float
) -> dict[str, object]:
    """What ``ray up`` would read of a cluster in a cloud."""
    added = {"CPU": group.num_cpus, "GPU": group.num_gpus}
    return {
        "cluster_name": "rehearsal",
        "max_workers": group.max_nodes,
        "upscaling_speed": 1000,
        "idle_timeout_minutes": idle_s / 60,
        "provider": {
            # The same as type fake_multinode, whose defaults are a file that the wheel lacks.
            "type": "external",
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "disable_node_updaters": True,  # else every node is ended as "launch failed"
            "gcs_address": address,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {
                "resources": {"CPU": head_cpus},
                "node_config": {},
                "max_workers": 0,
            },
            "added": {
                "resources": added | {"object_store_memory": OBJECT_STORE_BYTES},
                "node_config": {},
                "max_workers": group.max_nodes,
            },
        },
        **_UNUSED,
    }


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise ServerUnavailableError(
        f"Ray's head did not come up in {START_TIMEOUT_S:.0f} s",
        remedy="its log lies in the folder given, head.log",
    )
