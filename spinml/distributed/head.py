"""Heads of Ray as processes of their own on this machine: for tests and rehearsals."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_head(
    port: int, log: Path, environment: Mapping[str, str], **options: object
) -> Iterator[None]:
    """A head of Ray on the loopback; it and all that it started end with the block.

    Args:
        options: further ones of ``ray start``, with ``_`` for ``-``.
    """
    every = {
        "port": port,
        "node-ip-address": "127.0.0.1",
        "num-gpus": 0,
        "dashboard-agent-listen-port": free_port(),
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    with log.open("wb") as output:
        head = subprocess.Popen(  # noqa: S603 - Ray's own command
            command + [f"--{name}={value}" for name, value in every.items()],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        ours = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
        for process in ours:
            process.terminate()
        _, alive = psutil.wait_procs(ours, timeout=20)
        for process in alive:
            process.kill()
