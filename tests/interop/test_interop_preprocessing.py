"""The card's code reads files as the run does, from files of many kinds on disk."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from assl_jax.data.file_reader import FileReader
from assl_jax.interop.preprocessing import described
from assl_jax.ops.intensity import Intensity

RNG = np.random.default_rng(0)


def smooth(*shape):
    """Values without noise, where a wrong filter or crop shows, and rounding does not."""
    axes = np.meshgrid(*(np.linspace(0, 3 + i, n) for i, n in enumerate(shape)), indexing="ij")
    return sum(np.sin(axis + i) for i, axis in enumerate(axes)) / (2 * len(shape)) + 0.5


def pixels(h, w, c, top=255):
    """A picture whose channels and directions differ."""
    x = np.stack([np.roll(smooth(h, w), 3 * i, 0) for i in range(c)], -1)
    return np.rint(top * x.clip(0, 1)).astype(np.uint8 if top == 255 else np.uint16)


def noisy(h, w, c):
    return RNG.integers(0, 256, (h, w, c), dtype=np.uint8)


def turned(path):
    """A photograph of a camera that was held upright."""
    image = Image.fromarray(pixels(40, 60, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)


def frames(path):
    pages = [Image.fromarray(noisy(18, 25, 1)[..., 0]) for _ in range(4)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def saved(image, **options):
    """`image()` is a picture that is written with these options."""
    return lambda path: image().save(path, **options)


grey = saved(lambda: Image.fromarray(pixels(37, 23, 1)[..., 0]))
colour = saved(lambda: Image.fromarray(noisy(23, 38, 3)))
transparent = saved(lambda: Image.fromarray(noisy(21, 30, 4)))
palette = saved(lambda: Image.fromarray(noisy(30, 21, 3)).quantize(16), transparency=3)
deep = saved(lambda: Image.fromarray(pixels(31, 26, 1, top=4000)[..., 0]))
large = saved(
    lambda: Image.fromarray(pixels(301, 407, 3)), quality=95
)  # libjpeg decodes it smaller
inks = saved(lambda: Image.fromarray(noisy(20, 33, 4), "CMYK"))
black_and_white = saved(lambda: Image.fromarray(noisy(18, 25, 1)[..., 0] > 99))
PICTURES = [
    (grey, "a.png", (16, 16, 1), {}),
    (grey, "a.png", (16, 16, 3), {"side": 16, "channels": 3}),
    (grey, "a.bmp", (50, 50, 1), {}),  # is enlarged
    (colour, "a.png", (16, 16, 3), {"side": 16}),
    (colour, "a.png", (16, 16, 1), {"channels": 1}),
    (colour, "a.png", (20, 28, 3), {}),
    (colour, "a.png", (23, 38, 3), {}),
    (colour, "a.png", (16, 16, 3), {"window": [10, 200]}),
    (transparent, "a.png", (16, 16, 3), {}),
    (transparent, "a.png", (16, 16, 3), {"alpha": "drop"}),
    (transparent, "a.webp", (16, 16, 4), {"side": 16, "channels": 4}),
    (colour, "a.png", (16, 16, 4), {"side": 16, "channels": 4}),
    (palette, "a.png", (16, 16, 3), {}),
    (palette, "a.gif", (16, 16, 1), {}),
    (deep, "a.png", (16, 16, 1), {"window": [0, 4000]}),
    (deep, "a.tif", (16, 16, 1), {"window": [100.0, 3000.5]}),
    (turned, "a.jpg", (16, 16, 3), {}),
    (large, "a.jpg", (16, 16, 3), {}),
    (inks, "a.tif", (16, 16, 3), {}),
    (frames, "a.tif", (16, 16, 1), {"pages": "middle"}),
    (frames, "a.tif", (16, 16, 1), {"pages": "first"}),
    (frames, "a.tif", (16, 16, 4), {"pages": "channels"}),
    (black_and_white, "a.png", (16, 16, 1), {}),
]


def compare(path, reader, mean, *, levels=1e-6, units=1.0):
    """The input by the card's code, against the run's; `levels` may differ by one unit."""
    intensity = Intensity(low=reader.low, high=reader.high, mean=mean, std=(0.3,))
    wanted = np.moveaxis(np.asarray(intensity(reader.read(path))), -1, 0)
    for first in (True, False):
        names: dict = {}
        exec(described(reader, intensity, "NC" if first else "NHWC")[1], names)
        found = names["preprocess"](path)
        found = found if first else np.moveaxis(found, -1, 0)
        assert found.dtype == np.float32 and found.shape == wanted.shape
        difference = abs(found - wanted)
        assert (difference > 1e-5).mean() <= levels
        assert difference.max() <= 1.01 * units / (reader.high - reader.low) / 0.3
    assert wanted.std() > 0.1  # not a blank image


@pytest.mark.parametrize("low, high", [(0, 255), (0, 16), (-100, 300)])
@pytest.mark.parametrize("write, name, shape, format", PICTURES)
def test_pictures(write, name, shape, format, low, high, tmp_path):
    write(tmp_path / name)
    reader = FileReader(shape=shape, low=low, high=high, format=format)
    mean = tuple(0.1 * (i + 1) for i in range(shape[2]))
    # Only a picture that is neither square nor of the run's size is resized in single precision.
    levels = 0.01 if shape[:2] == (20, 28) else 0
    compare(tmp_path / name, reader, mean, levels=levels, units=np.ceil((high - low) / 255))


TURNS = {
    "LPS": np.diag([-2.0, -1.5, 3, 1]),
    "RAS": np.diag([2.0, 1.5, 3, 1]),
    "oblique": np.array([[0.1, 1.5, 0, 5], [-2, 0.1, 0, 7], [0, 0.2, -3, 9], [0, 0, 0, 1]]),
    "PIR": np.array([[0, 0, 3, 0], [-2, 0, 0, 0], [0, -1.5, 0, 0], [0, 0, 0, 1.0]]),
}
WINDOW = {"window": (-20.0, 100.0)}
VOLUMES = [
    ("LPS", np.int16, (8, 12, 12), WINDOW),
    ("RAS", np.int16, (8, 12, 12), WINDOW),
    ("PIR", np.float32, (8, 12, 12), WINDOW),
    ("oblique", np.float64, (8, 12, 12), WINDOW),
    ("RAS", np.int16, (17, 21, 13), WINDOW),
    ("PIR", np.int16, (6, 8, 8), WINDOW | {"spacing": [3.5, 2.0, 2.5]}),
    ("oblique", np.float32, (6, 8, 8), WINDOW | {"spacing": [2.0, 2.0, 2.0]}),
    ("RAS", np.int16, (6, 8, 8), WINDOW | {"foreground_above": 60.0}),
    ("LPS", np.float32, (8, 12, 12), {"window": []}),
    ("RAS", np.float32, (8, 12, 12), WINDOW | {"nan": "lowest"}),
    ("RAS", np.float32, (8, 12, 12), WINDOW | {"nan": "-5"}),
]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("turn, kind, shape, format", VOLUMES)
def test_volumes(turn, kind, shape, format, scaled, tmp_path):
    x = (200 * smooth(13, 21, 17) - 50).astype(kind)
    if "nan" in format:
        x[3:5, 4, 5] = np.nan
    image = nib.Nifti1Image(x, TURNS[turn])
    image.header.set_xyzt_units("mm")
    if scaled:
        image = nib.Nifti1Image((x[..., None] + 30) if kind == np.int16 else x, TURNS[turn])
        if kind == np.int16:
            image.header.set_slope_inter(0.5, -10)
    nib.save(image, tmp_path / "a.nii.gz")
    low, high = (-20, 100) if format["window"] else (0, 1000)
    reader = FileReader(shape=(*shape, 1), low=float(low), high=float(high), format=format)
    # Linear interpolation in double precision: a value near a half may round the other way.
    compare(tmp_path / "a.nii.gz", reader, (0.4,), levels=0.02)


def test_a_volume_in_metres(tmp_path):
    affine = np.diag([0.002, 0.0015, 0.003, 1])
    image = nib.Nifti1Image((200 * smooth(13, 21, 17) - 50).astype(np.int16), affine)
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    format = WINDOW | {"spacing": [3.0, 2.0, 3.0]}
    reader = FileReader(shape=(8, 8, 8, 1), low=-20.0, high=100.0, format=format)
    compare(tmp_path / "a.nii", reader, (0.4,), levels=0.02)
