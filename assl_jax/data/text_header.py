"""Voxels whose header is text: what the formats NRRD and MetaImage share."""

import bz2
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.data.names import special
from assl_jax.data.orientation import Affine, Stored, checked
from assl_jax.errors import InputError

UNPACK: dict[str, Callable[[], Any]] = {
    "zlib": lambda: zlib.decompressobj(zlib.MAX_WBITS | 32),  # with a header of gzip or zlib
    "bz2": bz2.BZ2Decompressor,
}
DAMAGED = "it is damaged or cut short: copy it again"


def stored(
    shape: tuple[int, ...],
    dtype: np.dtype,
    affine: Affine,
    file: Path,
    start: int | None,
    packing: str,
) -> Stored:
    """The volume that a header describes.

    Args:
      shape, affine: as in `Stored`.
      dtype: of a stored number, with the order of its bytes.
      file: the one that holds the voxels.
      start: the byte where they begin; None if they end with the file.
      packing: a key of `UNPACK`, or "".

    Raises:
      ValueError: as `checked`; and damaged voxels when they are read.
    """
    three = checked(shape, affine, dtype, file, packed=bool(packing), start=start or 0)

    def values() -> np.ndarray:
        need = math.prod(three) * dtype.itemsize
        with file.open("rb") as content:
            content.seek(file.stat().st_size - need if start is None else start)
            found = _unpacked(content.read(), packing, need) if packing else content.read(need + 1)
        if len(found) != need:
            more = "more" if len(found) > need else "fewer"
            raise ValueError(
                f"its file holds {more} bytes than its header says ({need}); {DAMAGED}"
            )
        array = np.frombuffer(found, dtype).reshape(three, order="F")
        return array.astype(dtype.newbyteorder("="), copy=False)

    return Stored(three, affine, values)


def beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names."""
    if not name or "%" in name or name.split()[0] == "LIST":
        raise ValueError(f"its voxels are in several files ({name}); save them in one")
    file = header.parent / name
    if not file.is_file():
        raise ValueError(special(file) or f"its voxels ({name}) are missing; copy both files")
    return file


def files_of(path: Path, voxels_of: Callable[[Path], Path]) -> list[Path]:
    """The header and the file of its voxels, or the header alone if it cannot be read."""
    try:
        return list(dict.fromkeys([path, voxels_of(path)]))
    except InputError:
        raise
    except Exception:  # who reads the volume says what is wrong
        return [path]


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
