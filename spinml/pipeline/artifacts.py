"""The artifact store: results of stages in a folder or bucket, visible once complete (rule 3).

Layout: ``<tenant>/<kind>/<digest>/<files>``, and beside the files ``manifest.json``, which is
written last and deleted first. Without it an artifact does not exist; files that a crashed stage
left behind are only seen by :meth:`ArtifactStore.list_files`, so that a dataset whose shards were
put one by one can be finished.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from spinml.errors import ArtifactError, ArtifactNotFoundError
from spinml.pipeline.filesystems import Location, locate, store_errors
from spinml.pipeline.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    check_name,
    files_below,
    hash_stream,
    parse_manifest,
)
from spinml.pipeline.stages import ArtifactKey, StageKind, check_tenant

_UNFINISHED = ".part-"
_PROBE = ".probe/"
"""No tenant's: these begin with a letter or a digit."""
_ARTIFACT_FILE = re.compile(
    rf"(?P<kind>{'|'.join(StageKind)})/(?P<digest>[0-9a-f]{{64}})/(?P<name>.+)"
)


class ArtifactStore:
    """Artifacts under one URL. Cheap to pickle: only the URL travels, credentials do not."""

    def __init__(self, url: str, s3_endpoint: str | None = None) -> None:
        self.url = url
        self.s3_endpoint = s3_endpoint
        self._at: Location = locate(url, s3_endpoint)

    @classmethod
    def from_url(cls, url: str, s3_endpoint: str | None = None) -> ArtifactStore:
        """The store at ``file:///folder``, ``file://~/folder`` or ``s3://bucket/prefix``.

        Raises:
            ArtifactError: the URL names no such place.
        """
        return cls(url, s3_endpoint)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.s3_endpoint)

    def probe(self) -> None:
        """See whether the store takes a file, gives it back and erases it.

        Raises:
            ArtifactError: it does not.
        """
        path, written = f"{self._at.root}/{_PROBE}{uuid.uuid4().hex}", uuid.uuid4().bytes
        with store_errors("take a file and give it back"):
            self._write(path, io.BytesIO(written))
            try:
                read = self._read(path)
            finally:
                self._at.delete_file(path)
        if read != written:
            raise ArtifactError("the artifact store gives back another file than it took")

    # Whole artifacts ---------------------------------------------------------------------------

    def exists(self, key: ArtifactKey) -> bool:
        """Whether the artifact is there, complete."""
        with store_errors("look up an artifact"):
            return self._at.is_file(self._path(key, MANIFEST_NAME))

    def publish(
        self, key: ArtifactKey, folder: Path, figures: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Upload the files under ``folder``, then make the artifact visible.

        Args:
            figures: JSON-able figures of the stage; nothing private.

        Raises:
            ArtifactError: the folder is empty or the store cannot be written.
        """
        names = files_below(folder)
        if not names:
            raise ArtifactError(f"the {key.kind} stage wrote no file")
        entries = [self.put_file(key, name, folder / name) for name in names]
        with store_errors("delete what a crash left"):
            for stray in set(self.list_files(key)) - set(names):
                self._at.delete_file(self._path(key, stray))
        return self._write_manifest(key, entries, figures or {})

    def seal(
        self,
        key: ArtifactKey,
        entries: Sequence[FileEntry],
        figures: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Make an artifact visible whose files were put one by one.

        Args:
            entries: of all its files, as :meth:`put_file` and :meth:`download` gave them.

        Raises:
            ArtifactError: no file, or a file of ``entries`` is not there.
        """
        names = {entry.name for entry in entries}
        absent = names - set(self.list_files(key))
        if absent or not names:
            raise ArtifactError(f"{len(absent)} of {len(names)} files of {key.kind} are not there")
        ordered = sorted(entries, key=lambda entry: entry.name)
        return self._write_manifest(key, ordered, figures or {})

    def read_manifest(self, key: ArtifactKey) -> Manifest:
        """The manifest of an artifact.

        Raises:
            ArtifactNotFoundError: not there, or not complete.
            ArtifactError: damaged, or of another artifact.
        """
        if not self.exists(key):
            raise ArtifactNotFoundError(
                f"no {key.kind} artifact {key.digest[:12]} in the store",
                remedy="run the plan again; it makes what is missing",
            )
        with store_errors("read a manifest"):
            data = self._read(self._path(key, MANIFEST_NAME))
        manifest = parse_manifest(data)
        if (manifest.kind, manifest.digest) != (key.kind, key.digest):
            raise ArtifactError(f"the manifest of {key.kind} {key.digest[:12]} names another one")
        return manifest

    def fetch(self, key: ArtifactKey, into: Path) -> Path:
        """Download the artifact's files into the folder ``into``, checking size and SHA-256.

        Raises:
            ArtifactNotFoundError: not there, or not complete.
            ArtifactError: a file is missing or is not what the manifest says.
        """
        for entry in self.read_manifest(key).files:
            got = self._download_file(key, entry.name, into)
            if got != entry:
                (into / entry.name).unlink()
                raise ArtifactError(
                    f"a file of {key.kind} {key.digest[:12]} is damaged: {got.size_bytes} bytes, "
                    f"{entry.size_bytes} wanted, or another SHA-256",
                    remedy="delete the artifact; the next run makes it again",
                )
        return into

    def delete(self, key: ArtifactKey) -> None:
        """Erase an artifact, whole or partial; it is invisible before its first file is gone."""
        with store_errors("delete an artifact"):
            self._at.delete_file(self._path(key, MANIFEST_NAME))
            self._at.delete_folder(self._path(key))

    def delete_tenant(self, tenant: str) -> None:
        """Erase all that a tenant has here."""
        for key in self.list_keys(tenant):
            self.delete(key)
        with store_errors("delete a tenant's artifacts"):
            self._at.delete_folder(f"{self._at.root}/{check_tenant(tenant)}")

    def list_keys(self, tenant: str, *, partial: bool = False) -> list[ArtifactKey]:
        """The keys of a tenant's artifacts, sorted.

        Args:
            partial: those that have files but no manifest, too.
        """
        base = f"{self._at.root}/{check_tenant(tenant)}"
        found = set()
        for path in self._list(base):
            match = _ARTIFACT_FILE.fullmatch(path)
            if match and (partial or match["name"] == MANIFEST_NAME):
                found.add(ArtifactKey(tenant, StageKind(match["kind"]), match["digest"]))
        return sorted(found, key=lambda key: key.path)

    # Single files ------------------------------------------------------------------------------

    def put_file(self, key: ArtifactKey, name: str, source: Path) -> FileEntry:
        """Put one file of an artifact; it appears whole or not at all.

        Raises:
            ArtifactError: a bad name, or the store cannot be written.
        """
        path = self._path(key, check_name(name))
        with source.open("rb") as stream, store_errors("write a file"):
            size, sha256 = self._write(path, stream)
        return FileEntry(name=name, size_bytes=size, sha256=sha256)

    def delete_files(self, key: ArtifactKey, names: Iterable[str]) -> None:
        """Erase single files of an artifact that is not visible yet; absent ones are skipped."""
        present = set(self.list_files(key))
        with store_errors("delete a file"):
            for name in present & set(names):
                self._at.delete_file(self._path(key, name))

    def list_files(self, key: ArtifactKey) -> list[str]:
        """The names of the files that are there, sorted, with or without a manifest."""
        return [name for name in self._list(self._path(key)) if name != MANIFEST_NAME]

    def download(self, key: ArtifactKey, names: Iterable[str], into: Path) -> list[FileEntry]:
        """Download these files, with or without a manifest, and say what they are.

        Raises:
            ArtifactNotFoundError: one of them is not there.
        """
        return [self._download_file(key, name, into) for name in names]

    def open_file(self, key: ArtifactKey, name: str) -> IO[bytes]:
        """A stream of one file; close it.

        Raises:
            ArtifactNotFoundError: no such file.
        """
        try:
            with store_errors("open a file"):
                stream = self._at.filesystem.open_input_stream(self._path(key, check_name(name)))
        except ArtifactError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ArtifactNotFoundError(
                    f"a file of {key.kind} {key.digest[:12]} is not in the store"
                ) from None
            raise
        return cast(IO[bytes], stream)

    def _download_file(self, key: ArtifactKey, name: str, into: Path) -> FileEntry:
        target = into / check_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.open_file(key, name) as stream,
            target.open("wb") as out,
            store_errors("read a file"),
        ):
            size, sha256 = hash_stream(stream, copy_to=out)
        return FileEntry(name=name, size_bytes=size, sha256=sha256)

    # The filesystem ----------------------------------------------------------------------------

    def _path(self, key: ArtifactKey, name: str | None = None) -> str:
        folder = f"{self._at.root}/{key.path}"
        return folder if name is None else f"{folder}/{name}"

    def _write_manifest(
        self, key: ArtifactKey, entries: list[FileEntry], figures: Mapping[str, Any]
    ) -> Manifest:
        manifest = Manifest(
            kind=key.kind,
            digest=key.digest,
            created_at=datetime.now(UTC),
            files=tuple(entries),
            figures=dict(figures),
        )
        with store_errors("write a manifest"):
            data = io.BytesIO(manifest.model_dump_json(indent=1).encode())
            self._write(self._path(key, MANIFEST_NAME), data)
        return manifest

    def _write(self, path: str, stream: IO[bytes]) -> tuple[int, str]:
        """Write ``path`` at once: S3 does so itself, a folder by a temporary name and a rename."""
        filesystem = self._at.filesystem
        if not self._at.is_local:
            with filesystem.open_output_stream(path) as out:
                return hash_stream(stream, copy_to=out)
        folder, _, name = path.rpartition("/")
        filesystem.create_dir(folder, recursive=True)
        unfinished = f"{folder}/{_UNFINISHED}{uuid.uuid4().hex}-{name}"
        try:
            with filesystem.open_output_stream(unfinished) as out:
                written = hash_stream(stream, copy_to=out)
            filesystem.move(unfinished, path)
        except BaseException:
            self._at.delete_file(unfinished)
            raise
        return written

    def _read(self, path: str) -> bytes:
        with self._at.filesystem.open_input_stream(path) as stream:
            return cast(bytes, stream.read())

    def _list(self, base: str) -> list[str]:
        """Paths of all whole files below ``base``, relative to it, sorted."""
        with store_errors("list files"):
            paths = self._at.files_below(base)
        return [path.removeprefix(f"{base}/") for path in paths if _UNFINISHED not in path]
