"""The reader of MetaImage files (.mha, and .mhd with the voxels in a file of their own).

ITK's reader ends the program on some damaged headers, and gives wrong values without a word for
damaged voxels that are packed. The format is short: lines of `name = value`, then the voxels.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from assl_jax.data.claims import Within
from assl_jax.data.orientation import Grid
from assl_jax.data.text_header import LPS, Stored, beside, files_of, stored_grid, stored_values

SUFFIXES = (".mha", ".mhd")
HEADER_BYTES = 2**16
LAST = "ElementDataFile"  # the line before the voxels
TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2"},
    **{"MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
# Names of one thing, as programs write them.
MATRIX = ("TransformMatrix", "Rotation", "Orientation")
SPACING = ("ElementSpacing", "ElementSize")
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
STANDARD = ("RAI", "???", "")  # ITK's letters for axes to the left, to the back and up; unknown


def is_metaimage(path: Path) -> bool:
    """Whether the name says that the file is a MetaImage."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def read_metaimage(path: Path) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Read a MetaImage of numbers, packed or not.

    As in ITK, directions are to the left, to the back and up, and a file that says nothing of its
    axes has them along these.

    Returns:
      The file's values, and the size of a voxel in mm, as `to_standard` gives them.

    Raises:
      ValueError: a file that is not one volume of real numbers, that does not fit its header or is
        too large for the memory; directions that are unknown; voxels that are text.
    """
    return stored_values(_stored(path))


def metaimage_header(path: Path) -> Grid:
    """The grid of what `read_metaimage` would give, in mm; no voxel is read.

    Raises:
      ValueError: as `read_metaimage`, where the header tells.
    """
    return stored_grid(_stored(path))


def metaimage_files(path: Path) -> list[Path]:
    """The files of a volume: the header, and the voxels if they are there."""
    return files_of(path, _stored)


def _lines(path: Path) -> tuple[dict[str, str], int]:
    """The names and values of a header, and the byte behind it."""
    found = dict[str, str]()
    with Within(path) as file:
        while file.tell() < HEADER_BYTES and (line := file.readline(HEADER_BYTES)):
            name, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                break
            found[name.strip()] = value.strip()
            if name.strip() == LAST:
                return found, file.tell()
    raise ValueError(f"its header has no {LAST}; it is no MetaImage, or is cut short")


def _stored(path: Path) -> Stored:
    found, end = _lines(path)
    if found.get("BinaryData", "True").lower() != "true":
        raise ValueError("its voxels are text; save them as binary data")
    if found.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError("it has several channels; one real number per voxel is needed")
    if (kind := found.get("ElementType", "")) not in TYPES:
        raise ValueError(f"its ElementType {kind!r} is none of {', '.join(TYPES)}")
    order = ">" if _first(found, BIG_ENDIAN, "False").lower() == "true" else "<"
    packed = found.get("CompressedData", "False").lower() == "true"
    own = found[LAST].upper() == "LOCAL"
    skipped = int(found.get("HeaderSize", "0"))
    start = end if own else max(0, skipped)
    shape = tuple(int(n) for n in found.get("DimSize", "").split())
    return Stored(
        shape=shape,
        dtype=np.dtype(order + TYPES[kind]),
        affine=_affine(found, len(shape)),
        file=path if own else beside(path, found[LAST]),
        start=None if skipped < 0 and not packed else start,
        packing="zlib" if packed else "",
    )


@np.errstate(all="ignore")  # numbers without a limit, which `check_grid` refuses
def _affine(found: dict[str, str], axes: int) -> np.ndarray:
    """The affine of the first three axes: rows of the matrix are the directions of the axes."""
    size = max(axes, 3)
    matrix = _numbers(found, MATRIX, np.eye(size).ravel()).reshape(size, size)
    letters = found.get("AnatomicalOrientation", "")
    if letters not in STANDARD and not any(name in found for name in MATRIX):
        # Programs disagree whether the letters say where the axes come from or go to.
        raise ValueError(f"it has AnatomicalOrientation {letters} and no {MATRIX[0]}; add one")
    affine = np.eye(4)
    affine[:3, :3] = matrix[:3, :3].T * _numbers(found, SPACING, np.ones(size))[:3]
    return LPS @ affine


def _first(found: dict[str, str], names: tuple[str, ...], default: str) -> str:
    return next((found[name] for name in names if name in found), default)


def _numbers(found: dict[str, str], names: tuple[str, ...], default: np.ndarray) -> np.ndarray:
    text = _first(found, names, "")
    values = np.array([float(each) for each in text.split()]) if text else default
    if values.shape != default.shape:
        raise ValueError(f"its {names[0]} has {values.size} numbers, not {default.size}")
    return values
