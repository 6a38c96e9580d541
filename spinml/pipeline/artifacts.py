"""The artifact store: results of stages in a folder or bucket, visible once complete (rule 3).

Layout: ``<tenant>/<kind>/<digest>/<files>``, and beside the files ``manifest.json``, which is
written last and deleted first. Without it an artifact does not exist; files that a crashed stage
left behind are only seen by :meth:`ArtifactStore.list_files`, so that a dataset whose shards were
put one by one can be finished.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

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

_PROBE = ".probe/"
"""No tenant's: these begin with a letter or a digit."""
PATIENCE_S = 120.0
"""How long stages wait for a store that is away."""
ANSWER_PATIENCE_S = 3.0
"""How long somebody who waits for an answer is let wait."""
_Result = TypeVar("_Result")
_ARTIFACT_FILE = re.compile(
    rf"(?P<kind>{'|'.join(StageKind)})/(?P<digest>[0-9a-f]{{64}})/(?P<name>.+)"
)


class ArtifactStore:
    """Artifacts under one URL. Cheap to pickle: only the URL travels, credentials do not.

    Every operation may be repeated, and is while the store is away, for ``patience_s`` seconds.
    Then it raises StoreUnavailableError; where there is no room, StorageFullError at once.
    """

    def __init__(
        self, url: str, s3_endpoint: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self.url = url
        self.s3_endpoint = s3_endpoint
        self.patience_s = patience_s
        self._at: Location = locate(url, s3_endpoint)

    @classmethod
    def from_url(
        cls, url: str, s3_endpoint: str | None = None, patience_s: float = PATIENCE_S
    ) -> ArtifactStore:
        """The store at ``file:///folder``, ``file://~/folder`` or ``s3://bucket/prefix``.

        Raises:
            ArtifactError: the URL names no such place.
        """
        return cls(url, s3_endpoint, patience_s)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.s3_endpoint, self.patience_s)

    def probe(self) -> None:
        """See whether the store takes a file, gives it back and erases it.

        Raises:
            ArtifactError: it does not.
        """
        path, written = f"{self._at.root}/{_PROBE}{uuid.uuid4().hex}", uuid.uuid4().bytes
        with store_errors("take a file and give it back"):
            self._at.write(path, written)
            try:
                read = self._read(path)
            finally:
                self._at.delete_file(path)
        if read != written:
            raise ArtifactError("the artifact store gives back another file than it took")

    # Whole artifacts ---------------------------------------------------------------------------

    def exists(self, key: ArtifactKey) -> bool:
        """Whether the artifact is there, complete."""
        path = self._path(key, MANIFEST_NAME)
        return self._patiently("look up an artifact", lambda: self._at.is_file(path))

    def publish(
        self, key: ArtifactKey, folder: Path, figures: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Upload the files under ``folder``, then make the artifact visible.

        What is visible stays as it is: who was taken for dead and comes late changes nothing.

        Args:
            figures: JSON-able figures of the stage; nothing private.

        Raises:
            ArtifactError: the folder is empty or the store cannot be written.
        """
        names = files_below(folder)
        if not names:
            raise ArtifactError(f"the {key.kind} stage wrote no file")
        if self.exists(key):
            return self.read_manifest(key)
        entries = [self.put_file(key, name, folder / name) for name in names]
        self.delete_files(key, set(self.list_files(key)) - set(names))
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
        path = self._path(key, MANIFEST_NAME)
        with _absent(key, f"no {key.kind} artifact"):
            data = self._patiently("read a manifest", lambda: self._read(path))
        manifest = parse_manifest(data)
        if (manifest.kind, manifest.digest) != (key.kind, key.digest):
            raise ArtifactError(f"the manifest of {key.kind} {key.digest[:12]} names another one")
        return manifest

    def read_whole(self, key: ArtifactKey) -> Manifest:
        """The manifest of an artifact all of whose files are there; their content is not read.

        Who published while another erased the same may have written a manifest behind files that
        were gone by then: such an artifact is made invisible, to be published anew.

        Raises:
            ArtifactNotFoundError: not there, or not complete.
            ArtifactError: as :meth:`read_manifest`.
        """
        manifest = self.read_manifest(key)
        absent = {entry.name for entry in manifest.files} - set(self.list_files(key))
        if absent:
            self._hide(key)
            raise ArtifactNotFoundError(f"{len(absent)} files of a {key.kind} artifact are gone")
        return manifest

    def fetch(self, key: ArtifactKey, into: Path) -> Path:
        """Download the artifact's files into the folder ``into``, checking size and SHA-256.

        A damaged artifact is visible no longer, for else every run that shares it would fail.

        Raises:
            ArtifactNotFoundError: not there, or not complete.
            ArtifactError: a file is missing or, twice, is not what the manifest says.
        """
        for entry in self.read_manifest(key).files:
            if not (self._is_whole(key, entry, into) or self._is_whole(key, entry, into)):
                (into / entry.name).unlink(missing_ok=True)
                self._hide(key)
                raise ArtifactError(
                    f"a file of {key.kind} {key.digest[:12]} was damaged or missing",
                    remedy="submit the run again: what is damaged is made anew",
                )
        return into

    def _hide(self, key: ArtifactKey) -> None:
        path = self._path(key, MANIFEST_NAME)
        self._patiently("delete a manifest", lambda: self._at.delete_file(path))

    def _is_whole(self, key: ArtifactKey, entry: FileEntry, into: Path) -> bool:
        try:
            return self._download_file(key, entry.name, into) == entry
        except ArtifactNotFoundError:
            return False

    def delete(self, key: ArtifactKey) -> None:
        """Erase an artifact, whole or partial; it is invisible before its first file is gone."""
        self._hide(key)
        folder = self._path(key)
        self._patiently("delete an artifact", lambda: self._at.delete_folder(folder))

    def delete_tenant(self, tenant: str) -> None:
        """Erase all that a tenant has here."""
        for key in self.list_keys(tenant):
            self.delete(key)
        folder = f"{self._at.root}/{check_tenant(tenant)}"
        self._patiently("delete a tenant's artifacts", lambda: self._at.delete_folder(folder))

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
        with source.open("rb") as stream:
            size, sha256 = hash_stream(stream)
        self._patiently("write a file", lambda: self._at.write(path, source))
        return FileEntry(name=name, size_bytes=size, sha256=sha256)

    def delete_files(self, key: ArtifactKey, names: Iterable[str]) -> None:
        """Erase single files of an artifact that is not visible yet; absent ones are skipped."""
        paths = [self._path(key, name) for name in set(self.list_files(key)) & set(names)]

        def delete() -> None:
            for path in paths:
                self._at.delete_file(path)

        self._patiently("delete a file", delete)

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
        path = self._path(key, check_name(name))
        with _absent(key):
            return self._patiently("open a file", lambda: self._at.open(path))

    def _download_file(self, key: ArtifactKey, name: str, into: Path) -> FileEntry:
        path, target = self._path(key, check_name(name)), into / name

        def download() -> tuple[int, str]:
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._at.open(path) as stream, target.open("wb") as out:
                return hash_stream(stream, copy_to=out)

        with _absent(key):
            size, sha256 = self._patiently("read a file", download)
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
        data = manifest.model_dump_json(indent=1).encode()
        path = self._path(key, MANIFEST_NAME)
        self._patiently("write a manifest", lambda: self._at.write(path, data))
        return manifest

    def _read(self, path: str) -> bytes:
        with self._at.open(path) as stream:
            return stream.read()

    def _list(self, base: str) -> list[str]:
        """Paths of all whole files below ``base``, relative to it, sorted."""
        paths = self._patiently("list files", lambda: self._at.files_below(base))
        return [path.removeprefix(f"{base}/") for path in paths]

    def _patiently(self, action: str, call: Callable[[], _Result]) -> _Result:
        """Do what may be repeated, waiting for a store that is away for a while."""
        retrying = Retrying(
            retry=retry_if_exception_type(ConnectionError),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            stop=stop_after_delay(self.patience_s),
            reraise=True,
        )
        with store_errors(action):
            return retrying(call)


@contextmanager
def _absent(key: ArtifactKey, what: str = "no such file of artifact") -> Iterator[None]:
    """A file that is not there is an ArtifactNotFoundError."""
    try:
        yield
    except ArtifactError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ArtifactNotFoundError(
                f"{what} {key.digest[:12]} in the store",
                remedy="run the plan again; it makes what is missing",
            ) from None
        raise
