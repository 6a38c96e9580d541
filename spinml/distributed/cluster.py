"""Connecting to Ray: a cluster that is there, or one on this machine for as long as we live."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from spinml.errors import ServerUnavailableError

OBJECT_STORE_BYTES = 1_000_000_000
"""A local cluster's object store: results travel through the artifact store, not through it."""

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
"""Set before Ray starts, where the environment does not say otherwise."""


def connect(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    dashboard: bool = False,
    object_store_bytes: int = OBJECT_STORE_BYTES,
    temp_dir: Path | None = None,
    log_level: int = logging.WARNING,
) -> Any:
    """Join the cluster at ``address`` (or ``$RAY_ADDRESS``), or start one on this machine.

    A local cluster ends with this process. Ray switches token authentication on for it, and says so
    in ``RAY_AUTH_MODE`` for the clients that this process starts. Whoever wants another mode sets
    that variable before Python starts: set later, Ray's server and this process would disagree,
    for Ray reads it when it is imported.

    Args:
        address: "auto", ``host:port``, ``ray://…`` or None.
        num_cpus: a local cluster's CPUs; None: the machine's.
        num_gpus: its GPUs (may be logical ones, for tests); None: the machine's.
        dashboard: start the dashboard, which ``ray job submit`` needs.
        temp_dir: where a local cluster keeps its sessions; a short path.

    Returns:
        Ray's context; call :func:`ray.shutdown` at the end.

    Raises:
        ServerUnavailableError: no cluster answers at ``address``.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    common: dict[str, Any] = {"logging_level": log_level, "log_to_driver": False}
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        try:
            return ray.init(address=address, **common)
        except (ConnectionError, ValueError) as error:
            raise ServerUnavailableError(
                "no Ray cluster answers at the address given",
                remedy="start one with `ray start --head`, or leave the address out",
            ) from error
    return ray.init(
        address="local",
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        object_store_memory=object_store_bytes,
        include_dashboard=dashboard,
        _temp_dir=str(temp_dir) if temp_dir else None,
        **common,
    )


def ping() -> None:
    """Ask the cluster's control store; waits as long as Ray does when it is away.

    Raises:
        ServerUnavailableError: this process is in no cluster, or no node of it lives.
    """
    if not ray.is_initialized():
        raise ServerUnavailableError("this process is not connected to Ray")
    if not any(node["Alive"] for node in ray.nodes()):
        raise ServerUnavailableError("no node of the Ray cluster lives")


def cluster_use() -> dict[str, tuple[float, float]]:
    """CPUs and GPUs of the cluster this process is connected to: (in use, there are)."""
    there, free = ray.cluster_resources(), ray.available_resources()
    return {
        name: (round(there.get(name, 0.0) - free.get(name, 0.0), 3), there.get(name, 0.0))
        for name in ("CPU", "GPU")
    }


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Be connected meanwhile, as :func:`connect` does it."""
    connect(address)
    try:
        yield
    finally:
        ray.shutdown()
