"""Where an artifact store lies: a folder or an S3 bucket, told by its URL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow.fs as pafs
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from spinml.errors import ArtifactError

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Location:
    """A pyarrow filesystem and the folder (or ``bucket/prefix``) of the store in it."""

    filesystem: Any
    root: str
    s3_client: Any = None
    """boto3's, for erasing: pyarrow leaves a marker object where a deleted file's folder was, and
    some servers refuse that. None for a folder."""

    @property
    def is_local(self) -> bool:
        return self.s3_client is None

    def is_file(self, path: str) -> bool:
        """Whether a file (an object) is there."""
        return bool(self.filesystem.get_file_info(path).type == pafs.FileType.File)

    def files_below(self, base: str) -> list[str]:
        """Paths of all files below the folder ``base``, sorted."""
        selector = pafs.FileSelector(base, recursive=True, allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        return sorted(info.path for info in infos if info.type == pafs.FileType.File)

    def delete_file(self, path: str) -> None:
        """Erase one file; one that is not there is no error."""
        if self.is_local:
            Path(path).unlink(missing_ok=True)
            return
        bucket, _, key = path.partition("/")
        try:
            self.s3_client.delete_object(Bucket=bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            raise OSError(type(error).__name__) from error

    def delete_folder(self, path: str) -> None:
        """Erase all files below ``path``, and the folder itself where there are folders."""
        for file in self.files_below(path):
            self.delete_file(file)
        if self.is_local and Path(path).exists():
            shutil.rmtree(path)


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
        return Location(pafs.LocalFileSystem(), root.as_posix())
    if parts.scheme == "s3":
        return _s3(path, s3_endpoint)
    raise ArtifactError(
        f"an artifact store of scheme {parts.scheme or 'none'!r}",
        remedy="use file:///folder or s3://bucket/prefix",
    )


def _s3(root: str, endpoint: str | None) -> Location:
    # Servers other than Amazon's refuse chunked uploads with trailing checksums (411).
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    options: dict[str, Any] = {}
    region = os.environ.get("AWS_REGION")
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ArtifactError("an S3 endpoint is written http://host:port or https://host")
        region = region or "us-east-1"
        options = {"endpoint_override": parts.netloc, "scheme": parts.scheme, "region": region}
    filesystem = pafs.S3FileSystem(
        connect_timeout=CONNECT_TIMEOUT_S, request_timeout=REQUEST_TIMEOUT_S, **options
    )
    timeouts = BotoConfig(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=REQUEST_TIMEOUT_S)
    client = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=timeouts)
    return Location(filesystem, root, client)


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
