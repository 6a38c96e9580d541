"""No test sees or changes what this user's own service and device keep."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home: Path = tmp_path_factory.mktemp("spinml-home")
    monkeypatch.setenv("SPINML_HOME", str(home))
    monkeypatch.setenv("SPINML_LEDGER", str(home / "ledger.jsonl"))
    monkeypatch.delenv("SPINML_API_KEY", raising=False)
