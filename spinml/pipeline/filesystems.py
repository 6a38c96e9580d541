"""Where an artifact store lies: a folder or an S3 bucket, told by its URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from spinml.errors import ArtifactError

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Location:
    """A pyarrow filesystem and the folder (or ``bucket/prefix``) of the store in it."""

    filesystem: Any
    root: str
    is_local: bool


def locate(url: str, s3_endpoint: str | None = None) -> Location:
    """The filesystem of ``file:///folder``, ``file://~/folder`` or ``s3://bucket/prefix``.

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
        return Location(pafs.LocalFileSystem(), root.as_posix(), is_local=True)
    if parts.scheme == "s3":
        return Location(_s3(s3_endpoint), path, is_local=False)
    raise ArtifactError(
        f"an artifact store of scheme {parts.scheme or 'none'!r}",
        remedy="use file:///folder or s3://bucket/prefix",
    )


def _s3(endpoint: str | None) -> Any:
    # Servers other than Amazon's refuse chunked uploads with trailing checksums (411).
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    options: dict[str, Any] = {}
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ArtifactError("an S3 endpoint is written http://host:port or https://host")
        options = {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        options["region"] = os.environ.get("AWS_REGION", "us-east-1")
    return pafs.S3FileSystem(
        connect_timeout=CONNECT_TIMEOUT_S, request_timeout=REQUEST_TIMEOUT_S, **options
    )


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Turn what the filesystem raises into an ArtifactError that names no path and no key."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"the artifact store failed to {action}: {type(error).__name__}",
            remedy="check the store's URL, its credentials and that it is reachable",
        ) from error
