"""The manifest of an artifact: what it holds, written after everything else is there."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spinml.errors import ArtifactError
from spinml.pipeline.stages import StageKind

MANIFEST_NAME = "manifest.json"
CHUNK_BYTES = 1 << 20


class FileEntry(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Path inside the artifact, ``/`` between folders."""
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What an artifact holds. It carries no parameters, for these hold a person's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    kind: StageKind
    digest: str
    created_at: datetime
    files: tuple[FileEntry, ...]
    figures: dict[str, Any] = Field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The size of all its files together."""
        return sum(entry.size_bytes for entry in self.files)

    @property
    def content_sha256(self) -> str:
        """SHA-256 over the names, sizes and hashes of all its files, in hexadecimal."""
        lines = [f"{entry.sha256} {entry.size_bytes} {entry.name}\n" for entry in self.files]
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ArtifactError: not a manifest of this version.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ArtifactError(
            f"an artifact's manifest is damaged ({error.error_count()} problems)",
            remedy="delete the artifact; the next run makes it again",
        ) from None
    for entry in manifest.files:
        check_name(entry.name)
    return manifest


def check_name(name: str) -> str:
    """``name`` if it is a plain relative path of a file inside an artifact.

    Raises:
        ArtifactError: absolute, with ``..``, hidden, or the manifest's own name.
    """
    path = PurePosixPath(name)
    plain = path.as_posix() == name and not path.is_absolute() and bool(path.parts)
    if not plain or "\\" in name or any(part.startswith(".") for part in path.parts):
        raise ArtifactError(
            f"a file name of {len(name)} characters that is no plain relative path",
            remedy="use names such as shards/00001.parquet",
        )
    if name == MANIFEST_NAME:
        raise ArtifactError(f"{MANIFEST_NAME} is written by the store itself")
    return name


def hash_stream(stream: IO[bytes], copy_to: IO[bytes] | None = None) -> tuple[int, str]:
    """Read ``stream`` to its end, copying it on the way: (size in bytes, SHA-256)."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return size, digest.hexdigest()


def files_below(folder: Path) -> list[str]:
    """The names of all files under ``folder``, sorted; links are not followed."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
