"""Plain PNGs and nothing else: every byte of an image is a pixel's or is refused."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from spinml.bundle import BundleLimits, decode_png
from spinml.errors import BundleLimitError, ImageFormatError
from spinml.images import encode_png

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
PNG = encode_png(PIXELS)
LIMITS = BundleLimits()
HIDDEN = b"a whole private photo"


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def build(
    *,
    header: tuple[int, ...] = (8, 6, 8, 2, 0, 0, 0),
    rows: bytes | None = None,
    stream: bytes | None = None,
    before: bytes = b"",
    behind: bytes = b"",
    tail: bytes = b"",
    end: bytes = b"",
) -> bytes:
    """A PNG of PIXELS, honest but for what the arguments change."""
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS) if rows is None else rows
    stream = zlib.compress(rows) if stream is None else stream
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
        + before
        + chunk(b"IDAT", stream)
        + behind
        + chunk(b"IEND", end)
        + tail
    )


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("photo", HIDDEN)
    return out.getvalue()


def test_the_builder_is_honest() -> None:
    assert np.array_equal(decode_png(build(), LIMITS), PIXELS)


RGB = Image.fromarray(PIXELS)
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
TWO_CHUNKS = chunk(b"IDAT", zlib.compress(ROWS)[:20])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
        (saved(RGB.convert("CMYK"), "JPEG"), "not a PNG"),
        (saved(RGB, "GIF"), "not a PNG"),
        (saved(RGB, "TIFF"), "not a PNG"),
        (saved(RGB, "WEBP"), "not a PNG"),
        (zipped(), "not a PNG"),
        (saved(RGB.convert("P")), "8 bits a sample"),
        (saved(RGB.convert("1")), "8 bits a sample"),
        (saved(RGB.convert("LA")), "8 bits a sample"),
        (saved(Image.new("I;16", (8, 6))), "8 bits a sample"),
        (build(header=(8, 6, 16, 2, 0, 0, 0)), "8 bits a sample"),
        (build(header=(8, 6, 8, 2, 0, 0, 1)), "8 bits a sample"),
        (build(header=(0, 6, 8, 2, 0, 0, 0)), "no pixels"),
        (saved(RGB, save_all=True, append_images=[RGB.rotate(90)]), "metadata or other data"),
        (build(before=chunk(b"tEXt", b"Comment\0" + HIDDEN)), "metadata or other data"),
        (build(before=chunk(b"prVt", HIDDEN)), "metadata or other data"),
        (build(behind=chunk(b"prVt", HIDDEN)), "metadata or other data"),
        (build(before=chunk(b"PLTE", bytes(3))), "metadata or other data"),
        (build(before=chunk(b"tRNS", bytes(6))), "metadata or other data"),
        (build(tail=zipped()), "behind its end"),
        (build(tail=zipped() + chunk(b"IEND", b"")), "behind its end"),
        (build(tail=b"<html><script>1</script>"), "behind its end"),
        (build(end=HIDDEN), "bytes in its end"),
        (build(rows=ROWS + HIDDEN), "behind its pixels"),
        (build(stream=zlib.compress(ROWS) + HIDDEN), "behind its pixels"),
        (build(behind=chunk(b"IDAT", HIDDEN)), "behind its pixels"),
        (build(rows=ROWS[:-1]), "lacks pixels"),
        (build(stream=zlib.compress(ROWS)[:-9]), "lacks pixels"),
        (build(stream=zlib.compress(ROWS)[:-4] + b"abcd"), "pixels are damaged"),
        (build(stream=b"no zlib"), "pixels are damaged"),
        (build(rows=b"\7" + ROWS[1:]), "filter"),
        (PNG[:-12], "no end"),
        (PNG[:-3], "within a chunk"),
        (PNG[:20], "within a chunk"),
        (PNG[:33], "no end"),
        (PNG[:40] + b"\0" + PNG[41:], "checksum|within a chunk"),
        (PNG[:8] + PNG[33:], "no header"),
    ],
)
def test_what_is_more_or_other_than_a_plain_png(data: bytes, why: str) -> None:
    with pytest.raises(ImageFormatError, match=why) as caught:
        decode_png(data, LIMITS)
    assert "private" not in str(caught.value)


def test_pixels_in_several_chunks_are_plain() -> None:
    stream = zlib.compress(ROWS)
    data = build(stream=stream[:20], behind=chunk(b"IDAT", stream[20:]))
    assert np.array_equal(decode_png(data, LIMITS), PIXELS)


@pytest.mark.parametrize(("width", "height"), [(1025, 1), (1, 1025), (2**31, 2**31)])
def test_more_pixels_than_taken(width: int, height: int) -> None:
    with pytest.raises(BundleLimitError, match=f"{width} x {height}"):
        decode_png(build(header=(width, height, 8, 2, 0, 0, 0)), LIMITS)


def test_a_bomb_in_the_pixels_takes_no_memory() -> None:
    """250 KB that would be 250 MB, behind a header that promises 8 x 6 pixels."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    data = build(stream=bomb)
    assert len(data) < LIMITS.max_image_bytes
    tracemalloc.start()
    with pytest.raises(ImageFormatError, match="behind its pixels"):
        decode_png(data, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
