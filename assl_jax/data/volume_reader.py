"""The formats of volume files: which paths are volumes, and who reads them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assl_jax.data import dicom, dicom_files, nifti
from assl_jax.data.names import is_system, special
from assl_jax.data.orientation import Grid
from assl_jax.errors import InputError


def _in_folder(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else [path]


class VolumeReader(NamedTuple):
    """How to read a file format.

    Attributes:
      suffixes: endings of the format's file names, in lower case.
      accepts: whether a path is of this format; a folder can be one, such as a DICOM series.
      read: gives a file's values `[z, y, x]` and the size of a voxel in mm, as
        `data.orientation.to_standard` orients them. It raises any exception if the file is broken.
      header: gives the grid without reading a voxel, so that bad files are found before hours of
        reading; None if the format has no such way.
      volumes: the volumes in a folder that it accepts: the folder itself, or files in it.
      files: the files on which the volume depends.
      identify: what the files say of themselves: the patient, and a name that two paths share only
        if they are the same volume; each is "" if unknown. It may raise any exception.
    """

    suffixes: tuple[str, ...]
    accepts: Callable[[Path], bool]
    read: Callable[[Path], tuple[np.ndarray, tuple[float, ...]]]
    header: Callable[[Path], Grid] | None = None
    volumes: Callable[[Path], list[Path]] = lambda folder: [folder]
    files: Callable[[Path], list[Path]] = _in_folder
    identify: Callable[[Path], tuple[str, str]] = lambda path: ("", "")


# A file is read by the first reader that accepts it.
READERS = {
    "NIfTI": VolumeReader(
        nifti.SUFFIXES, nifti.is_nifti, nifti.read_nifti, header=nifti.nifti_header
    ),
    "DICOM": VolumeReader(
        suffixes=dicom_files.SUFFIXES,
        accepts=dicom_files.is_dicom,
        read=dicom.read_dicom,
        header=dicom.dicom_header,
        volumes=dicom_files.dicom_volumes,
        files=dicom_files.dicom_files,
        identify=dicom.identify_dicom,
    ),
}
VOLUME_SUFFIXES = tuple(suffix for reader in READERS.values() for suffix in reader.suffixes)


def find_volumes(folder: Path) -> list[Path]:
    """The volumes in a folder, sorted: files by their suffix, and folders of one volume.

    The folder itself, or one inside it, is a volume if a reader accepts it; that reader's files in
    it are none, unless they are several volumes. Links to folders are followed.

    Raises:
      InputError: a package that a format needs is not installed.
    """
    found: list[Path] = []
    waiting = [folder]  # folders may be nested deeper than Python's calls, which `os.walk` makes
    while waiting:
        here = waiting.pop()
        folders, names = _content(here)
        links = [path for path in folders if path.is_symlink()]
        # A link to a folder that contains it would lead round in a circle.
        above = {parent.resolve() for parent in (here, *here.parents)} if links else set()
        waiting += [p for p in folders if p not in links or p.resolve() not in above]
        own = [reader for reader in READERS.values() if reader.accepts(here)]
        others = tuple(s for r in READERS.values() if r not in own for s in r.suffixes)
        found += [volume for reader in own for volume in reader.volumes(here)]
        found += [here / n for n in names if n.lower().endswith(others)]
    return sorted(set(found))  # an empty file can be of any format


def _content(folder: Path) -> tuple[list[Path], list[str]]:
    """The folders in a folder, and the names of its files; none if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not is_system(entry.name)]
    except OSError:
        return [], []
    folders = [folder / entry.name for entry in entries if entry.is_dir()]
    return folders, [entry.name for entry in entries if not entry.is_dir()]


def _refuse_special(path: Path) -> None:
    path.stat()  # a missing file is an error of its own
    if reason := special(path):
        raise ValueError(reason)


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns of a volume, each summed over its files.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no file.
    """
    _refuse_special(path)
    reader = next((r for r in READERS.values() if r.accepts(path)), None)
    stats = [file.stat() for file in (reader.files(path) if reader else _in_folder(path))]
    return sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats)


def identify(path: Path) -> tuple[str, str]:
    """The patient and the name of a volume, as far as its files know: see `VolumeReader`.

    Raises:
      InputError: a package that the format needs is not installed.
    """
    try:
        return reader_of(path).identify(path)
    except InputError:
        raise
    except Exception:  # the file is broken; who reads it says why
        return "", ""


def reader_of(path: Path) -> VolumeReader:
    """The reader of a path.

    Raises:
      OSError: it is not there.
      ValueError: it is of no known format.
    """
    _refuse_special(path)
    for reader in READERS.values():
        if reader.accepts(path):
            return reader
    if path.is_dir():
        raise ValueError("it is a folder without DICOM slices; name the folder of one series")
    known = ", ".join(f"{name} ({' '.join(r.suffixes)})" for name, r in READERS.items())
    raise ValueError(f"its format is none of {known}")
