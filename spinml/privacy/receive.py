"""What arrived on the wire, parsed and checked: hostile until shown otherwise."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from spinml.bundle import (
    FORMAT_VERSION,
    MANIFEST_PART,
    BundleLimits,
    SanitizedBundle,
    part_name,
)
from spinml.errors import (
    BundleLimitError,
    InvalidRequestError,
    MalformedBundleError,
    UndeclaredPartError,
)
from spinml.preference import OBJECT_SEGMENTS
from spinml.privacy.rules import make_bundle
from spinml.privacy.strict_json import parse_strict
from spinml.request import BACKGROUND
from spinml.written import describe_problems


def bundle_from_parts(
    parts: Mapping[str, bytes], limits: BundleLimits | None = None
) -> SanitizedBundle:
    """Parse and check what arrived.

    Raises:
        MalformedBundleError: no or broken manifest, parts missing or changed.
        ManifestJsonError: its manifest is no strict JSON.
        UndeclaredPartError: it has parts that its manifest does not declare.
        ImageFormatError: an image is more or other than a plain PNG.
        InvalidRequestError: the request in it is not valid.
        BundleLimitError: over ``limits``.
        PreferenceViolationError: an image that the declared scheme does not allow.
    """
    limits = limits or BundleLimits()
    payload = _parse_manifest(parts, limits)
    segments = payload.get("segments")
    if not isinstance(segments, list) or not all(isinstance(item, dict) for item in segments):
        raise MalformedBundleError("the manifest's segments are not a list of objects")
    declared: Counter[str] = Counter()
    loaded = [_load_segment(item, parts, declared) for item in segments]
    names = {part_name(name, index) for name, count in declared.items() for index in range(count)}
    undeclared = len(set(parts) - names - {MANIFEST_PART})
    if undeclared:
        raise UndeclaredPartError(
            f"{undeclared} part(s) that the manifest does not declare",
            remedy="send exactly the parts of SanitizedBundle.to_parts()",
        )
    try:
        return make_bundle({"request": payload.get("request"), "segments": loaded}, limits)
    except ValidationError as error:
        problems = describe_problems(error)
        kind = InvalidRequestError if any(p.startswith("request") for p in problems) else None
        raise (kind or MalformedBundleError)(
            "the bundle is not valid: " + "; ".join(problems), details={"problems": problems}
        ) from None


def _parse_manifest(parts: Mapping[str, bytes], limits: BundleLimits) -> dict[str, Any]:
    raw = parts.get(MANIFEST_PART)
    if raw is None:
        raise MalformedBundleError("the bundle has no manifest part")
    if len(raw) > limits.max_manifest_bytes:
        raise BundleLimitError(
            f"the manifest has {len(raw)} bytes, at most {limits.max_manifest_bytes} are taken"
        )
    payload = parse_strict(raw)
    if not isinstance(payload, dict) or payload.get("version") != FORMAT_VERSION:
        raise MalformedBundleError(
            f"the manifest is not of version {FORMAT_VERSION}", remedy="update the device"
        )
    unknown = set(payload) - {"version", "request", "segments"}
    if unknown:
        raise MalformedBundleError(f"the manifest has {len(unknown)} unknown field(s)")
    return payload


def _load_segment(
    item: dict[str, Any], parts: Mapping[str, bytes], declared: Counter[str]
) -> dict[str, Any]:
    """The segment with its images' bytes in place of their digests.

    Args:
        declared: images of each name that earlier segments declared; this one's are added.
    """
    name, digests = item.get("name"), item.get("images", [])
    if name not in (*OBJECT_SEGMENTS, BACKGROUND) or not isinstance(digests, list):
        raise MalformedBundleError("a segment has no known name or no list of images")
    images = []
    for index, digest in enumerate(digests, start=declared[name]):
        image = parts.get(part_name(name, index))
        if image is None:
            raise MalformedBundleError(f"image {index} of {name} is missing")
        if hashlib.sha256(image).hexdigest() != digest:
            raise MalformedBundleError(f"image {index} of {name} is not the one declared")
        images.append(image)
    declared[name] += len(images)
    return {**item, "images": images}
