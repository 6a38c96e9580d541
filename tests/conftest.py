"""No test sees or changes what this user's own service and device keep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# From the second ``ray.init`` of a process on, Ray 2.60 never stops the thread that exports the
# process's own metrics, which ends in a segmentation fault if it logs while Python exits. The
# one test that needs them runs in a process of its own.
os.environ.setdefault("RAY_enable_open_telemetry", "0")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home: Path = tmp_path_factory.mktemp("spinml-home")
    monkeypatch.setenv("SPINML_HOME", str(home))
    monkeypatch.setenv("SPINML_LEDGER", str(home / "ledger.jsonl"))
    monkeypatch.delenv("SPINML_API_KEY", raising=False)
