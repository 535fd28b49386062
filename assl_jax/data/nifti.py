"""The reader of NIfTI files."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

AXES = ("S", "P", "L")  # the directions of the axes z, y, x: slices look as radiologists see them
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
HEADER_BYTES = 540  # of NIfTI-2; the header of NIfTI-1 is shorter
SUFFIXES = (".nii", ".nii.gz")


def is_nifti(path: Path) -> bool:
    """Whether the name or the content says that the file is NIfTI in one piece."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with _open(path) as file:
            _kind(file.read(HEADER_BYTES))
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return True


def read_nifti(path: Path) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Read a NIfTI-1 or NIfTI-2 file in one piece, compressed if its name ends in `.gz`.

    Returns:
      The file's values, and the size of a voxel in mm. Axis 0 runs from inferior to superior, axis
      1 from anterior to posterior, axis 2 from the patient's right to the left.

    Raises:
      ValueError: a file that is not one volume of finite real numbers, or an affine that cannot be
        inverted.
      Exception: what nibabel and gzip raise on a broken file.
    """
    import nibabel as nib
    from nibabel import orientations

    with _open(path) as file:
        kind = _kind(file.read(HEADER_BYTES))
        file.seek(0)
        image = kind.from_file_map({"image": nib.FileHolder(fileobj=file)}, mmap=False)
        _check_header(image)
        values = np.asanyarray(image.dataobj)
        while file.read(2**20):  # gzip verifies its checksum at the end of the file
            pass
    values = values.reshape(values.shape[:3])
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it has voxels that are NaN or infinite")

    target = orientations.axcodes2ornt(AXES)
    turn = orientations.ornt_transform(orientations.io_orientation(image.affine), target)
    units = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    sizes = nib.affines.voxel_sizes(image.affine) * units
    # Column 0 of `turn` is the new position of each of the file's axes.
    spacing = sizes[np.argsort(turn[:, 0])].tolist()
    return orientations.apply_orientation(values, turn), tuple(spacing)


def _open(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


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
