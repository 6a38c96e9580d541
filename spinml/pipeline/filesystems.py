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
from typing import IO, Any, Protocol, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)

from spinml.errors import ArtifactError, StorageFullError, StoreUnavailableError

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 60.0
ATTEMPTS = 3
"""Of one S3 request, within a second or two; :class:`ArtifactStore` is patient beyond that."""
_UNFINISHED = ".part-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_CODES = ("InsufficientStorage", "XMinioStorageFull", "QuotaExceeded")


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
            with unfinished.open("wb") as out, _stream(source) as stream:
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


class S3Bucket:
    """A bucket of Amazon's or of another server; an object appears at once when its PUT ends."""

    def __init__(self, root: str, client: Any) -> None:
        self.root = root
        self._client = client

    def is_file(self, path: str) -> bool:
        try:
            with _s3_errors():
                self._client.head_object(**_object(path))
        except FileNotFoundError:
            return False
        return True

    def files_below(self, folder: str) -> list[str]:
        bucket, _, prefix = f"{folder}/".partition("/")
        with _s3_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(f"{bucket}/{key}" for key in keys if not key.endswith("/"))

    def open(self, path: str) -> IO[bytes]:
        with _s3_errors():
            body = self._client.get_object(**_object(path))["Body"]
        return cast(IO[bytes], _Body(body))

    def write(self, path: str, source: Path | bytes) -> None:
        with _stream(source) as stream, _s3_errors():
            self._client.upload_fileobj(stream, **_object(path))

    def delete_file(self, path: str) -> None:
        with _s3_errors():
            self._client.delete_object(**_object(path))

    def delete_folder(self, path: str) -> None:
        for file in self.files_below(path):
            self.delete_file(file)


class _Body:
    """An object's bytes; a connection that breaks, or ends early, is an OSError."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1) -> bytes:
        with _s3_errors():
            return bytes(self._body.read(None if size < 0 else size))

    def close(self) -> None:
        self._body.close()

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        return S3Bucket(path, _s3_client(s3_endpoint))
    raise ArtifactError(
        f"an artifact store of scheme {parts.scheme or 'none'!r}",
        remedy="use file:///folder or s3://bucket/prefix",
    )


def _s3_client(endpoint: str | None) -> Any:
    region = os.environ.get("AWS_REGION")
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ArtifactError("an S3 endpoint is written http://host:port or https://host")
        region = region or "us-east-1"
    config = BotoConfig(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=REQUEST_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Servers other than Amazon's refuse chunked uploads with trailing checksums (411).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # A session of its own: the default one remembers the first credentials for ever.
    session = boto3.Session()
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)


def _object(path: str) -> dict[str, str]:
    bucket, _, key = path.partition("/")
    return {"Bucket": bucket, "Key": key}


def _stream(source: Path | bytes) -> IO[bytes]:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


@contextmanager
def _s3_errors() -> Iterator[None]:
    """botocore's errors as OSErrors; their texts hold addresses and keys, so only names go on."""
    try:
        yield
    except ClientError as error:
        raise _answered(error) from None
    except NoCredentialsError as error:
        raise PermissionError(type(error).__name__) from None
    except (HTTPClientError, IncompleteReadError) as error:
        raise ConnectionError(type(error).__name__) from None
    except BotoCoreError as error:  # EndpointConnectionError has no base of its own to catch
        name = type(error).__name__
        raise (ConnectionError if "Connection" in name else OSError)(name) from None


def _answered(error: ClientError) -> OSError:
    """What the S3 server's answer means."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status == 404:
        return FileNotFoundError(status)
    if status in (401, 403):
        return PermissionError(status)
    if status == 507 or code in _FULL_CODES:
        return OSError(errno.ENOSPC, "the S3 server has no room")
    if status >= 500 or status in (408, 429) or code == "RequestTimeout":
        return ConnectionError(status)
    return OSError(status)


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
        if is_full(error):
            raise StorageFullError(
                f"there is no room to {action}",
                remedy="free space (or delete runs), and submit the run again: it goes on from "
                "the stages that are done",
            ) from error
        raise ArtifactError(
            f"the artifact store failed to {action}: {type(error).__name__}",
            remedy="check the store's URL, its credentials and that it is reachable",
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether a disk has no room for what was to be written (or a quota, or a limit of size)."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM
