"""The artifact store, the same for a folder and for S3; the node's cache."""

from __future__ import annotations

import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spinml.errors import ArtifactError, ArtifactNotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.stages import ArtifactKey, StageKind

KEY = ArtifactKey("alice", StageKind.GENERATE, "a1" * 32)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 8192)
    (folder / "deep" / "note.txt").write_text("hello")
    return folder


def test_publish_and_fetch(store: ArtifactStore, made: Path, tmp_path: Path) -> None:
    assert not store.exists(KEY)
    with pytest.raises(ArtifactNotFoundError, match="a1a1"):
        store.fetch(KEY, tmp_path / "nothing")
    store.publish(KEY, made, {"images": 4})
    assert store.exists(KEY)
    manifest = store.read_manifest(KEY)
    assert [entry.name for entry in manifest.files] == ["deep/note.txt", "weights.bin"]
    assert manifest.figures == {"images": 4}
    assert manifest.size_bytes == 256 * 8192 + 5
    got = pickle.loads(pickle.dumps(store)).fetch(KEY, tmp_path / "got")
    assert (got / "weights.bin").read_bytes() == (made / "weights.bin").read_bytes()
    with store.open_file(KEY, "deep/note.txt") as stream:
        assert stream.read() == b"hello"
    with pytest.raises(ArtifactNotFoundError):
        store.open_file(KEY, "other.txt")


def test_shards_put_one_by_one_are_seen_once_sealed(
    store: ArtifactStore, made: Path, tmp_path: Path
) -> None:
    first = store.put_file(KEY, "shard-0.bin", made / "weights.bin")
    assert store.list_files(KEY) == ["shard-0.bin"]
    assert not store.exists(KEY)
    assert store.list_keys("alice") == []
    assert store.list_keys("alice", partial=True) == [KEY]
    assert store.download(KEY, ["shard-0.bin"], tmp_path / "part") == [first]
    second = store.put_file(KEY, "shard-1.bin", made / "deep" / "note.txt")
    store.seal(KEY, [first, second], {"shards": 2})
    assert store.list_keys("alice") == [KEY]
    assert (store.fetch(KEY, tmp_path / "got") / "shard-1.bin").read_text() == "hello"
    absent = first.model_copy(update={"name": "shard-9.bin"})
    with pytest.raises(ArtifactError, match="1 of 2 files"):
        store.seal(KEY, [first, absent])


def test_publishing_again_leaves_no_strays(store: ArtifactStore, made: Path) -> None:
    store.put_file(KEY, "of-a-crash.bin", made / "weights.bin")
    store.publish(KEY, made)
    assert store.list_files(KEY) == ["deep/note.txt", "weights.bin"]


def test_damage_is_found(store: ArtifactStore, made: Path, tmp_path: Path) -> None:
    store.publish(KEY, made)
    (made / "deep" / "note.txt").write_text("jello")
    store.put_file(KEY, "deep/note.txt", made / "deep" / "note.txt")
    with pytest.raises(ArtifactError, match="damaged"):
        store.fetch(KEY, tmp_path / "got")
    assert not (tmp_path / "got" / "deep" / "note.txt").exists()
    assert not store.exists(KEY), "the next run makes it anew"


def test_who_publishes_late_changes_nothing(
    store: ArtifactStore, made: Path, tmp_path: Path
) -> None:
    first = store.publish(KEY, made)
    (made / "deep" / "note.txt").write_text("by a worker that was taken for dead")
    assert store.publish(KEY, made) == first
    assert (store.fetch(KEY, tmp_path / "got") / "deep" / "note.txt").read_text() == "hello"


def test_deleting(store: ArtifactStore, made: Path) -> None:
    others = ArtifactKey("bob", KEY.kind, KEY.digest)
    store.publish(KEY, made)
    store.publish(others, made)
    store.delete(KEY)
    store.delete(KEY)
    assert not store.exists(KEY)
    assert store.list_files(KEY) == []
    assert store.list_keys("bob") == [others]
    store.delete_tenant("bob")
    assert store.list_keys("bob", partial=True) == []


def test_no_name_leads_out_of_the_artifact(store: ArtifactStore, made: Path) -> None:
    source = made / "weights.bin"
    for name in (
        "../x",
        "/etc/x",
        "a/../../x",
        "",
        ".",
        ".hidden",
        "a//b",
        "manifest.json",
        "a\\b",
    ):
        with pytest.raises(ArtifactError):
            store.put_file(KEY, name, source)
    for tenant in ("", "..", "a/b", "x" * 65, ".x"):
        with pytest.raises(ArtifactError):
            ArtifactKey(tenant, StageKind.MERGE, "a1" * 32)
        with pytest.raises(ArtifactError):
            store.list_keys(tenant)
    with pytest.raises(ArtifactError, match="64 lower-case"):
        ArtifactKey("alice", StageKind.MERGE, "../../..")


def test_nothing_to_publish_is_an_error(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="wrote no file"):
        store.publish(KEY, tmp_path / "empty")


@pytest.mark.parametrize("url", ["ftp://host/x", "file://", "s3://", "s3://key:pw@b/x", "folder"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ArtifactError):
        ArtifactStore.from_url(url)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ArtifactStore.from_url("file://~/artifacts").publish(KEY, made)
    assert (tmp_path / "artifacts" / KEY.path / "manifest.json").is_file()


def test_a_wrong_key_is_refused_without_naming_it(
    s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    store = ArtifactStore.from_url("s3://spinml/x", s3_endpoint)
    with pytest.raises(ArtifactError, match="failed to look up") as caught:
        store.exists(KEY)
    assert "not-the-secret" not in str(caught.value)


def test_a_cache_is_fetched_evicted_and_pruned_by_many_at_once(made: Path, tmp_path: Path) -> None:
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    keys = [ArtifactKey("alice", KEY.kind, f"{n:064x}") for n in range(4)]
    for key in keys:
        store.publish(key, made)
    cache = NodeCache(tmp_path / "cache")

    def work(n: int) -> None:
        for turn in range(15):
            key = keys[(n + turn) % len(keys)]
            cache.fetch(store, key)
            cache.evict(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not list((tmp_path / "cache").glob("alice/*/*"))


def test_cache_fetches_once_and_forgets(made: Path, tmp_path: Path) -> None:
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    store.publish(KEY, made)
    cache = NodeCache(tmp_path / "cache")
    home = cache.fetch(store, KEY)
    inode = (home / "weights.bin").stat().st_ino
    assert (cache.fetch(store, KEY) / "weights.bin").stat().st_ino == inode
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    long_ago = time.time() - 7 * 3600
    os.utime(home, (long_ago, long_ago))
    cache.prune()
    assert not home.exists()
    assert cache.fetch(store, KEY) == home
    store.delete(KEY)
    with pytest.raises(ArtifactNotFoundError):
        cache.fetch(store, KEY)
    cache.evict(KEY)
    assert not home.exists()


def test_a_probe_leaves_nothing_and_is_no_artifact(store: ArtifactStore) -> None:
    store.probe()
    assert store._list(store._at.root) == []


def test_a_probe_of_a_server_that_is_not_there() -> None:
    store = ArtifactStore.from_url("s3://spinml/x", "http://127.0.0.1:1")
    with pytest.raises(ArtifactError) as caught:
        store.probe()
    assert "127.0.0.1" not in str(caught.value)
