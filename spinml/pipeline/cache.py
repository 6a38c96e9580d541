"""A node's cache of fetched artifacts: named by content, so what is there is always valid."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path

from spinml.pipeline.artifacts import ArtifactStore
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
            os.utime(home)
            return home
        self.prune()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self.folder / f".part-{uuid.uuid4().hex}"
        try:
            store.fetch(key, unfinished)
            home.parent.mkdir(parents=True, exist_ok=True)
            self._appear(unfinished, home)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return home

    @staticmethod
    def _appear(unfinished: Path, home: Path) -> None:
        """Rename into place; another worker that was faster wrote the same bytes."""
        try:
            unfinished.rename(home)
        except OSError:
            if not home.is_dir():
                raise

    def evict(self, key: ArtifactKey) -> None:
        """Forget an artifact on this node."""
        home = self.folder / key.path
        if home.is_dir():
            shutil.rmtree(home)

    def prune(self) -> None:
        """Remove what was not used for ``keep_s``, and downloads that a crash left behind."""
        oldest = time.time() - self.keep_s
        for folder in [*self.folder.glob("*/*/*"), *self.folder.glob(".part-*")]:
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
