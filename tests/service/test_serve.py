"""The service as it is deployed, in a process that has Ray's metrics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.ray
def test_the_service_as_it_is_deployed() -> None:
    # Once a process has seen both settings, a metric made under the one ends it under the other.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rP", "--color=no", str(HERE / "through_serve.py")],
        cwd=HERE.parents[1],
        env=os.environ | {"RAY_enable_open_telemetry": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    print(done.stdout)  # noqa: T201
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
