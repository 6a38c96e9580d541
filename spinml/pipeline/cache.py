"""A node's cache of fetched artifacts: named by content, so what is there is always valid."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.scratch import scratch, sweep
from spinml.pipeline.stages import ArtifactKey

CACHE_ENV = "SPINML_CACHE_DIR"
KEEP_S = 6 * 3600.0


def default_folder() -> Path:
    """``$SPINML_CACHE_DIR``, or a folder of this user's below the machine's temporary one."""
    named = os.environ.get(CACHE_ENV)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"spinml-cache-{os.getuid()}"


class NodeCache:
    """Copies of artifacts on this node's disk, shared by all its workers.

    An artifact appears by one rename, so that no worker sees half of it. What was not used for
    ``keep_s`` is removed when something else is fetched, so that an artifact erased from the
    store does not outlive that on any node at work.
    """

    def __init__(self, folder: Path | None = None, keep_s: float = KEEP_S) -> None:
        self.folder = folder or default_folder()
        self.keep_s = keep_s

    def fetch(self, store: ArtifactStore, key: ArtifactKey) -> Path:
        """The folder with the artifact's files; read only.

        Raises:
            ArtifactNotFoundError: not in the store, whatever the cache holds.
            ArtifactError: damaged in the store.
        """
        home = self.folder / key.path
        if home.is_dir() and store.exists(key):
            with contextlib.suppress(FileNotFoundError):  # evicted or pruned just now
                os.utime(home)
                return home
        self.prune()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with scratch("fetch", self.folder) as unfinished:
            store.fetch(key, unfinished)
            home.parent.mkdir(parents=True, exist_ok=True)
            self._appear(unfinished, home)
        return home

    @staticmethod
    def _appear(unfinished: Path, home: Path) -> None:
        """Rename into place; another worker that was faster wrote the same."""
        while not home.is_dir():
            try:
                unfinished.rename(home)
                return  # whatever happens to it then: there is nothing to rename again
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def evict(self, key: ArtifactKey) -> None:
        """Forget an artifact on this node; renamed first, so that no other worker is half-way."""
        home = self.folder / key.path
        if home.is_dir():
            # Another process may evict it just now.
            with scratch("evict", self.folder) as gone, contextlib.suppress(FileNotFoundError):
                home.rename(gone / home.name)

    def prune(self) -> None:
        """Remove what was not used for ``keep_s``, and what killed processes left unfinished.

        Other workers fetch, evict and prune meanwhile.
        """
        sweep(self.folder)
        oldest = time.time() - self.keep_s
        artifacts = [
            home
            for tenant in _folders(self.folder)
            for kind in _folders(tenant)
            for home in _folders(kind)
        ]
        for home in artifacts:
            with contextlib.suppress(FileNotFoundError):
                if home.stat().st_mtime < oldest:
                    shutil.rmtree(home, ignore_errors=True)


def _folders(folder: Path) -> list[Path]:
    """The folders in ``folder``; none if it is gone."""
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
