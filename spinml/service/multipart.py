"""The body of a submission: named parts, bounded before and while they are read."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from spinml.bundle import BundleLimits
from spinml.errors import MalformedBundleError
from spinml.preference import MAX_OBJECTS

SEGMENTS = 2 * (MAX_OBJECTS + 1)
"""Target objects and background, each at L1 and L2: the most that a bundle holds."""

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
        MalformedBundleError: not multipart, broken, too many parts, or two of one name.
        PayloadTooLargeError: the body went over the cap.
    """
    most = 1 + SEGMENTS * limits.max_images_per_segment
    # A byte over the limit is let through, so that the bundle's own check can say which it was.
    size = max(limits.max_manifest_bytes, limits.max_image_bytes) + 1
    try:
        async with request.form(max_files=most, max_fields=most, max_part_size=size) as form:
            return await _collect(form)
    except HTTPException as error:
        raise MalformedBundleError(
            f"the body is not the multipart/form-data that is taken: {error.detail}",
            remedy="send the parts of SanitizedBundle.to_parts()",
        ) from None


async def _collect(form: FormData) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if name in parts:
            raise MalformedBundleError("two parts have the same name")
        if isinstance(value, UploadFile):
            parts[name] = await value.read()
        else:
            parts[name] = value.encode(errors="replace")
    return parts
