"""The reader of DICOM series: the slices in a folder, or the frames of an enhanced file.

Headers are judged before pixels are read. Only the elements that this file names are read, so that
no patient's name is ever in memory or in a message. Messages show a digest of a patient's ID.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from assl_jax.data.dicom_slices import Slice, grid, slices_of
from assl_jax.data.orientation import in_standard, to_standard
from assl_jax.errors import InputError
from assl_jax.files import digest

SUFFIXES = (".dcm",)
PREAMBLE, MAGIC = 128, b"DICM"
TAGS = (
    *("SOPClassUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesNumber", "PatientID"),
    *("IssuerOfPatientID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope"),
    *("RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
)
PIXEL_TAGS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")


class Header(NamedTuple):
    """A file and the elements of `TAGS` that it has."""

    file: Path
    elements: Any


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, or a folder itself holds such a file."""
    try:
        return any(map(_has_magic, dicom_files(path) if path.is_dir() else [path]))
    except OSError:  # a folder that cannot be listed
        return False


def dicom_files(path: Path) -> list[Path]:
    """The visible files in a folder, or in the folder of a file, sorted.

    A file stands for its series, whose other slices are beside it.
    """
    folder = path if path.is_dir() else path.parent
    return sorted(f for f in folder.iterdir() if f.name[0] != "." and f.is_file())


def identify_dicom(path: Path) -> tuple[str, str]:
    """A digest of the patient's ID ("" without one), and what tells the series from all others.

    Raises:
      InputError: pydicom is not installed.
      Exception: no image, or what pydicom raises on a broken file.
    """
    files = dicom_files(path) if path.is_dir() else [path]
    first = next(_images(files), None)
    if first is None:
        raise ValueError("it holds no image")
    patient = first.elements.get("PatientID") or ""
    issuer = first.elements.get("IssuerOfPatientID") or ""
    known = f"PatientID #{digest([str(patient), str(issuer)], 12)}" if patient else ""
    return known, f"{first.file.resolve().parent} {first.elements.get('SeriesInstanceUID')}"


def read_dicom(path: Path) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Read one series.

    Slices are ordered by their positions. Localisers, and objects that are no images (reports,
    structures, DICOMDIR), are left out. Values are what the rescale slopes and intercepts make of
    the stored ones, HU in a CT. They are not inverted for MONOCHROME1, which says how to show them
    and not what they mean. Padding outside the field of view keeps its value.

    Args:
      path: a folder that itself holds the files of one series, or one file of the series, which
        also works if its folder holds other series. Names and suffixes of files do not count.

    Returns:
      The values, and the size of a voxel in mm, as `to_standard` gives them.

    Raises:
      InputError: pydicom is not installed.
      ValueError: files that are not one volume of grey values on a regular grid.
      Exception: what pydicom raises on a broken file.
    """
    with _named(headers := _series(path)):
        slices, affine = grid([s for header in headers for s in slices_of(*header)])
        return to_standard(_values(slices), affine)


def dicom_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The shape `[z, y, x]` and the spacing that `read_dicom` would give; no pixel is read.

    Raises:
      InputError, ValueError, Exception: as `read_dicom`, where the headers tell.
    """
    with _named(headers := _series(path)):
        slices, affine = grid([s for header in headers for s in slices_of(*header)])
        return in_standard((len(slices), *slices[0].shape), affine)


@contextlib.contextmanager
def _named(series: Sequence[Header]) -> Iterator[None]:
    """Errors name the series."""
    first = series[0].elements
    try:
        yield
    except ValueError as error:
        name = f"{first.get('Modality') or 'image'} series {first.get('SeriesNumber') or '?'}"
        raise ValueError(f"{name}: {error}") from error


def _has_magic(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            opened.seek(PREAMBLE)
            return opened.read(len(MAGIC)) == MAGIC and file.name != "DICOMDIR"
    except OSError:
        return False


def _series(path: Path) -> list[Header]:
    """The headers of the one series that `path` stands for."""
    files = dicom_files(path)
    for file in files:
        if not file.stat().st_size:
            raise ValueError(f"{file.name} is empty; copy it again")
        if file.suffix.lower() in SUFFIXES and not _has_magic(file):
            raise ValueError(f"{file.name} does not begin as a DICOM file (preamble and DICM)")
    series: dict[str, list[Header]] = {}
    for header in _images(files):
        uid = str(header.elements.get("SeriesInstanceUID"))
        series.setdefault(uid, []).append(header)
    if not path.is_dir():
        series = {uid: s for uid, s in series.items() if path in [h.file for h in s]}
    if not series:
        raise ValueError(
            "it holds no image slices, only localisers or objects such as reports and structures"
        )
    if len(series) > 1:
        found = ", ".join(
            f"{s[0].file.name} ({s[0].elements.get('Modality')}, {len(s)} files)"
            for s in series.values()
        )
        raise ValueError(
            f"it holds {len(series)} series: put each into its own folder, or name one file of "
            f"the series instead of the folder; the first file of each is {found}"
        )
    return next(iter(series.values()))


def _images(files: Sequence[Path]) -> Iterator[Header]:
    """The headers of the DICOM files that are images, without localisers."""
    pydicom = _pydicom()
    for file in filter(_has_magic, files):
        try:
            elements = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS))
            uid = elements.file_meta.get("MediaStorageSOPClassUID") or elements.get("SOPClassUID")
            kind = pydicom.uid.UID(str(uid)).name
        except Exception as error:
            raise ValueError(f"{file.name} is broken: {error}") from error
        if "Rows" not in elements:
            # Left out only if it is no image for certain: a slice may be cut short.
            image = kind.endswith("Image Storage") and "Non-Image" not in kind
            if image or kind == str(uid):
                raise ValueError(f"{file.name} has no Rows; copy it again, or remove it")
        elif "LOCALIZER" not in (elements.get("ImageType") or ()):
            yield Header(file, elements)


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise InputError("DICOM files need pydicom; run: pip install pydicom") from error
    # Scanners write values that break small rules; a warning for each would help nobody.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


def _values(slices: Sequence[Slice]) -> Float[np.ndarray, "n r c"] | Shaped[np.ndarray, "n r c"]:
    """The rescaled pixels, in the narrowest integer type if all of them are whole numbers."""
    from pydicom.pixels import pixel_array

    pydicom = _pydicom()
    whole = all(s.slope == 1 and s.intercept.is_integer() for s in slices)
    dtype: Any = np.float64
    if whole:
        low = min(int(s.stored[0] + s.intercept) for s in slices)
        high = max(int(s.stored[1] + s.intercept) for s in slices)
        dtype = np.min_scalar_type(high if low >= 0 else min(low, -high - 1))
    values = np.empty((len(slices), *slices[0].shape), dtype)
    frames = Counter(s.file for s in slices)
    order = sorted(range(len(slices)), key=lambda i: slices[i].file)
    for file, places in itertools.groupby(order, lambda i: slices[i].file):
        try:
            elements = pydicom.dcmread(file, specific_tags=[*TAGS, *PIXEL_TAGS])
            pixels = pixel_array(elements, raw=True).reshape(frames[file], *slices[0].shape)
        except Exception as error:
            raise ValueError(f"the pixels of {file.name} cannot be decoded: {error}") from error
        for i in places:
            stored = pixels[slices[i].frame]
            if whole:
                values[i] = stored.astype(np.int64) + int(slices[i].intercept)
            else:
                values[i] = stored * slices[i].slope + slices[i].intercept
    return values
