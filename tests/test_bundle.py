"""A bundle's parts, its identity, and PNGs that are more than pixels."""

import io
import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from spinml.bundle import BundleLimits, decode_png
from spinml.device.wire import encode_multipart
from spinml.errors import BundleLimitError, MalformedBundleError
from spinml.images import encode_png
from spinml.privacy.sanitizer import sanitize
from tests.photos import cat, request_of, segmented
from tests.test_images import png_header

LIMITS = BundleLimits()


def png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_pngs_come_back_as_they_were(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, *channels), np.uint8)
    assert np.array_equal(decode_png(encode_png(pixels), LIMITS), pixels)


def test_metadata_is_refused():
    text = PngImagePlugin.PngInfo()
    text.add_text("Location", "home")
    exif = Image.Exif()
    exif[0x010E] = "Rex"
    image = Image.fromarray(cat())
    for data in (
        png(image, pnginfo=text),
        png(image, exif=exif),
        png(image, icc_profile=b"x" * 99),
    ):
        with pytest.raises(MalformedBundleError, match="metadata"):
            decode_png(data, LIMITS)


def test_other_formats_modes_and_movies_are_refused():
    image = Image.fromarray(cat())
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG")
    movie = png(image, save_all=True, append_images=[Image.new("RGB", image.size)])
    for data in (jpeg.getvalue(), png(image.convert("P")), movie, b"", png(image)[:-20]):
        with pytest.raises(MalformedBundleError):
            decode_png(data, LIMITS)


def test_bombs_are_refused_from_their_header():
    with pytest.raises(BundleLimitError, match="1025 x 100"):
        decode_png(png_header(1025, 100), LIMITS)
    with pytest.raises(BundleLimitError, match="50000 x 50000"):
        decode_png(png_header(50_000, 50_000), LIMITS)
    with pytest.raises(BundleLimitError, match="bytes"):
        decode_png(b"x" * 2_000_001, LIMITS)


def test_identity_and_bytes_follow_the_content():
    one = sanitize(request_of(), [segmented()]).bundle
    same = sanitize(request_of(), [segmented()]).bundle
    other = sanitize(request_of(seed=1), [segmented()]).bundle
    assert one.digest == same.digest != other.digest
    assert encode_multipart(one) == encode_multipart(same)
    assert len(json.loads(one.manifest())["segments"][0]["images"]) == 1


def test_repr_holds_no_pixels():
    assert "PNG" not in repr(sanitize(request_of(), [segmented()]).bundle)
