"""The DICOM files in a folder: which of them are images, and which of these are one series.

Only the elements in `TAGS`, and those of pixels, are read, so that no patient's name is ever in
memory.
"""

import contextlib
import functools
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax.console import hush
from assl_jax.data.memory import Within
from assl_jax.data.names import is_unknown
from assl_jax.errors import InputError
from assl_jax.files import digest

SUFFIXES = (".dcm",)
PREAMBLE, MAGIC = 128, b"DICM"
HEAD = 512  # bytes that tell whether a file is DICOM
# Value representations, by the bytes before the value: 2 or 4 of them hold its length.
SHORT = {*b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()}
LONG = {*b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()}
FIRST_GROUPS = (2, 8)  # with which a file without a preamble begins
TAGS = (  # the elements that are read of a header
    *("SOPClassUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesNumber", "PatientID"),
    *("IssuerOfPatientID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter"),
    *("WindowWidth", "VOILUTFunction", "VOILUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
)
FOLDERS = 32  # whose contents are remembered
NO_IMAGE = "it holds no image slices, only localisers or objects such as reports and structures"

_lock = threading.Lock()  # of several threads, one reads a folder and the others wait


class Header(NamedTuple):
    """A file, and those of the elements `TAGS` that it has."""

    file: Path
    elements: Any


class Series(NamedTuple):
    """The image files of one series in a folder.

    A whole one has several slices in each file. A broken file beside them is then a volume of its
    own; otherwise it may be one of the slices.
    """

    files: tuple[Path, ...]
    whole: bool


class Contents(NamedTuple):
    """What a folder holds."""

    series: dict[Path, Series]  # of each image file
    others: dict[Path, str]  # all other visible files, and what they are; "" if not DICOM
    broken: dict[Path, str]  # those of them that may be damaged images, each with the reason


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, or a folder itself holds such a file."""
    try:
        return any(map(begins_as_dicom, visible(path) if path.is_dir() else [path]))
    except OSError:  # a folder that cannot be listed
        return False


def dicom_files(path: Path) -> list[Path]:
    """The files on which a volume depends.

    Those of a folder are all visible files in it. A file stands for its series, whose other slices
    are beside it; the images of other series do not count.
    """
    if path.is_dir():
        return visible(path)
    found = contents(path.parent)
    return [*found.others, *(found.series[path].files if path in found.series else ())]


def dicom_volumes(folder: Path) -> list[Path]:
    """The volumes in a folder: itself, or the first file of each if it holds several series.

    A broken file beside several series is listed too: who reads it says why it is of no use.
    """
    found = contents(folder)
    firsts = {series.files[0] for series in found.series.values()}
    return sorted([*firsts, *found.broken]) if len(firsts) > 1 else [folder]


def unused(path: Path) -> dict[Path, str]:
    """The DICOM files beside the slices of a volume that are no slices, each with what it is."""
    with contextlib.suppress(OSError):  # a folder that cannot be listed
        others = contents(path if path.is_dir() else path.parent).others
        return {file: kind for file, kind in others.items() if kind}
    return {}


def unlisted(paths: Iterable[Path]) -> dict[Path, str]:
    """The series beside those of `paths` that are none of them: the first file of each."""
    taken = defaultdict[Path, set[Path]](set)
    for path in paths:
        with contextlib.suppress(OSError):  # as above
            if path.is_file() and is_dicom(path):
                found = contents(path.parent).series.get(path)
                taken[path.parent].update(found.files if found else [path])
    return {
        series.files[0]: f"the first of {len(series.files)} files of another series"
        for folder, own in taken.items()
        for series in contents(folder).series.values()
        if series.files[0] not in own
    }


def headers_of(path: Path) -> tuple[list[Header], dict[Path, str]]:
    """The headers of a volume's slices, and the DICOM files beside them, each with what it is."""
    if path.is_dir():
        found = {file: header_of(file) for file in visible(path)}
        others = {file: kind for file, kind in found.items() if isinstance(kind, str) and kind}
        return [each for each in found.values() if isinstance(each, Header)], others
    there = contents(path.parent)
    if path in there.broken:
        raise ValueError(there.broken[path])
    if path not in there.series:
        raise ValueError(NO_IMAGE)
    series = there.series[path]
    if there.broken and not series.whole:
        raise ValueError(next(iter(there.broken.values())))
    headers = map(header_of, series.files)
    return [each for each in headers if isinstance(each, Header)], unused(path)


def visible(folder: Path) -> list[Path]:
    """The files in a folder without the hidden ones, sorted."""
    return sorted(f for f in folder.iterdir() if f.name[0] != "." and f.is_file())


def contents(folder: Path) -> Contents:
    """What a folder holds; each file is read once, and again only if some file has changed."""
    with os.scandir(folder) as entries:
        stamps = sorted(
            (entry.name, stat.st_size, stat.st_mtime_ns)
            for entry in entries
            if entry.name[0] != "." and entry.is_file() and (stat := entry.stat())
        )
    with _lock:
        return _contents(folder, tuple(stamps))


@functools.lru_cache(FOLDERS)
def _contents(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> Contents:
    by_uid = defaultdict[str, list[Header]](list)
    others, broken = dict[Path, str](), dict[Path, str]()
    for file in (folder / name for name, *_ in stamps):
        header: Header | str = ""
        try:
            header = header_of(file)
        except InputError:  # pydicom is missing
            raise
        except ValueError as error:
            broken[file] = str(error)
        if isinstance(header, Header):
            by_uid[str(header.elements.get("SeriesInstanceUID"))].append(header)
        else:
            others[file] = header
    every = [
        Series(tuple(h.file for h in headers), all(map(_has_frames, headers)))
        for headers in by_uid.values()
    ]
    return Contents({file: s for s in every for file in s.files}, others, broken)


def head_of(path: str | Path) -> bytes:
    """The bytes with which a file begins; none of one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def is_head(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a file are DICOM, with the preamble or without it."""
    return head[PREAMBLE:].startswith(MAGIC) or any(_elements(head, order) for order in "<>")


def _elements(head: bytes, order: str) -> bool:
    """Whether bytes begin with three elements of a header in their order."""
    tags, at = list[tuple[int, int]](), 0
    while len(tags) < 3 and len(head) >= at + 12:
        group, number = struct.unpack_from(f"{order}HH", head, at)
        kind = head[at + 4 : at + 6]
        form, skip = ("H", 6) if kind in SHORT else ("I", 8 if kind in LONG else 4)
        (length,) = struct.unpack_from(order + form, head, at + skip)
        if group not in FIRST_GROUPS or length % 2:  # values have an even number of bytes
            return False
        tags.append((group, number))
        at += skip + struct.calcsize(form) + length
    return len(tags) == 3 and tags[0] < tags[1] < tags[2]


def begins_as_dicom(file: Path) -> bool:
    """Whether a file begins as DICOM does and is not the index of a medium."""
    return is_head(head_of(file)) and file.name != "DICOMDIR"


def patient_of(elements: Any) -> str:
    """A digest of the patient's ID; "" without one, or if it says that nobody is known."""
    patient, issuer = (str(elements.get(n) or "") for n in ("PatientID", "IssuerOfPatientID"))
    return "" if is_unknown(patient) else f"PatientID #{digest([patient, issuer], 12)}"


def load_pydicom() -> Any:
    """The module pydicom."""
    try:
        import pydicom
    except ImportError as error:
        raise InputError("DICOM files need pydicom; run: pip install pydicom") from error
    # Scanners write values that break small rules; a warning for each would help nobody.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    hush("pydicom")
    return pydicom


def read_elements(file: Path, pixels: Sequence[str] = ()) -> Any:
    """Those of the elements `TAGS` and `pixels` that a file has."""
    pydicom = load_pydicom()
    with Within(file) as opened:
        tags = [*TAGS, *pixels]
        found = pydicom.dcmread(
            opened, force=True, stop_before_pixels=not pixels, specific_tags=tags
        )
    if "TransferSyntaxUID" not in found.file_meta:  # the one with which it was read
        implicit, little = found.original_encoding
        explicit = "ExplicitVRLittleEndian" if little else "ExplicitVRBigEndian"
        kind = "ImplicitVRLittleEndian" if implicit else explicit
        found.file_meta.TransferSyntaxUID = getattr(pydicom.uid, kind)
    return found


def header_of(file: Path) -> Header | str:
    """The header of an image; what the file is if it is a localiser, or no image; "" if no DICOM.

    A segmentation is a mask of an image. A file that was probably an image and is none any more is
    refused.
    """
    if not file.stat().st_size:
        raise ValueError(f"{file.name} is empty; copy it again")
    if not begins_as_dicom(file):
        if file.suffix.lower() in SUFFIXES:
            raise ValueError(f"{file.name} does not begin as a DICOM file")
        return ""
    pydicom = load_pydicom()
    try:
        elements = read_elements(file)
        list(elements)  # a value is converted when it is first looked at, which may fail too
        uid = elements.file_meta.get("MediaStorageSOPClassUID") or elements.get("SOPClassUID")
        kind = pydicom.uid.UID(str(uid)).name
    except Exception as error:
        raise ValueError(f"{file.name} is broken: {error}") from error
    if "Rows" not in elements:
        # Left out only if it is no image for certain: a slice may be cut short.
        image = kind.endswith("Image Storage") and "Non-Image" not in kind
        if image or kind == str(uid):
            raise ValueError(f"{file.name} has no Rows; copy it again, or remove it")
        return f"no image ({kind})"
    if "Segmentation" in kind:
        return f"no image ({kind})"
    # `ImageType` holds texts, or what a damaged file has in their place.
    localiser = "LOCALIZER" in str(elements.get("ImageType"))
    return "a localiser" if localiser else Header(file, elements)


def _has_frames(header: Header) -> bool:
    return str(header.elements.get("NumberOfFrames") or 1) != "1"
