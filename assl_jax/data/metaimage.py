"""The reader of MetaImage files (.mha, and .mhd with the voxels in a file of their own).

ITK's reader ends the program on some damaged headers, and gives wrong values without a word for
damaged voxels that are packed. The format is short: lines of `name = value`, then the voxels.
"""

from pathlib import Path

import numpy as np

from assl_jax.data.memory import Within
from assl_jax.data.orientation import LPS, Stored
from assl_jax.data.text_header import beside, files_of, stored

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


def describe_metaimage(path: Path) -> Stored:
    """The volume of a MetaImage of numbers, packed or not.

    As in ITK, directions are to the left, to the back and up, and a file that says nothing of its
    axes has them along these.
    """
    found, end = _lines(path)
    if found.get("BinaryData", "True").lower() != "true":
        raise ValueError("its voxels are text; save them as binary data")
    if found.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError("it has several channels; one real number per voxel is needed")
    if (kind := found.get("ElementType", "")) not in TYPES:
        raise ValueError(f"its ElementType {kind!r} is none of {', '.join(TYPES)}")
    order = ">" if _first(found, BIG_ENDIAN, "False").lower() == "true" else "<"
    packing = "zlib" if found.get("CompressedData", "False").lower() == "true" else ""
    skipped, file = int(found.get("HeaderSize", "0")), _voxels(path, found)
    start = None if skipped < 0 and not packing else max(0, skipped)
    if file == path:
        start = None if start is None else end
    shape = tuple(int(n) for n in found.get("DimSize", "").split())
    dtype = np.dtype(order + TYPES[kind])
    return stored(shape, dtype, _affine(found, len(shape)), file, start, packing)


def metaimage_files(path: Path) -> list[Path]:
    """The files of a volume: the header, and the voxels if they are there."""
    return files_of(path, lambda path: _voxels(path, _lines(path)[0]))


def _voxels(path: Path, found: dict[str, str]) -> Path:
    return path if found[LAST].upper() == "LOCAL" else beside(path, found[LAST])


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


@np.errstate(all="ignore")  # numbers without a limit, which `checked` refuses
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
