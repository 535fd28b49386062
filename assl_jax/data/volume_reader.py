"""The formats of volume files: which paths are volumes, and who reads them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from assl_jax.data import dicom, dicom_files, metaimage, nifti, nrrd_file
from assl_jax.data.names import special
from assl_jax.data.orientation import Stored
from assl_jax.errors import InputError


def _in_folder(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else [path]


@dataclasses.dataclass(frozen=True)
class VolumeReader:
    """How to read a file format.

    Attributes:
      suffixes: endings of the format's file names, in lower case.
      describe: a volume as its header describes it, so that bad files are found before hours of
        reading. It raises any exception if the file is broken.
      known: whether a path is of this format; a folder can be one, such as a DICOM series. None
        goes by the suffixes.
      volumes: the volumes in a folder that it accepts: the folder itself, or files in it.
      files: the files on which the volume depends.
      identify: what the files say of themselves: the patient, and a name that two paths share only
        if they are the same volume; each is "" if unknown. It may raise any exception.
    """

    suffixes: tuple[str, ...]
    describe: Callable[[Path], Stored]
    known: Callable[[Path], bool] | None = None
    volumes: Callable[[Path], list[Path]] = lambda folder: [folder]
    files: Callable[[Path], list[Path]] = _in_folder
    identify: Callable[[Path], tuple[str, str]] = lambda path: ("", "")

    def accepts(self, path: Path) -> bool:
        """Whether a path is of this format."""
        if self.known:
            return self.known(path)
        return path.name.lower().endswith(self.suffixes) and not path.is_dir()


# A file is read by the first reader that accepts it.
READERS = {
    "NIfTI": VolumeReader(nifti.SUFFIXES, nifti.describe_nifti, nifti.is_nifti),
    "NIfTI or ANALYZE pair": VolumeReader(
        nifti.PAIR_SUFFIXES,
        nifti.describe_nifti,
        files=nifti.pair_files,
        identify=nifti.identify_pair,
    ),
    "MGH": VolumeReader(nifti.MGH_SUFFIXES, nifti.describe_nifti),
    "NRRD": VolumeReader(nrrd_file.SUFFIXES, nrrd_file.describe_nrrd, files=nrrd_file.nrrd_files),
    "MetaImage": VolumeReader(
        metaimage.SUFFIXES, metaimage.describe_metaimage, files=metaimage.metaimage_files
    ),
    "DICOM": VolumeReader(
        dicom_files.SUFFIXES,
        dicom.describe_dicom,
        dicom_files.is_dicom,
        volumes=dicom_files.dicom_volumes,
        files=dicom_files.dicom_files,
        identify=dicom.identify_dicom,
    ),
}


def formats() -> str:
    """The formats that are read, with the endings of their names."""
    return ", ".join(f"{name} ({' '.join(r.suffixes)})" for name, r in READERS.items())


def _refuse_special(path: Path) -> None:
    path.stat()  # a missing file is an error of its own
    if reason := special(path):
        raise ValueError(reason)


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns of a volume, each summed over its files."""
    _refuse_special(path)
    reader = next((r for r in READERS.values() if r.accepts(path)), None)
    stats = [file.stat() for file in (reader.files(path) if reader else _in_folder(path))]
    return sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats)


def identify(path: Path) -> tuple[str, str]:
    """The patient and the name of a volume, as far as its files know: see `VolumeReader`."""
    try:
        return reader_of(path).identify(path)
    except InputError:
        raise
    except Exception:  # the file is broken; who reads it says why
        return "", ""


def reader_of(path: Path) -> VolumeReader:
    """The reader of a path."""
    _refuse_special(path)
    for reader in READERS.values():
        if reader.accepts(path):
            return reader
    if path.is_dir():
        raise ValueError("it is a folder without DICOM slices; name the folder of one series")
    raise ValueError(f"its format is none of {formats()}")
