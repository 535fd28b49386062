"""Headers that claim more than their files hold, and arrays that no memory holds."""

import shutil
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
from data_sets import chunk, png
from dicom_writers import write_slice
from PIL import Image

from assl_jax.data import memory, volume_file
from assl_jax.data.decoded import read_files
from assl_jax.data.dicom import describe_dicom
from assl_jax.data.folder import IMAGES
from assl_jax.data.image_file import ImageFormat, decode_image
from assl_jax.data.memory import Within, afford, amount, check_claim
from assl_jax.data.volume_file import VolumeFormat, read_volume, volume_header
from assl_jax.data.volumes import VOLUMES
from assl_jax.errors import InputError


def test_a_claim_is_compared_with_the_file():
    check_claim(100, 100, packed=False)
    check_claim(103_200, 100, packed=True)  # deflate packs 1032 bytes into one
    check_claim(2000, 1, packed=True, free=2000)
    with pytest.raises(ValueError, match="claims 101 bytes, more than a file of 100 bytes can"):
        check_claim(101, 100, packed=False)
    with pytest.raises(ValueError, match="claims 103.2 kB"):
        check_claim(103_201, 100, packed=True)
    with pytest.raises(ValueError, match="claims 2.0 kB"):
        check_claim(2001, 1, packed=True, free=2000)


@pytest.mark.parametrize(
    "size, words",
    [(999, "999 bytes"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (8 * 10**12, "8,000.0 GB")],
)
def test_an_amount_in_words(size, words):
    assert amount(size) == words


def test_an_array_is_compared_with_the_memory(monkeypatch):
    assert memory.memory() > 2**28
    monkeypatch.setattr(memory, "memory", lambda: 1e9)
    afford(1e9, "an image", "set data.side")
    with pytest.raises(InputError) as error:
        afford(2e9, "an image", "set data.side")
    assert str(error.value) == (
        "an image needs 2.0 GB of memory, and this machine has 1.0 GB; set data.side"
    )


def test_no_more_is_asked_of_a_file_than_it_has(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"0123456789")
    with Within(file) as opened:
        assert opened.read(4) == b"0123"
        assert opened.read(2**62) == b"456789"  # more than any memory
        assert opened.read(2**62) == opened.read() == b""
        opened.seek(8)
        assert opened.read() == b"89"
        opened.seek(2)
        assert opened.read(None) == b"23456789"


def test_an_image_header_that_claims_much(tmp_path):
    pixels = chunk(b"IDAT", zlib.compress(bytes(10)))
    (tmp_path / "a.png").write_bytes(png(12000, 12000, pixels, colour=0))
    with pytest.raises(ValueError, match=r"claims 144\.0 MB"):
        decode_image(tmp_path / "a.png", ImageFormat())
    (tmp_path / "b.png").write_bytes(png(8, 2, struct.pack(">I", 2**31 - 2) + pixels[4:], colour=0))
    with pytest.raises(OSError):  # without 2 GB being asked for
        decode_image(tmp_path / "b.png", ImageFormat())
    Image.new("L", (4000, 4000), 3).save(tmp_path / "blank.webp", lossless=True)
    assert (tmp_path / "blank.webp").stat().st_size < 4000**2 / memory.DENSEST
    assert decode_image(tmp_path / "blank.webp", ImageFormat(side=2, channels=1)).max() == 3


@pytest.mark.slow
def test_many_pages_count_together(tmp_path):
    first, *others = (Image.new("L", (3000, 3000), k) for k in range(9))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    assert decode_image(tmp_path / "a.gif", ImageFormat(pages="first")).shape[:2] == (3000, 3000)
    for pages in ("middle", "channels"):
        with pytest.raises(ValueError, match="its header claims"):
            decode_image(tmp_path / "a.gif", ImageFormat(pages=pages))


def test_an_element_that_claims_gigabytes(tmp_path):
    """A private element before the pixels, whose length is nearly 4 GB."""
    file = write_slice(tmp_path / "a.dcm", np.ones((3, 4), np.int16))
    content, rows = file.read_bytes(), struct.pack("<2H2sH", 0x0028, 0x0010, b"US", 2)
    at = content.index(rows)
    element = struct.pack("<2H2sHI", 0x0028, 0x0004, b"UT", 0, 2**32 - 16)
    file.write_bytes(content[:at] + element + content[at:])
    with pytest.raises(ValueError, match=r"a\.dcm has no Rows"):
        describe_dicom(file).standard()


@pytest.fixture
def volume(tmp_path):
    file = tmp_path / "a.nii"
    nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), np.eye(4)).to_filename(file)
    return file


def test_a_resampling_is_priced_before_it_starts(volume, monkeypatch):
    """By hand: 4 x 5 x 6 mm at 0.001 mm are 4000 x 5000 x 6000 voxels of 4 bytes, 480 GB."""
    monkeypatch.setattr(memory, "memory", lambda: 1e9)
    with pytest.raises(
        InputError, match=r"makes 4000x5000x6000 voxels of a volume, which needs 96"
    ):
        volume_header(volume, VolumeFormat(spacing=(0.001, 0.001, 0.001)))
    monkeypatch.setattr(memory, "memory", lambda: float("inf"))
    fine = VolumeFormat(spacing=(0.001, 0.001, 0.001))
    for read in (volume_header, read_volume):
        with pytest.raises(ValueError) as error:
            read(volume, fine)
        assert str(error.value) == (
            "to resample its (4, 5, 6) voxels to (4000, 5000, 6000) takes 480.0 GB of memory, more "
            "than 4.3 GB; set a larger data.spacing or a smaller data.shape"
        )
    with pytest.raises(ValueError, match=r"to \(8000, 8000, 8000\) takes 2,048\.0 GB"):
        volume_header(volume, VolumeFormat(shape=(8000, 8000, 8000)))
    # What lies between counts: the first axis grows before the last one shrinks.
    with pytest.raises(ValueError, match="of memory"):
        read_volume(volume, VolumeFormat(spacing=(1e-8, 1.0, 3.0)))
    with pytest.raises(InputError, match=r"^data\.shape=.* from 2 to 8192"):
        VolumeFormat(shape=(100_000, 4, 4))


def test_a_large_volume_may_become_smaller(volume, monkeypatch):
    """Its 4 x 5 x 6 voxels are 480 bytes in floating point, and 240 after the first step."""
    monkeypatch.setattr(volume_file, "LARGEST_STEP", 240)
    assert read_volume(volume, VolumeFormat(shape=(2, 2, 2))).shape == (2, 2, 2, 1)
    with pytest.raises(ValueError, match="takes 360 bytes of memory, more than 240 bytes"):
        read_volume(volume, VolumeFormat(shape=(3, 2, 2)))


def test_a_data_set_is_priced_before_it_is_read(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(memory, "memory", lambda: 2000.0)  # one volume in floating point is 1,200
    files = [volume.with_name(f"{number}.nii") for number in range(10)]
    names = [shutil.copy(volume, file).name for file in files]
    with pytest.raises(InputError, match=r"^10 volumes of \(4, 5, 6\) voxels needs .*set data\.ca"):
        read_files(tmp_path, names, VOLUMES, VolumeFormat(), on_error="raise")
    Image.new("L", (200, 100)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"^1 images of 200x100 pixels needs .*lower data\.side"):
        read_files(tmp_path, ["a.png"], IMAGES, ImageFormat(), on_error="raise")
