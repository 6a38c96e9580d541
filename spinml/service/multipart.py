"""The body of a submission: named parts, bounded before and while they are read."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from spinml.bundle import BundleLimits
from spinml.errors import MalformedMultipartError
from spinml.preference import MAX_OBJECTS

SEGMENTS = 2 * (MAX_OBJECTS + 1)
"""Target objects and background, each at L1 and L2: the most that a bundle holds."""
_PART = re.compile(r"manifest|(target(_[2-8])?|background)\.(0|[1-9][0-9]{0,3})", re.ASCII)

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "`SanitizedBundle.to_parts()`: the manifest, and one PNG part for each image that it "
            "declares, named `target.0`, `target.1`, …, `target_2.0`, …, `background.0`, … The "
            "number goes on through all segments of one name. File names are ignored."
        ),
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["manifest"],
                    "properties": {
                        "manifest": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "version, request, and segments with their digests",
                        }
                    },
                    "additionalProperties": {
                        "type": "string",
                        "format": "binary",
                        "contentMediaType": "image/png",
                    },
                },
                "encoding": {"manifest": {"contentType": "application/json"}},
            }
        },
    }
}


async def read_parts(request: Request, limits: BundleLimits) -> dict[str, bytes]:
    """The parts of a multipart body by name.

    Raises:
        MalformedMultipartError: not multipart, broken, too many parts, two of one name, or a name
            that no part of a bundle has.
        PayloadTooLargeError: the body went over the cap.
    """
    _check_content_type(request.headers.get("content-type", ""))
    most = 1 + SEGMENTS * limits.max_images_per_segment
    # A byte over the limit is let through, so that the bundle's own check can say which it was.
    size = max(limits.max_manifest_bytes, limits.max_image_bytes) + 1
    try:
        async with request.form(max_files=most, max_fields=most, max_part_size=size) as form:
            return await _collect(form)
    except HTTPException as error:
        raise _malformed(str(error.detail)) from None


def _check_content_type(header: str) -> None:
    """Starlette takes any other type for an empty form, and any codec of Python's for a charset."""
    kind, options = parse_options_header(header)
    if kind != b"multipart/form-data":
        raise _malformed("it has another content type")
    if options.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise _malformed("its charset is not utf-8")


def _malformed(why: str) -> MalformedMultipartError:
    return MalformedMultipartError(
        f"the body is not the multipart/form-data that is taken: {why}",
        remedy="send the parts of SanitizedBundle.to_parts()",
    )


async def _collect(form: FormData) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if not _PART.fullmatch(name):
            raise MalformedMultipartError(
                "a part has a name that no part of a bundle has",
                remedy="name parts manifest, target.0, target_2.0, background.0, …",
            )
        if name in parts:
            raise MalformedMultipartError("two parts have the same name")
        if isinstance(value, UploadFile):
            parts[name] = await value.read()
        else:
            parts[name] = value.encode(errors="replace")
    return parts
