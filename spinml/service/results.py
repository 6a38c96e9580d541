"""What a run made, out of the store: files as streams, once their artifact is complete."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import PurePosixPath
from typing import IO

from spinml.errors import ArtifactNotFoundError, NotReadyError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.manifest import FileEntry, Manifest
from spinml.pipeline.planner import dataset_roles
from spinml.pipeline.stages import ArtifactKey
from spinml.service.models import Run, RunState
from spinml.service.plans import plan_from_json

CHUNK_BYTES = 256 * 1024
MODEL_FILE = "model.onnx"
EMBEDDINGS_FILE = "embeddings.npz"


def result_manifest(store: ArtifactStore, run: Run, role: str) -> tuple[ArtifactKey, Manifest]:
    """Key and manifest of a run's result.

    Args:
        role: "dataset", "dataset_2", …, "export" or "measure": a key of :attr:`Plan.results`.

    Raises:
        NotReadyError: it does not exist yet, or never will since the run has ended.
    """
    key = plan_from_json(run.plan).result(role).key(run.tenant_id)
    try:
        return key, store.read_manifest(key)
    except ArtifactNotFoundError:
        ended = RunState(run.state).final
        raise NotReadyError(
            f"the run is {run.state} and its {role} does not exist",
            remedy="submit again" if ended else "follow the run's events and ask again",
            details={"state": run.state},
        ) from None


def entry_of(manifest: Manifest, name: str) -> FileEntry:
    """The file ``name`` of an artifact.

    Raises:
        ArtifactNotFoundError: the artifact has no such file.
    """
    for entry in manifest.files:
        if entry.name == name:
            return entry
    raise ArtifactNotFoundError(f"the {manifest.kind} artifact has no file of that name")


def stream_file(store: ArtifactStore, key: ArtifactKey, name: str) -> Iterator[bytes]:
    """The bytes of one file, piece by piece.

    Raises:
        ArtifactNotFoundError: no such file; raised before the first piece.
    """
    return _pieces(store.open_file(key, name))


def dataset_manifests(store: ArtifactStore, run: Run) -> dict[str, tuple[ArtifactKey, Manifest]]:
    """Key and manifest of the run's synthetic datasets by folder: "", or a mixture's roles.

    Raises:
        NotReadyError: one does not exist yet, or never will since the run has ended.
    """
    roles = dataset_roles(plan_from_json(run.plan).results)
    found = {role: result_manifest(store, run, role) for role in roles}
    return found if len(roles) > 1 else {"": found[roles[0]]}


def stream_tar(
    store: ArtifactStore, artifacts: Mapping[str, tuple[ArtifactKey, Manifest]]
) -> Iterator[bytes]:
    """All files of artifacts, each in its folder, as a tar archive, never as a whole in memory."""
    for folder, (key, manifest) in artifacts.items():
        for entry in manifest.files:
            info = tarfile.TarInfo(str(PurePosixPath(folder, entry.name)))
            info.size = entry.size_bytes
            info.mtime = int(manifest.created_at.timestamp())
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield from _pieces(store.open_file(key, entry.name))
            yield bytes(-entry.size_bytes % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def read_file(store: ArtifactStore, key: ArtifactKey, name: str) -> bytes:
    """One small file, whole."""
    return b"".join(_pieces(store.open_file(key, name)))


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    with closing(stream):
        while piece := stream.read(CHUNK_BYTES):
            yield piece
