"""Two users' sweeps at once by Ray's own Jobs API, on a cluster with a dashboard and a service."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinml.distributed.head import free_port, running_head
from tests.jobs.stages import GATE
from tests.sweep.fakes import JOURNAL

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "journal").mkdir()
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",  # said to the head and its clients alike, or they disagree
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        JOURNAL: str(tmp_path / "journal"),
        GATE: str(tmp_path / "gate"),
    }


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A head of two CPUs; its address, and its dashboard's."""
    port, dashboard = free_port(), free_port()
    with running_head(
        port,
        tmp_path / "head.log",
        environment,
        num_cpus=2,
        object_store_memory=200_000_000,
        include_dashboard="true",
        dashboard_port=dashboard,
    ):
        url = f"http://127.0.0.1:{dashboard}"
        _wait_for(url, environment["RAY_AUTH_TOKEN"])
        yield f"127.0.0.1:{port}", url


def _wait_for(dashboard: str, token: str, timeout_s: float = 120) -> None:
    """Until it takes jobs: its agent has to be up, too."""
    request = urllib.request.Request(
        f"{dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise TimeoutError(f"no dashboard at {dashboard} after {timeout_s} s")


def test_two_users_sweep_at_once_and_one_drivers_death_costs_nothing(
    cluster: tuple[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.jobs.two_tenants", *cluster, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["jobs"] == ["SUCCEEDED"] * 2, figures["logs"]
    assert figures["states"] == ["succeeded"] * 3, "the service went on without the driver"
    assert figures["same_runs"], "what attaches submits nothing again"
    assert figures["apart"]
    rows = [["(L0, L0)", 0.75], ["(L2, L0)", 0.75], ["(L2, L2)", 0.75]]
    assert figures["rows"] == [rows, rows]
    counts = figures["executed"]
    assert counts["finetune"] == 2 + 2, "each tenant's two, though three trials want the target's"
    assert [counts[kind] for kind in ("generate", "train", "export", "measure")] == [6] * 4
    assert figures["keys_shown"] == []
