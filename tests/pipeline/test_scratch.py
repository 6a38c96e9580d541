"""Temporary folders: gone at the end, and soon after their process was killed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from spinml.config import ServerConfig
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.execution import Workplace, task_of
from spinml.pipeline.plan import Plan
from spinml.pipeline.scratch import scratch, sweep
from spinml.pipeline.stages import ArtifactKey, Stage, StageContext, StageKind
from tests.pipeline.killed import at_work, leave_behind


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's machine has temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_folder_is_this_users_and_gone_at_the_end(temporary: Path) -> None:
    with scratch("train") as folder:
        (folder / "weights").write_text("private")
        assert folder.stat().st_mode & 0o077 == 0
    assert list(temporary.iterdir()) == []


def test_a_sweep_takes_what_the_killed_left_and_nothing_else(temporary: Path) -> None:
    others = temporary / "spinml-scratch-link"
    others.symlink_to(temporary.parent)
    dead = leave_behind(temporary)
    with at_work(temporary) as living, scratch("own") as own:
        sweep()
        assert (dead.exists(), living.exists(), own.exists()) == (False, True, True)
    sweep()
    assert list(temporary.iterdir()) == [others]


def test_a_stage_begins_with_a_sweep(temporary: Path, tmp_path: Path) -> None:
    stage = Stage(StageKind.EXPAND, {"n": 1})
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    workplace = Workplace(store, ServerConfig(), NodeCache(tmp_path / "cache"))
    dead = leave_behind(temporary)

    def see(context: StageContext) -> dict[str, int]:
        assert not dead.exists()
        (context.out / "sum").write_text("1")
        return {}

    task = task_of(Plan({stage.digest: stage}, {}), stage, "alice")
    workplace.execute(task, see, lambda done, total, unit: None)
    assert list(temporary.iterdir()) == []


def test_a_download_that_was_killed_does_not_stay_in_the_cache(tmp_path: Path) -> None:
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    key = ArtifactKey("alice", StageKind.SEGMENT, "a1" * 32)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "segment.json").write_text("{}")
    store.publish(key, tmp_path / "made")
    cache = NodeCache(tmp_path / "cache")
    home = cache.fetch(store, key)
    dead = leave_behind(cache.folder)
    cache.prune()
    assert (home.exists(), dead.exists()) == (True, False)
