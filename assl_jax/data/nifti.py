"""The reader of NIfTI files."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from assl_jax.data.orientation import Grid, in_standard, to_standard

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
HEADER_BYTES = 540  # of NIfTI-2; the header of NIfTI-1 is shorter
SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"  # how a packed file begins


def is_nifti(path: Path) -> bool:
    """Whether the name or the content says that the file is NIfTI in one piece."""
    if path.is_dir():
        return False
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with _open(path) as file:
            _kind(file.read(HEADER_BYTES))
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return True


def read_nifti(path: Path) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Read a NIfTI-1 or NIfTI-2 file in one piece, compressed by gzip or not.

    Returns:
      The file's values, which may include NaN, and the size of a voxel in mm, as `to_standard`
      gives them.

    Raises:
      ValueError: a file that is not one volume of real numbers, or an affine that cannot be
        inverted.
      Exception: what nibabel and gzip raise on a broken file.
    """
    with _open(path) as file:
        image = _image(file)
        values = np.asanyarray(image.dataobj)
        try:
            while file.read(2**20):  # gzip verifies its checksum at the end of the file
                pass
        except gzip.BadGzipFile as e:
            raise ValueError(f"it is damaged, or something follows its content ({e})") from e
    values, spacing = to_standard(values.reshape(values.shape[:3]), image.affine)
    return values, _in_mm(spacing, image)


def nifti_header(path: Path) -> Grid:
    """The grid of what `read_nifti` would give, in mm; no voxel is read.

    Raises:
      ValueError, Exception: as `read_nifti`, where the header tells.
    """
    with _open(path) as file:
        image = _image(file)
    grid = in_standard(image.shape[:3], image.affine)
    return grid._replace(spacing=_in_mm(grid.spacing, image))


def _open(path: Path) -> Any:
    """The file's content, unpacked if it is packed; the name does not count."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def _image(file: Any) -> Any:
    """nibabel's image of an open file; its header has been checked."""
    import nibabel as nib

    kind = _kind(file.read(HEADER_BYTES))
    file.seek(0)
    image = kind.from_file_map({"image": nib.FileHolder(fileobj=file)}, mmap=False)
    _check_header(image)
    return image


def _in_mm(spacing: tuple[float, ...], image: Any) -> tuple[float, ...]:
    unit = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    return tuple(size * unit for size in spacing)


def _kind(head: bytes) -> Any:
    """nibabel's class for a file that begins with `head`."""
    import nibabel as nib

    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image
    raise ValueError("it is not a NIfTI file in one piece (.nii or .nii.gz)")


def _check_header(image: Any) -> None:
    """Refuse a file that is not a volume of real numbers in space, before its voxels are read."""
    from nibabel.affines import voxel_sizes

    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.names or dtype.kind == "c":
        what = "complex" if dtype.kind == "c" else "RGB"
        raise ValueError(f"its voxels are {what}; one real number per voxel is needed")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise ValueError(f"it is not a volume: its shape is {shape}")
    if math.prod(shape[3:]) != 1:
        raise ValueError(f"it holds more than one volume: its shape is {shape}; split it")
    matrix = image.affine[:3, :3]
    sizes = voxel_sizes(image.affine)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(matrix)) <= 1e-6 * sizes.prod():
        raise ValueError("its affine is singular: it does not say where the voxels are")
