"""Erasing from the caches of nodes, by tasks that Ray runs there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import ray

from spinml.distributed.caches import evict_everywhere, evict_here
from spinml.distributed.cluster import connect
from spinml.errors import ArtifactError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import CACHE_ENV, NodeCache
from spinml.pipeline.stages import ArtifactKey, StageKind
from tests.pipeline.killed import leave_behind


def test_a_node_forgets_what_killed_processes_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    left = []
    for folder in (tmp_path / "cache", tmp_path / "tmp"):
        folder.mkdir()
        left.append(leave_behind(folder))
    evict_here([ArtifactKey("anna", StageKind.SEGMENT, "a" * 64)])
    assert [folder.exists() for folder in left] == [False, False]


@pytest.mark.ray
def test_every_node_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    store, cache = ArtifactStore.from_url(f"file://{tmp_path}/store"), NodeCache()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_text("private")
    keys = [ArtifactKey("anna", StageKind.FINETUNE, digit * 64) for digit in "ab"]
    for key in keys:
        store.publish(key, tmp_path / "made")
    kept, gone = (cache.fetch(store, key) for key in keys)
    connect(num_cpus=1, num_gpus=0, object_store_bytes=100_000_000)
    try:
        with pytest.raises(ArtifactError):
            evict_everywhere(keys[1:], timeout_s=0)
        evict_everywhere(keys[1:])
    finally:
        ray.shutdown()
    assert (kept.exists(), gone.exists()) == (True, False)
