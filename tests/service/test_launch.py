"""``spinml serve`` as a process: a supervisor's signal takes it down in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

pytestmark = pytest.mark.ray


@pytest.mark.timeout(300)
def test_sigterm_takes_the_service_down_in_order(tmp_path: Path) -> None:
    store = {"artifacts": f"file://{tmp_path}/a", "database": f"sqlite:///{tmp_path}/db"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"store": store, "service": {"port": 0}}))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "spinml.cli", "serve", "--config", str(config)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            env=os.environ | {"HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            lines = iter(process.stdout.readline, "") if process.stdout else ()
            assert any("http://127.0.0.1:" in line for line in lines), log.read_text()[-2000:]
            below = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, log.read_text()[-2000:]
        finally:
            process.kill()
    assert below, "Ray and its workers"
    assert not psutil.wait_procs(below, timeout=60)[1]
