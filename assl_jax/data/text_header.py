"""Voxels whose header is text: what the formats NRRD and MetaImage share."""

import bz2
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from assl_jax.data.claims import check_claim
from assl_jax.data.memory import afford
from assl_jax.data.names import special
from assl_jax.data.orientation import Affine, Grid, check_grid, in_standard, to_standard
from assl_jax.errors import InputError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the directions of ITK and DICOM to nibabel's
UNPACK: dict[str, Callable[[], Any]] = {
    "zlib": lambda: zlib.decompressobj(zlib.MAX_WBITS | 32),  # with a header of gzip or zlib
    "bz2": bz2.BZ2Decompressor,
}
DAMAGED = "it is damaged or cut short: copy it again"


class Stored(NamedTuple):
    """A volume as its header describes it.

    Attributes:
      shape: numbers of voxels; neighbours along the first axis follow each other in the file.
      dtype: of a stored number, with the order of its bytes.
      affine: as in `orientation.to_standard`.
      file: the one that holds the voxels.
      start: the byte where they begin; None if they end with the file.
      packing: a key of `UNPACK`, or "".
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    affine: Affine
    file: Path
    start: int | None
    packing: str = ""


def beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises:
      ValueError: it names several files, or one that is missing or no regular file.
    """
    if not name or "%" in name or name.split()[0] == "LIST":
        raise ValueError(f"its voxels are in several files ({name}); save them in one")
    file = header.parent / name
    if not file.is_file():
        raise ValueError(special(file) or f"its voxels ({name}) are missing; copy both files")
    return file


def files_of(path: Path, describe: Callable[[Path], Stored]) -> list[Path]:
    """The header and the file of its voxels, or the header alone if it cannot be read.

    Raises:
      InputError: a package is missing.
    """
    try:
        return list(dict.fromkeys([path, describe(path).file]))
    except InputError:
        raise
    except Exception:  # who reads the volume says what is wrong
        return [path]


def stored_grid(stored: Stored) -> Grid:
    """The grid of what `stored_values` would give; no voxel is read.

    Raises:
      ValueError: no volume in space, or a file that is too small for it.
    """
    check_grid(stored.shape, stored.affine)
    voxels = math.prod(stored.shape)
    claimed, size = voxels * stored.dtype.itemsize, stored.file.stat().st_size
    check_claim(claimed, size - (stored.start or 0), packed=bool(stored.packing))
    afford(claimed + 8 * voxels, "it", "resample it to larger voxels")
    return in_standard(stored.shape[:3], stored.affine)


def stored_values(stored: Stored) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Read the voxels.

    Returns:
      The values, and the size of a voxel, as `to_standard` gives them.

    Raises:
      ValueError: as `stored_grid`, or damaged voxels.
    """
    stored_grid(stored)
    need = math.prod(stored.shape) * stored.dtype.itemsize
    with stored.file.open("rb") as file:
        at_end = stored.file.stat().st_size - need
        file.seek(at_end if stored.start is None else stored.start)
        packed = stored.packing
        content = _unpacked(file.read(), packed, need) if packed else file.read(need + 1)
    if len(content) != need:
        more = "more" if len(content) > need else "fewer"
        raise ValueError(f"its file holds {more} bytes than its header says ({need}); {DAMAGED}")
    values = np.frombuffer(content, stored.dtype).reshape(stored.shape[:3], order="F")
    native = values.astype(stored.dtype.newbyteorder("="), copy=False)
    return to_standard(native, stored.affine)


def _unpacked(content: bytes, packing: str, need: int) -> bytes:
    """The content, but not more than one byte above what is needed: a damaged file may be huge."""
    unpack = UNPACK[packing]()
    try:
        values = unpack.decompress(content, need + 1)
    except (zlib.error, OSError, ValueError) as error:
        raise ValueError(f"{DAMAGED} ({error})") from error
    if len(values) == need and not unpack.eof:
        raise ValueError(DAMAGED)  # the checksum at its end is missing
    return values
