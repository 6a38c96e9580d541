"""The bundle's decoder under structured mutation: a bundle that keeps its word, or a 4xx."""

from __future__ import annotations

import hashlib
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spinml.bundle import BundleLimits, SanitizedBundle, decode_png
from spinml.errors import SpinMLError
from spinml.privacy.receive import bundle_from_parts
from spinml.privacy.rules import check_bundle
from spinml.privacy.sanitizer import sanitize
from spinml.request import Scheme
from tests.photos import request_of, segmented

Parts = dict[str, bytes]
LIMITS = BundleLimits(max_image_px=512, max_image_bytes=600_000)
PREFERENCES = [("L0", "L0"), ("L1", "L0"), ("L2", "L0"), ("L0", "L1"), ("L0", "L2"), ("L2", "L2")]
VALID: list[Parts] = [
    sanitize(request_of(*preference), [segmented()], hole="box").bundle.to_parts()
    for preference in PREFERENCES
]
MOST_S, MOST_BYTES = 3.0, 40_000_000


def holds(parts: Parts) -> SanitizedBundle | None:
    """The property: what is decoded satisfies its own preference, all else is a 4xx of ours."""
    began = time.perf_counter()
    bundle, refused = _decoded(parts)
    assert time.perf_counter() - began < MOST_S
    if bundle is None:
        assert refused is not None
        assert 400 <= refused.status < 500, refused.code
        json.dumps(refused.as_dict(), ensure_ascii=False).encode()  # as it is told over HTTP
        str(refused).encode()
        return None
    check_bundle(bundle, LIMITS)
    _keeps_its_word(bundle, parts)
    return bundle


def _decoded(parts: Parts) -> tuple[SanitizedBundle | None, SpinMLError | None]:
    try:
        return bundle_from_parts(parts, LIMITS), None
    except SpinMLError as error:
        return None, error


def _keeps_its_word(bundle: SanitizedBundle, parts: Parts) -> None:
    """Written without the rules' code: schemes, words, and no pixel where none is allowed."""
    request = bundle.request
    sent = [(segment.name, segment.scheme) for segment in bundle.segments]
    assert sorted(sent) == sorted(request.disclosures)
    assert sum(len(segment.images) for segment in bundle.segments) == len(parts) - 1
    for segment in bundle.segments:
        assert segment.text == request.words_of(segment.name)
        shapes = [decode_png(image, LIMITS) for image in segment.images]
        if segment.scheme is Scheme.L0:
            assert not shapes
        elif segment.scheme is Scheme.L1:
            assert shapes
            assert all(pixels.ndim == 2 for pixels in shapes)  # canny's maps are grey
        else:
            assert shapes
            assert all(not np.any(pixels[pixels[..., 3] == 0]) for pixels in shapes)


# Mutations: each takes a draw and parts, and gives parts ------------------------------------------


def flip(draw: Any, parts: Parts) -> Parts:
    name = draw(st.sampled_from(sorted(parts)))
    data = bytearray(parts[name])
    for _ in range(draw(st.integers(1, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return parts | {name: bytes(data)}


def cut(draw: Any, parts: Parts) -> Parts:
    name = draw(st.sampled_from(sorted(parts)))
    return parts | {name: parts[name][: draw(st.integers(0, len(parts[name])))]}


def rename(draw: Any, parts: Parts) -> Parts:
    """Duplicate, add or move a part."""
    data = parts[draw(st.sampled_from(sorted(parts)))]
    names = [
        "target.0",
        "target.1",
        "target.-1",
        "target_2.0",
        "background.0",
        "../x",
        "",
        "\0",
        "é",
    ]
    changed = parts | {draw(st.sampled_from(names) | st.text(max_size=20)): data}
    if draw(st.booleans()):
        changed.pop(draw(st.sampled_from(sorted(changed))))
    return changed


def swap(draw: Any, parts: Parts) -> Parts:
    """The images of this bundle under the manifest of another."""
    return parts | {"manifest": draw(st.sampled_from(VALID))["manifest"]}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["L0", "L1", "L2", "target", "background", "canny", "depth", "box", "a" * 999]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def edit(draw: Any, parts: Parts) -> Parts:
    """Change, add or drop a value anywhere in the manifest, by JSON that may be no JSON."""
    try:
        manifest = json.loads(parts.get("manifest", b"{}"))
    except ValueError:
        return parts
    if not isinstance(manifest, dict):
        return parts
    at, steps = manifest, draw(st.sampled_from([1, 2, 2, 3, 3, 4]))
    if steps > 1 and isinstance(manifest.get("request"), dict):  # past the few fields at the top
        at = draw(st.sampled_from([manifest["request"], manifest.get("segments")]))
    for step in range(steps):
        if not (isinstance(at, dict | list) and at):
            break
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if step < steps - 1 and isinstance(at[key], dict | list):
            at = at[key]
            continue
        if draw(st.booleans()):
            at[key] = draw(JSON)
        elif isinstance(at, dict):
            at[draw(st.text(max_size=9))] = at.pop(key)
        else:
            at.append(at[key])
        break
    return parts | {"manifest": json.dumps(manifest).encode()}


def chunks(draw: Any, parts: Parts) -> Parts:
    """Hostile edits of a PNG's chunks with true checksums, declared by their digest."""
    images = sorted(name for name in parts if name != "manifest" and parts[name][:4] == b"\x89PNG")
    if not images:
        return parts
    name = draw(st.sampled_from(images))
    pieces, at, data = [], 8, parts[name]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        pieces.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(draw(st.integers(1, 3))):
        _edit_chunks(draw, pieces)
    made = data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in pieces
    )
    made += draw(st.sampled_from([b"", b"PK\x03\x04", b"<svg/>", data]))
    return _declared(parts, name, made)


def _edit_chunks(draw: Any, pieces: list[tuple[bytes, bytes]]) -> None:
    index = draw(st.integers(0, len(pieces) - 1)) if pieces else 0
    kinds = st.sampled_from(
        [b"IHDR", b"IDAT", b"IEND", b"tEXt", b"acTL", b"fdAT", b"PLTE", b"tRNS", b"eXIf", b"prVt"]
    )
    action = draw(st.sampled_from(["header", "insert", "drop", "twice", "body", "pack"]))
    if action == "insert" or not pieces:
        pieces.insert(index, (draw(kinds), draw(st.binary(max_size=40))))
    elif action == "drop":
        pieces.pop(index)
    elif action == "twice":
        pieces.insert(index, pieces[index])
    elif action == "body":
        pieces[index] = (pieces[index][0], draw(st.binary(max_size=80)))
    elif action == "pack":  # pixels that inflate to more, less or something else
        size = draw(st.integers(0, 2_000_000))
        pieces[index] = (b"IDAT", zlib.compress(bytes([draw(st.integers(0, 9))]) * size, 9))
    else:
        numbers = [
            draw(st.sampled_from([0, 1, 256, 512, 513, 65_535, 2**31 - 1, 2**32 - 1])),
            draw(st.sampled_from([0, 1, 256, 512, 513, 2**32 - 1])),
            *draw(st.tuples(*[st.sampled_from([0, 1, 2, 3, 4, 6, 8, 16, 255])] * 5)),
        ]
        pieces[index] = (b"IHDR", struct.pack(">IIBBBBB", *numbers))


def _declared(parts: Parts, name: str, data: bytes) -> Parts:
    """``parts`` with ``name`` replaced and its digest in the manifest made true."""
    old, new = (hashlib.sha256(content).hexdigest() for content in (parts[name], data))
    manifest = parts.get("manifest", b"").replace(old.encode(), new.encode())
    return parts | {name: data, "manifest": manifest}


MUTATIONS: list[Callable[[Any, Parts], Parts]] = [
    flip,
    cut,
    rename,
    swap,
    *[edit] * 4,
    *[chunks] * 3,
]


@st.composite
def mutated(draw: st.DrawFn) -> Parts:
    parts = dict(draw(st.sampled_from(VALID)))
    for mutation in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=3)):
        if parts:
            parts = mutation(draw, parts)
    return parts


FUZZ = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize("parts", VALID, ids=map(str, PREFERENCES))
def test_the_seeds_are_bundles(parts: Parts) -> None:
    assert holds(parts) is not None


@settings(max_examples=800, **FUZZ)
@given(mutated())
def test_mutants(parts: Parts) -> None:
    holds(parts)


@pytest.mark.slow
@settings(max_examples=10_000, **FUZZ)
@given(mutated())
def test_many_mutants(parts: Parts) -> None:
    holds(parts)


@settings(max_examples=25, **FUZZ)
@given(mutated())
def test_mutants_take_bounded_memory(parts: Parts) -> None:
    tracemalloc.start()
    try:
        holds(parts)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
