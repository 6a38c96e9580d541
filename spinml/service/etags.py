"""ETags, so that who has an answer already is not sent it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import Response

IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="The ETag of the answer that you have; 304 if that is still it.",
    ),
]
ETAG: dict[str, Any] = {"ETag": {"schema": {"type": "string"}, "description": "Names the content."}}
"""OpenAPI ``headers`` of an answer that has one."""
NOT_MODIFIED: dict[str, Any] = {
    "description": "You have it already (`If-None-Match`).",
    "headers": ETAG,
}


def quoted(tag: str) -> str:
    return f'"{tag}"'


def has(if_none_match: str | None, tag: str) -> bool:
    """Whether the header names ``tag``, alone or among others, as strong or weak one."""
    return if_none_match is not None and quoted(tag) in if_none_match


def not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": quoted(tag)})
