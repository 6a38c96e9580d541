"""Bundles as a device would send them, and as one that misbehaves would."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from spinml.bundle import SanitizedBundle, SanitizedSegment, seal
from spinml.request import PrivacyPreference, Scheme, TrainingRequest

SIZE_PX = 64


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def cut_out(seed: int = 0) -> bytes:
    """A disc of noise: RGBA, nothing outside."""
    pixels = np.random.default_rng(seed).integers(1, 255, (SIZE_PX, SIZE_PX, 4), dtype=np.uint8)
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX // 2
    inside = rows**2 + columns**2 < (SIZE_PX // 3) ** 2
    pixels[..., 3] = np.where(inside, 255, 0)
    pixels[~inside] = 0
    return png(pixels)


def opaque(seed: int = 0) -> bytes:
    """A whole photo: RGBA, opaque everywhere."""
    pixels = np.random.default_rng(seed).integers(1, 255, (SIZE_PX, SIZE_PX, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    return png(pixels)


def edges() -> bytes:
    """A sparse edge map: grey, 0 or 255."""
    pixels = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint8)
    pixels[16, 16:48] = pixels[47, 16:48] = 255
    pixels[16:48, 16] = pixels[16:48, 47] = 255
    return png(pixels)


def grey_photo() -> bytes:
    """What claims to be edges and is a photo."""
    return png(np.random.default_rng(0).integers(0, 255, (SIZE_PX, SIZE_PX), dtype=np.uint8))


def bomb(side_px: int = 50_000) -> bytes:
    """A PNG of a few kilobytes whose header promises 2.5 gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def bundle(
    target: Scheme = Scheme.L2,
    images: tuple[bytes, ...] | None = None,
    **changes: Any,
) -> SanitizedBundle:
    """A bundle of the given scheme for the target, background at L0. Nothing is checked here."""
    request = TrainingRequest.model_validate(
        {
            "target_object": "dog",
            "background": "bedroom",
            "training_objective": "what is my dog doing?",
            "label_classes": ["sitting", "sleeping"],
            "privacy": PrivacyPreference(target=target).model_dump(),
            **changes,
        }
    )
    if images is None:
        images = {Scheme.L0: (), Scheme.L1: (edges(),), Scheme.L2: (cut_out(0), cut_out(1))}[target]
    segments = (
        SanitizedSegment(
            name="target",
            scheme=target,
            text="dog",
            feature="canny" if target is Scheme.L1 else None,
            images=images,
        ),
        SanitizedSegment(name="background", scheme=Scheme.L0, text="bedroom"),
    )
    return seal({"request": request, "segments": segments})


def files(parts: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    """``parts`` for httpx's ``files``; with file names that mean harm, for they must not matter."""
    return [
        (name, ("../../../etc/passwd", data, "application/octet-stream"))
        for name, data in parts.items()
    ]


def with_manifest(parts: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """``parts`` with top-level fields of the manifest replaced."""
    manifest = json.loads(parts["manifest"]) | changes
    return parts | {"manifest": json.dumps(manifest).encode()}
