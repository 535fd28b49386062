"""What tests of data sets share: short files, what a data set holds, and what it refuses."""

import io
import struct
import tarfile
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from assl_jax.data import load
from assl_jax.errors import InputError


def refused(source, path="", **settings) -> str:
    """The one line with which a data source refuses."""
    with pytest.raises(InputError) as caught:
        load(source, path=str(path), **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def whole(data) -> str:
    """The fingerprint of everything that training and testing see."""
    rows = (*data.labelled_sets, data.test, data.unlabeled)
    return data.fingerprint(*rows, labelled=True)


def values(data, rows) -> list[int]:
    """The first values of images, sorted."""
    return sorted(data.images[rows][:, 0, 0, 0].tolist())


def picture(path, value=0, *, size=(6, 4), mode="RGB"):
    """A constant image of `size` (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path)
    return path


def archive(files, mode="w:gz") -> bytes:
    """STL-10's archive of some files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode, format=tarfile.USTAR_FORMAT) as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return content.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *chunks, bits=8, colour=2) -> bytes:
    """A PNG whose header says `width` and `height`; colour 0 is grey."""
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


HU = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)  # [z, y, x]


def spl(spacing=(1.0, 1.0, 1.0)):
    """The affine of an array `[z, y, x]` whose axes run up, backwards and to the left."""
    affine = np.eye(4)
    z, y, x = spacing
    affine[:3, :3] = [[0, 0, -x], [0, -y, 0], [z, 0, 0]]
    affine[:3, 3] = [7, -11, 13]
    return affine


def nifti(path, array=HU, affine=None, *, slope=None, kind=nib.Nifti1Image, unit="mm"):
    """A NIfTI file."""
    image = kind(array, spl() if affine is None else affine)
    image.header.set_xyzt_units(unit)
    if slope:
        image.header.set_slope_inter(*slope)
    image.to_filename(path)
    return path
