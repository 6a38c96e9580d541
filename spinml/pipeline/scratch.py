"""Temporary folders that do not outlive their process for long, even one that was killed.

They hold what people shared, so that an erasure must reach them. A process holds a lock on each of
its folders, which the kernel releases however the process ends: a folder whose lock can be had is
dead. A disk without such locks, as NFS is, is not swept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "spinml-scratch-"


@contextlib.contextmanager
def scratch(name: str, below: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end.

    Args:
        name: what it is for, for people.
        below: where; None: where the machine has temporary files.
    """
    made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=below))
    with _lock(made):
        # A sweep finds it by its final name only, and then locked.
        folder = made.rename(made.with_name(f"{_PREFIX}{made.name.removeprefix('.')}"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(below: Path | None = None) -> None:
    """Remove the folders of processes that are gone.

    Raises:
        OSError: one of them cannot be removed.
    """
    for folder in (below or Path(tempfile.gettempdir())).glob(f"{_PREFIX}*"):
        with _lock(folder) as is_dead:
            if is_dead:
                with contextlib.suppress(FileNotFoundError):  # its end came just now
                    shutil.rmtree(folder)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; False: it is another's, the folder is gone or not this user's."""
    with contextlib.ExitStack() as held:
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            held.callback(os.close, opened)
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_held = False
        else:
            is_held = True
        yield is_held
