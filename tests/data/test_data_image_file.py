"""One image file: modes, orientation, resizing, and what only the user can decide."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assl_jax.data import image_file
from assl_jax.data.image_file import ImageFormat, endings, find_images, is_image
from assl_jax.errors import InputError

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


