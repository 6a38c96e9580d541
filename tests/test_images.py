"""Photos in: rotated, stripped, refused when damaged or huge. Cut-outs: nothing from outside."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from spinml.errors import PhotoError
from spinml.images import (
    CUTOUT_MARGIN,
    GROUND,
    bounding_box,
    cut_out,
    cut_out_square,
    decode_mask,
    decode_photo,
    encode_png,
    on_plain_ground,
    resize,
)
from tests.photos import cat, ellipse


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that claims to be ``width x height`` and holds next to nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_a_12_megapixel_portrait_is_turned_upright_and_stripped():
    lying = Image.fromarray(np.zeros((3000, 4000, 3), np.uint8))
    lying.paste((255, 0, 0), (0, 0, 400, 3000))  # the left edge becomes the top one
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90° clockwise to view"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 24.0)
    data = jpeg(lying, exif=exif, icc_profile=b"private profile", comment=b"Rex at home")
    assert b"private profile" in data
    photo = decode_photo(data)
    assert photo.shape == (4000, 3000, 3)
    assert photo[:300].mean(axis=(0, 1)) == pytest.approx([254, 0, 0], abs=3)
    assert photo[1000:].max() < 10
    with Image.open(io.BytesIO(encode_png(photo))) as sent:
        assert not sent.info
        assert not sent.getexif()


@pytest.mark.parametrize("side", [50_000, 8_000])
def test_a_huge_image_is_refused_from_its_header(side):
    with pytest.raises(PhotoError, match="pixels"):
        decode_photo(png_header(side, side))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        jpeg(Image.fromarray(cat()))[:5000],
        encode_png(cat())[:5000],
        png_header(100, 100),
    ],
)
def test_damaged_photos_are_refused(data):
    with pytest.raises(PhotoError, match="cannot be decoded"):
        decode_photo(data)


def test_errors_name_no_file(tmp_path):
    path = tmp_path / "Rex in my bedroom.jpg"
    path.write_bytes(b"nothing")
    for source in (path, tmp_path / "Rex, missing.jpg"):
        with pytest.raises(PhotoError) as caught:
            decode_photo(source)
        assert "Rex" not in str(caught.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode):
    buffer = io.BytesIO()
    source = Image.new(mode, (8, 6)) if mode == "I;16" else Image.fromarray(cat()).convert(mode)
    source.save(buffer, "PNG")
    assert decode_photo(buffer.getvalue()).shape == (*source.size[::-1], 3)


def test_sixteen_bits_and_cmyk_keep_their_brightness():
    ramp = np.linspace(0, 65_535, 48, dtype=np.uint16).reshape(6, 8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    decoded = decode_photo(buffer.getvalue())
    assert np.abs(decoded[..., 0].astype(int) - ramp // 257).max() <= 1
    assert (decode_photo(buffer.getvalue())[ramp > 0] > 0).all()
    photo = Image.new("RGB", (8, 6), (200, 50, 20))
    assert decode_photo(jpeg(photo.convert("CMYK"), quality=100))[0, 0] == pytest.approx(
        [200, 50, 20], abs=3
    )


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_without_certain_colours_are_refused(mode):
    buffer = io.BytesIO()
    Image.new(mode, (8, 6)).save(buffer, "TIFF")
    with pytest.raises(PhotoError, match="pixel format"):
        decode_photo(buffer.getvalue())


def test_a_movie_is_its_first_picture():
    buffer = io.BytesIO()
    first = Image.new("RGB", (8, 6), (200, 50, 20))
    first.save(buffer, "TIFF", save_all=True, append_images=[Image.new("RGB", (9_000, 9_000))])
    assert (decode_photo(buffer.getvalue()) == (200, 50, 20)).all()


def test_masks_take_whatever_is_not_black():
    mask = ellipse()
    assert np.array_equal(decode_mask(encode_png(mask.astype(np.uint8))), mask)


def with_alpha(mode):
    """A photo that is erased outside the ellipse, in an image format that keeps what was erased."""
    rgba = Image.fromarray(np.dstack([np.maximum(cat(), 90), ellipse() * np.uint8(255)]))
    options = {}
    if mode == "P":
        image = Image.fromarray(ellipse().astype(np.uint8)).convert("P")
        image.putpalette([200] * 768)
        options["transparency"] = bytes([0, 255])
    elif mode == "PA":
        image = rgba.convert("RGB").convert("P").convert("PA")
        image.putalpha(rgba.getchannel("A"))
    else:
        image = rgba.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode == "PA" else "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "P"])
def test_what_was_erased_by_transparency_is_not_uncovered(mode):
    with pytest.raises(PhotoError, match="transparent") as caught:
        decode_photo(with_alpha(mode))
    assert "paint over" in caught.value.remedy
    assert np.array_equal(decode_mask(with_alpha(mode)), ellipse())


@pytest.mark.parametrize(("mode", "key"), [("1", 0), ("L", 9), ("RGB", (9, 9, 9)), ("I;16", 9)])
def test_a_transparent_colour_is_refused(mode, key):
    buffer = io.BytesIO()
    Image.new(mode, (8, 6), key).save(buffer, "PNG", transparency=key)
    for decode in (decode_photo, decode_mask):
        with pytest.raises(PhotoError, match="transparent"):
            decode(buffer.getvalue())


def test_cut_out_square_is_centred_with_its_margin():
    mask = ellipse()
    x0, y0, x1, y1 = bounding_box(mask)
    left, top, side = cut_out_square(mask)
    assert side == round(max(x1 - x0, y1 - y0) * (1 + 2 * CUTOUT_MARGIN))
    assert abs((2 * left + side) - (x0 + x1)) <= 1
    assert abs((2 * top + side) - (y0 + y1)) <= 1


@pytest.mark.parametrize("size_px", [64, 256, 700])
def test_nothing_outside_the_mask_reaches_a_cut_out(size_px):
    photo, mask = cat(), ellipse()
    other = np.where(mask[..., None], photo, 255 - photo)
    cutout = cut_out(photo, mask, size_px)
    assert np.array_equal(cutout, cut_out(other, mask, size_px))
    assert not cutout[cutout[..., 3] == 0].any()


def test_colours_do_not_darken_towards_the_outline():
    plain = np.full((480, 640, 3), 180, np.uint8)
    cutout = cut_out(plain, ellipse(), 100)
    assert np.abs(cutout[cutout[..., 3] > 16][:, :3].astype(int) - 180).max() <= 2


def test_plain_ground():
    clear = np.zeros((4, 4, 4), np.uint8)
    assert (on_plain_ground(clear) == GROUND).all()
    clear[...] = (10, 20, 30, 255)
    assert (on_plain_ground(clear) == (10, 20, 30)).all()


def test_resize_keeps_the_mean():
    small = resize(cat(), 64, 48)
    assert small.shape == (48, 64, 3)
    assert small.mean() == pytest.approx(cat().mean(), abs=0.5)
