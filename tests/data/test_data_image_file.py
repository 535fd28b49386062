"""One image file: modes, orientation, resizing, and what only the user can decide."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from data_sets import chunk, png
from PIL import Image

from assl_jax.data import image_file
from assl_jax.data.image_file import ImageFormat, endings, find_images, is_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def save(path: Path, array=None, *, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(COLOUR if array is None else array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def decode_image(path, **settings):
    return image_file.decode_image(path, ImageFormat(**settings))


def test_colour_and_grey_are_kept_or_converted(tmp_path):
    colour, grey = save(tmp_path / "c.png"), save(tmp_path / "g.png", GREY)
    np.testing.assert_array_equal(decode_image(colour), COLOUR)
    np.testing.assert_array_equal(decode_image(grey), GREY[..., None])
    np.testing.assert_array_equal(decode_image(grey, channels=3), np.stack([GREY] * 3, -1))
    luma = COLOUR @ [0.299, 0.587, 0.114]  # ITU-R 601
    assert np.abs(decode_image(colour, channels=1)[..., 0] - luma).max() <= 1


def test_other_modes(tmp_path):
    bits = save(tmp_path / "1.png", GREY, mode="1")
    assert decode_image(bits).shape == (4, 6, 1) and set(np.unique(decode_image(bits))) <= {0, 255}
    assert decode_image(save(tmp_path / "p.png", mode="P")).shape == (4, 6, 3)
    assert decode_image(save(tmp_path / "cmyk.tif", mode="CMYK")).shape == (4, 6, 3)


def test_transparent_pixels_become_white(tmp_path):
    rgba = np.dstack([COLOUR, np.full((4, 6), 255, np.uint8)])
    rgba[0, :, 3] = 0
    image = decode_image(save(tmp_path / "rgba.png", rgba))
    assert (image[0] == 255).all()
    np.testing.assert_array_equal(image[1:], COLOUR[1:])
    grey = decode_image(save(tmp_path / "la.png", rgba, mode="LA"))
    assert grey.shape == (4, 6, 1) and (grey[0] == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.gif", transparency=1)
    assert decode_image(tmp_path / "p.gif").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    file = save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(decode_image(file), np.rot90(COLOUR, -1))


def test_resize_takes_the_centre_square(tmp_path):
    wide = RNG.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    image = decode_image(save(tmp_path / "wide.png", wide), side=4)
    # The definition: shorter side to 4 pixels, then the middle four columns.
    whole = Image.fromarray(wide).resize((8, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.asarray(whole)[:, 2:6])
    # One pixel by hand: halving weighs four neighbours 1, 3, 3, 1 in either direction.
    weights = np.array([1, 3, 3, 1]) / 8
    by_hand = np.einsum("i,j,ijc->c", weights, weights, wide[1:5, 5:9].astype(float))
    assert np.abs(image[1, 1] - by_hand).max() <= 1
    tall = decode_image(save(tmp_path / "tall.png", wide.transpose(1, 0, 2).copy()), side=4)
    np.testing.assert_array_equal(tall, image.transpose(1, 0, 2))
    large = np.zeros((400, 600, 3), np.uint8)
    large[:, 300:] = 240
    jpeg = decode_image(save(tmp_path / "large.jpg", large, quality=95), side=8)
    assert np.abs(jpeg[:, :3].astype(int)).max() < 5 and np.abs(jpeg[:, 5:] - 240.0).max() < 5


def refused(path, **settings) -> str:
    with pytest.raises(ValueError) as caught:
        decode_image(path, **settings)
    return str(caught.value)


def test_a_window_scales_sixteen_bits_and_floats(tmp_path):
    values = np.array([[0, 1000, 2000], [4095, 5000, 65535]], np.uint16)
    file = save(tmp_path / "deep.png", values)
    assert "more than 8 bits" in refused(file) and "data.window=(low, high)" in refused(file)
    by_hand = np.rint(np.clip(values / 4095, 0, 1) * 255)
    np.testing.assert_array_equal(decode_image(file, window=(0.0, 4095.0))[..., 0], by_hand)
    assert decode_image(file, window=(0.0, 4095.0), channels=3).shape == (2, 3, 3)
    unit = save(tmp_path / "unit.tif", (values / 65535).astype(np.float32))
    expected = np.rint(values / 65535 * 255)
    np.testing.assert_array_equal(decode_image(unit, window=(0.0, 1.0))[..., 0], expected)
    nan = save(tmp_path / "nan.tif", np.full((2, 3), np.nan, np.float32))
    assert "NaN" in refused(nan, window=(0.0, 1.0))


def test_a_window_of_eight_bits(tmp_path):
    file = save(tmp_path / "a.png", GREY)
    expected = np.rint(np.clip((GREY.astype(float) - 50) / 100, 0, 1) * 255)
    np.testing.assert_array_equal(decode_image(file, window=(50.0, 150.0))[..., 0], expected)
    assert "fill only a part of data.window" in refused(file, window=(0.0, 4095.0))


def deep_colour(path: Path, pixel) -> Path:
    """A PNG of 2x2 equal pixels with 16 bits in each of three channels."""
    row = b"\0" + np.array([pixel] * 2, ">u2").tobytes()
    path.write_bytes(png(2, 2, chunk(b"IDAT", zlib.compress(row * 2)), bits=16))
    return path


def test_sixteen_bit_colours_are_read_only_where_their_range_is_said(tmp_path):
    file = deep_colour(tmp_path / "c.png", (1000, 32768, 65535))
    assert "colours of 16 bits" in refused(file)
    assert "colours of 16 bits" in refused(file, window=(0.0, 4095.0))
    assert decode_image(file, window=(0.0, 65535.0))[0, 0].tolist() == [3, 128, 255]


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp"])
def test_pages_are_asked_for(tmp_path, name):
    levels = (0, 90, 180, 250)
    first, *others = (Image.new("L", (3, 2), level) for level in levels)
    first.save(tmp_path / name, save_all=True, append_images=others, lossless=True)
    file = tmp_path / name
    assert "has 4 pages; set data.pages to first, middle or channels" in refused(file)
    one = {"channels": 1}
    assert (decode_image(file, pages="first", **one) == 0).all()
    assert np.abs(decode_image(file, pages="middle", **one).astype(int) - 180).max() <= 1
    stack = decode_image(file, pages="channels", **one)
    assert stack.shape == (2, 3, 4) and np.abs(stack[0, 0].astype(int) - levels).max() <= 1


def test_transparency_is_shown_dropped_or_kept(tmp_path):
    rgba = np.dstack([COLOUR, np.zeros((4, 6), np.uint8)])
    clear = save(tmp_path / "clear.png", rgba)
    assert "every pixel is transparent; set data.alpha=drop" in refused(clear)
    np.testing.assert_array_equal(decode_image(clear, alpha="drop"), COLOUR)
    np.testing.assert_array_equal(decode_image(clear, channels=4), rgba)
    opaque = decode_image(save(tmp_path / "c.png"), channels=4)
    assert (opaque[..., 3] == 255).all() and (opaque[..., :3] == COLOUR).all()


def bands(path: Path, count: int) -> Path:
    """An uncompressed TIFF of 2x2 pixels with the values 10, 20, ... in `count` channels."""
    data = bytes(10 * (c + 1) for c in range(count)) * 4
    bits = struct.pack(f"<{count}H", *[8] * count)
    short, long = 3, 4
    tags = [(256, long, 1, 2), (257, long, 1, 2), (258, short, count, 8 + len(data))]
    tags += [(259, short, 1, 1), (262, short, 1, 2), (273, long, 1, 8), (277, short, 1, count)]
    tags += [(278, long, 1, 2), (279, long, 1, len(data)), (338, short, count - 3, 0)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = 8 + len(data) + len(bits)
    body = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + data + bits + body)
    return path


@pytest.mark.parametrize("count", [4, 5])
def test_further_bands_are_asked_for(tmp_path, count):
    file = bands(tmp_path / "b.tif", count)
    assert f"it has {count} channels; set data.channels=3" in refused(file)
    assert decode_image(file, channels=3)[0, 0].tolist() == [10, 20, 30]


def test_images_are_found_by_name_and_content(tmp_path):
    save(tmp_path / "b.png").rename(tmp_path / "photo")
    save(tmp_path / "c.webp").rename(tmp_path / "c.bin")
    save(tmp_path / "d.avif").rename(tmp_path / "d")
    for name in ("a.JFIF", "x.avif", "z.tiff", "broken.jpe"):
        (tmp_path / name).write_bytes(b"")
    for name in ("notes.txt", "e.raw", ".hidden.png", "Thumbs.db", "RIFF"):
        (tmp_path / name).write_bytes(b"RIFF")
    (tmp_path / "__MACOSX").mkdir()
    save(tmp_path / "__MACOSX/x.png")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/deep.png")
    images, others = find_images(tmp_path)
    assert images == [
        *("a.JFIF", "broken.jpe", "c.bin", "d", "photo", "x.avif", "z.tiff", "in/deep.png")
    ]
    assert endings(others) == ".raw (1), .txt (1), no ending (1)"
    assert not is_image(tmp_path / "absent")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_pipes_sockets_and_deep_folders(tmp_path):
    """A pipe without a writer would be waited for; 1,100 folders are more than Python's calls."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "dangling.png").symlink_to("nothing.png")
    deep = tmp_path
    for _ in range(1100):
        deep = deep / "d"
        deep.mkdir()
    (deep / "image.png").write_bytes(b"")
    images, others = find_images(tmp_path)
    # Python removes folders by recursion.
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)
    assert images == ["dangling.png", f"{'d/' * 1100}image.png"]
    assert others == ["link.png", "pipe.png"]


def test_only_the_formats_of_the_table_are_opened(tmp_path):
    """Pillow would give PostScript to Ghostscript, which runs it, whatever the file's name is."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "EPS")
    with pytest.raises(PIL.UnidentifiedImageError):
        decode_image(tmp_path / "a.png")
    for ending in ("apng", "bmp", "gif", "jpg", "jp2", "pcx", "pfm", "ppm", "tga", "tif", "webp"):
        file = tmp_path / f"a.{ending}"
        Image.new("F" if ending == "pfm" else "RGB", (4, 4)).save(file)
        assert decode_image(file, window=(0, 255)).shape[:2] == (4, 4)


def test_what_pillow_warns_of_is_not_shown(tmp_path):
    """A tag points behind the end of the file."""
    file = save(tmp_path / "a.tif", np.full((4, 4, 3), 7, np.uint8), dpi=(72, 72))
    content = bytearray(file.read_bytes())
    at = content.index(b"\x1a\x01\x05\0")  # the resolution, a fraction that lies elsewhere
    content[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    file.write_bytes(content)
    assert decode_image(file).max() == 7
