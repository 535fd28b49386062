"""The reader of NRRD files (.nrrd, and .nhdr with the voxels in a file of their own)."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.data.memory import Within
from assl_jax.data.orientation import LPS, Stored
from assl_jax.data.text_header import beside, files_of, stored
from assl_jax.errors import InputError

SUFFIXES = (".nrrd", ".nhdr")
MAGIC = b"NRRD"
PACKINGS = {"raw": "", "gzip": "zlib", "gz": "zlib", "bzip2": "bz2", "bz2": "bz2"}
SPACES = {  # where the axes of the space go, to nibabel's: right, front, up
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0, 1.0])),
    **dict.fromkeys(("left-posterior-superior", "lps", ""), LPS),
}
UNITS = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "um": 0.001, "micron": 0.001, "": 1.0}


def _load() -> Any:
    try:
        import nrrd
    except ImportError as error:
        raise InputError("NRRD files need pynrrd; run: pip install pynrrd") from error
    return nrrd


def describe_nrrd(path: Path) -> Stored:
    """The volume of an NRRD file of numbers, packed or not.

    A header without a space is taken as ITK does: axes to the left, to the back and up.
    """
    header, dtype, end = _header(path)
    file = _voxels(path, header)
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    skipped = int(header.get("byte skip", header.get("byteskip", 0)))
    packing = PACKINGS.get(str(header.get("encoding")).lower())
    if packing is None:
        raise ValueError(f"its encoding is {header.get('encoding')}; save it as raw or gzip")
    if lines or (packing and skipped):
        raise ValueError("its header skips lines, or bytes of packed voxels; save it without")
    start = None if skipped < 0 else (end if file == path else 0) + skipped
    with np.errstate(all="ignore"):  # numbers without a limit, which `checked` refuses
        shape, affine = _space(header)
    return stored(shape, dtype, affine, file, start, packing)


def nrrd_files(path: Path) -> list[Path]:
    """The files of a volume: the header, and the voxels if they are there."""
    return files_of(path, lambda path: _voxels(path, _header(path)[0]))


def _header(path: Path) -> tuple[Any, np.dtype, int]:
    """The header, the type of the voxels, and the byte behind the header."""
    nrrd = _load()
    with Within(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin as an NRRD file; copy it again, or remove it")
        file.seek(0)
        try:
            header = nrrd.read_header(file)
            return header, _dtype(nrrd, header), file.tell()
        except Exception as error:
            raise ValueError(f"its header is damaged ({error})") from error


def _voxels(path: Path, header: Any) -> Path:
    name = header.get("data file", header.get("datafile"))
    return path if name is None else beside(path, name)


def _dtype(nrrd: Any, header: Any) -> np.dtype:
    """The type of the voxels: that of an empty volume."""
    own = {name: header[name] for name in ("type", "endian") if name in header}
    empty = {"encoding": "raw", "dimension": 1, "sizes": np.zeros(1, int)}
    return nrrd.read_data(own | empty, io.BytesIO()).dtype


def _space(header: Any) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape, with the axes of the space first, and the affine of these."""
    sizes = [int(n) for n in header.get("sizes", ())]
    space = str(header.get("space", "")).lower()
    if space not in SPACES:
        raise ValueError(f"its space {space} does not say where the patient is; convert it")
    units = {unit.lower() for unit in header.get("space units", ())} or {""}
    if len(units) > 1 or not units <= UNITS.keys():
        raise ValueError(f"its space units {', '.join(sorted(units))} are not mm; convert it")
    directions = header.get("space directions")
    if directions is None:
        spacings = header.get("spacings", np.ones(len(sizes)))
        directions = np.eye(len(sizes), 3) * np.reshape(spacings, (-1, 1))
    directions = np.asarray(directions, float)
    if directions.shape != (len(sizes), 3):
        raise ValueError(f"its space directions are not 3 numbers for each of {len(sizes)} axes")
    # Axes without a direction, such as one of channels, stand where the file has them.
    own = np.isfinite(directions).all(1) & directions.any(1)
    order = [*np.flatnonzero(own), *np.flatnonzero(~own)]
    if own.sum() != 3 or any(sizes[i] != 1 for i in order[3:]):
        raise ValueError(f"it is not one volume of numbers: its sizes are {tuple(sizes)}")
    affine = np.eye(4)
    affine[:3, :3] = directions[own].T * UNITS[units.pop()]
    return tuple(sizes[i] for i in order), SPACES[space] @ affine
