"""What a PNG is made of, told from its bytes: a bundle's images are plain ones, pixels alone.

Image libraries skip what they do not know: private chunks, what stands behind the end of the
pixels' compressed stream or behind ``IEND``. All of it could carry a photo, an archive or a page
past the checks of the pixels, so that here a file is accounted for to its last byte. (PNG, third
edition, §5 chunks, §10 compression.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from spinml.errors import BundleLimitError, ImageFormatError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 6: 4}
"""PNG's colour types → samples a pixel: grey, RGB, RGBA."""
_FILTERS = 5
"""Filter types 0 … 4, one byte before each row."""


def check_plain_png(data: bytes, max_side_px: int) -> None:
    """Return when ``data`` is a plain PNG: 8 bits a sample, grey, RGB or RGBA, and pixels alone.

    Memory stays within the file and ``max_side_px`` squared pixels: what the header promises is
    compared before anything is decompressed, and no byte more than promised is.

    Raises:
        BundleLimitError: more than ``max_side_px`` a side, told from the header.
        ImageFormatError: no PNG, damaged, another pixel format, animated, with any chunk beside
            pixels, or with bytes that no reader of its pixels would see.
    """
    if not data.startswith(_SIGNATURE):
        raise ImageFormatError("an image is not a PNG")
    chunks = _chunks(data)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR" or len(header) != _HEADER.size:
        raise ImageFormatError("an image is not a whole PNG: it has no header")
    width, height, depth, colours, compression, filtering, interlace = _HEADER.unpack(header)
    if max(width, height) > max_side_px:
        raise BundleLimitError(
            f"an image has {width} x {height} pixels, at most {max_side_px} a side are taken",
            remedy="scale it down",
        )
    if not (width and height):
        raise ImageFormatError("an image has no pixels")
    if depth != 8 or colours not in _CHANNELS or compression or filtering or interlace:
        raise ImageFormatError(
            "an image is not grey, RGB or RGBA of 8 bits a sample, row by row",
            details={"bit_depth": depth, "colour_type": colours, "interlace": interlace},
        )
    _check_rows(_pixel_stream(chunks), height, 1 + width * _CHANNELS[colours])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk; the last one ends the file."""
    at = len(_SIGNATURE)
    while at < len(data):
        if len(data) - at < 12:
            raise ImageFormatError("an image is not a whole PNG: it ends within a chunk")
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            raise ImageFormatError("an image is not a whole PNG: it ends within a chunk")
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if checksum != zlib.crc32(data[at + 4 : end - 4]):
            raise ImageFormatError("an image is not a whole PNG: a checksum is wrong")
        if kind == b"IEND" and end < len(data):
            raise ImageFormatError(f"an image has {len(data) - end} bytes behind its end")
        yield kind, data[at + 8 : end - 4]
        at = end


def _pixel_stream(chunks: Iterator[tuple[bytes, bytes]]) -> bytes:
    """The compressed pixels: IDAT chunks, then an empty IEND, and nothing else."""
    stream: list[bytes] = []
    for kind, content in chunks:
        if kind == b"IEND":
            if content:
                raise ImageFormatError("an image has bytes in its end")
            return b"".join(stream)
        if kind != b"IDAT":
            raise ImageFormatError(
                "an image carries metadata or other data beside its pixels",
                remedy="send pixels alone",
            )
        stream.append(content)
    raise ImageFormatError("an image is not a whole PNG: it has no end")


def _check_rows(stream: bytes, height: int, row_bytes: int) -> None:
    """The stream holds exactly the rows, each with a filter that there is."""
    wanted, inflater = height * row_bytes, zlib.decompressobj()
    try:
        rows = inflater.decompress(stream, wanted)
        more = inflater.decompress(inflater.unconsumed_tail, 1)  # also reads the stream's checksum
    except zlib.error:
        raise ImageFormatError("an image is not a whole PNG: its pixels are damaged") from None
    if len(rows) < wanted or not (inflater.eof or more):
        raise ImageFormatError("an image is not a whole PNG: it lacks pixels")
    if more or inflater.unused_data or inflater.unconsumed_tail:
        raise ImageFormatError("an image has bytes behind its pixels")
    if max(rows[::row_bytes]) >= _FILTERS:
        raise ImageFormatError("an image is not a whole PNG: a row's filter is unknown")
