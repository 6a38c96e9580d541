"""An S3 bucket, Amazon's or another server's, as a ``Location`` of spinml.pipeline.filesystems."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
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

from spinml.errors import ArtifactError

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 60.0
ATTEMPTS = 3
"""Of one request, within a second or two; the store itself is patient beyond that."""
_FULL_CODES = ("InsufficientStorage", "XMinioStorageFull", "QuotaExceeded")


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
        stream = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
        with stream, _s3_errors():
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


def s3_client(endpoint: str | None) -> Any:
    """boto3's client; credentials and region come from the environment.

    Raises:
        ArtifactError: the endpoint is no URL of a server.
    """
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
