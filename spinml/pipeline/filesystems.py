"""Where an artifact store lies: a folder or an S3 bucket, told by its URL.

Both raise OSErrors alone: FileNotFoundError, PermissionError, ENOSPC where there is no room, and
ConnectionError for what may pass by itself: the server is away, overloaded or answers 500.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from spinml.errors import ArtifactError, StorageFullError, StoreUnavailableError
from spinml.pipeline.s3 import S3Bucket, s3_client

_UNFINISHED = ".part-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Location(Protocol):
    """Files by path; ``root`` is the folder (or ``bucket/prefix``) of the store."""

    root: str

    def is_file(self, path: str) -> bool: ...

    def files_below(self, folder: str) -> list[str]:
        """Paths of all whole files below ``folder``, sorted; none if it is not there."""

    def open(self, path: str) -> IO[bytes]: ...

    def write(self, path: str, source: Path | bytes) -> None:
        """Write a file; it appears whole or not at all."""

    def delete_file(self, path: str) -> None:
        """Erase one file; one that is not there is no error."""

    def delete_folder(self, path: str) -> None:
        """Erase all files below ``path``, and the folder itself where there are folders."""


class LocalFolder:
    """A folder of this machine, or one that all nodes mount."""

    def __init__(self, root: str) -> None:
        self.root = root

    def is_file(self, path: str) -> bool:
        return Path(path).is_file()

    def files_below(self, folder: str) -> list[str]:
        below = Path(folder).rglob("*")
        return sorted(p.as_posix() for p in below if _UNFINISHED not in p.name and p.is_file())

    def open(self, path: str) -> IO[bytes]:
        return Path(path).open("rb")

    def write(self, path: str, source: Path | bytes) -> None:
        """By a temporary name, on the disk before it has its own: also the power may fail."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}-{target.name}")
        try:
            stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
            with unfinished.open("wb") as out, stream:
                shutil.copyfileobj(stream, out)
                out.flush()
                os.fsync(out.fileno())
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def delete_file(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def delete_folder(self, path: str) -> None:
        if Path(path).exists():
            shutil.rmtree(path)


def locate(url: str, s3_endpoint: str | None = None) -> Location:
    """The place of ``file:///folder``, ``file://~/folder`` or ``s3://bucket/prefix``.

    S3 credentials and region come from the environment (``AWS_ACCESS_KEY_ID`` …) or the machine's
    role, never from the URL.

    Args:
        s3_endpoint: ``http://host:port`` of an S3 server that is not Amazon's.

    Raises:
        ArtifactError: another scheme, credentials in the URL, or no folder.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ArtifactError(
            "the artifact store's URL holds credentials",
            remedy="put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    path = f"{parts.netloc}{parts.path}".rstrip("/")
    if not path:
        raise ArtifactError("the artifact store's URL names no folder and no bucket")
    if parts.scheme == "file":
        root = Path(path).expanduser()
        if not root.is_absolute():
            raise ArtifactError("file:// is followed by an absolute folder or by ~/")
        return LocalFolder(root.as_posix())
    if parts.scheme == "s3":
        return S3Bucket(path, s3_client(s3_endpoint))
    raise ArtifactError(
        f"an artifact store of scheme {parts.scheme or 'none'!r}",
        remedy="use file:///folder or s3://bucket/prefix",
    )


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Turn what the filesystem raises into an ArtifactError that names no path and no key.

    Raises:
        StoreUnavailableError: what may pass by itself.
        StorageFullError: no room.
        ArtifactError: anything else.
    """
    try:
        yield
    except ConnectionError as error:
        raise StoreUnavailableError(
            f"the artifact store cannot be reached to {action}",
            remedy="try again later; the operator finds it by /readyz and store.artifacts",
        ) from error
    except OSError as error:
        full = no_room(error, f"there is no room to {action}")
        if full is not None:
            raise full from error
        raise ArtifactError(
            f"the artifact store failed to {action}: {type(error).__name__}",
            remedy="check the store's URL, its credentials and that it is reachable",
        ) from error


def no_room(error: BaseException, message: str) -> StorageFullError | None:
    """A StorageFullError if ``error`` says that a disk is full (or a quota, or a size's limit)."""
    if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
        return None
    remedy = "free space or delete runs; submitted again, a run goes on from its stages done"
    return StorageFullError(message, remedy=remedy)
