"""The reader of NIfTI files."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from assl_jax.console import hush
from assl_jax.data.claims import check_claim
from assl_jax.data.memory import afford
from assl_jax.data.orientation import Grid, in_standard, to_standard

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
HEADER_BYTES = 540  # of NIfTI-2; the header of NIfTI-1 is shorter
TRAILING_BYTES = 2**26  # after the voxels; more is no NIfTI file
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
      ValueError: a file that is not one volume of real numbers, that is shorter than its header
        says, or too large for the memory; an affine that cannot be inverted.
      Exception: what nibabel and gzip raise on a broken file.
    """
    from nibabel.arrayproxy import ArrayProxy

    with _open(path) as file:
        header = _header(file, path)
        values = np.asanyarray(ArrayProxy(file, header, mmap=False))
        try:
            file.seek(file.tell() + TRAILING_BYTES)  # gzip verifies its checksum at the end
            if file.read(1):
                raise ValueError("more than its voxels is in it; write it again")
        except gzip.BadGzipFile as e:
            raise ValueError(f"it is damaged, or something follows its content ({e})") from e
    affine = header.get_best_affine()
    values, spacing = to_standard(values.reshape(values.shape[:3]), affine)
    return values, _in_mm(spacing, header)


def nifti_header(path: Path) -> Grid:
    """The grid of what `read_nifti` would give, in mm; no voxel is read.

    Raises:
      ValueError, Exception: as `read_nifti`, where the header tells.
    """
    with _open(path) as file:
        header = _header(file, path)
    grid = in_standard(header.get_data_shape()[:3], header.get_best_affine())
    return grid._replace(spacing=_in_mm(grid.spacing, header))


def _open(path: Path) -> Any:
    """The file's content, unpacked if it is packed; the name does not count."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def _header(file: Any, path: Path) -> Any:
    """nibabel's header of an open file, checked. Its extensions are not looked at."""
    hush("nibabel")
    head = file.read(HEADER_BYTES)
    kind = _kind(head)
    header = kind(head[: kind.template_dtype.itemsize])
    _check_header(header)
    claimed = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    packed = isinstance(file, gzip.GzipFile)
    check_claim(claimed, path.stat().st_size, packed=packed)
    voxels = math.prod(header.get_data_shape())
    afford(claimed + 8 * voxels, "it", "resample it to larger voxels")
    return header


def _in_mm(spacing: tuple[float, ...], header: Any) -> tuple[float, ...]:
    unit = MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return tuple(size * unit for size in spacing)


def _kind(head: bytes) -> Any:
    """nibabel's class of the header that `head` begins with."""
    import nibabel as nib

    if head[344:348] == b"n+1\0":
        return nib.Nifti1Header
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Header
    raise ValueError("it is not a NIfTI file in one piece (.nii or .nii.gz)")


def _check_header(header: Any) -> None:
    """Refuse a file that is not a volume of real numbers in space, before its voxels are read."""
    from nibabel.affines import voxel_sizes

    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    affine = header.get_best_affine()
    if dtype.names or dtype.kind == "c":
        what = "complex" if dtype.kind == "c" else "RGB"
        raise ValueError(f"its voxels are {what}; one real number per voxel is needed")
    if len(shape) < 3 or min(shape[:3]) < 2:
        flat = min(shape, default=0) > 0 and sum(n > 1 for n in shape) == 2
        way = "; save it as PNG or TIFF, which configs/mtassl_folder.py reads" if flat else ""
        raise ValueError(f"it is not a volume: its shape is {shape}{way}")
    if math.prod(shape[3:]) != 1:
        raise ValueError(f"it holds more than one volume: its shape is {shape}; split it")
    with np.errstate(all="ignore"):  # numbers without a limit; NaN is not above anything
        apart = abs(np.linalg.det(affine[:3, :3])) > 1e-6 * voxel_sizes(affine).prod()
    if not np.isfinite(affine).all() or not apart:
        raise ValueError("its affine is singular: it does not say where the voxels are")
