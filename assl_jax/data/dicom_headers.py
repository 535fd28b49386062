"""What the headers of DICOM images say before pixels are read: patients, series, no images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from assl_jax.data.dicom_files import patient_of
from assl_jax.data.dicom_image import DAMAGED, kind_of, no_image, read_header, shows_a_range
from assl_jax.data.image_file import PICTURES, is_dicom_image
from assl_jax.data.names import shown
from assl_jax.data.rows import Row
from assl_jax.errors import InputError


def with_headers(root: Path, rows: Sequence[Row], *, window: bool) -> tuple[list[Row], list[str]]:
    """The rows with the patients of their DICOM files, and notes.

    Files that are no images, such as reports, are left out. Patients are taken from the files if no
    row has one. A broken file stays: who decodes it says why it is of no use. `window` says whether
    `data.window` tells which values become black and white.
    """
    facts = {
        row.path: found
        for row in rows
        if not row.path.lower().endswith(PICTURES)
        and is_dicom_image(root / row.path)
        and (found := _facts(root / row.path))
    }
    if not facts:
        return list(rows), []
    other = {path: each.kind for path, each in facts.items() if each.kind}
    images = {path: each for path, each in facts.items() if not each.kind}
    _refuse_series(root, images)
    notes = []
    if other:
        kinds = ", ".join(sorted(set(other.values())))
        notes.append(f"{len(other)} DICOM files are no images ({kinds}) and are left out")
    if not window and (count := sum(not each.ranged for each in images.values())):
        notes.append(
            f"{count} DICOM images do not say how they are shown: the smallest value of each "
            "becomes black and the largest white; data.window=(low, high) sets one range for all"
        )
    kept = [row for row in rows if row.path not in other]
    if not any(row.patient for row in rows):
        patients = {path: each.patient for path, each in images.items()}
        known = set(filter(None, patients.values()))
        if len(known) == 1 and len(images) > 1:
            notes.append("all DICOM images have one PatientID, so their patients are unknown")
        elif known:
            notes.append(f"the DICOM images are of {len(known)} patients by their PatientID")
            if count := sum(not who for who in patients.values()):
                notes.append(
                    f"{count} DICOM images have no PatientID; each is taken for another patient"
                )
            kept = [row._replace(patient=patients.get(row.path, "")) for row in kept]
    return kept, notes


class _Facts(NamedTuple):
    """What a header says."""

    kind: str  # of an object that is no image, in the standard's words; "" for an image
    series: str  # that the image has a place in; "" for an image that stands for itself
    modality: str  # such as CT
    patient: str  # a digest; "" if unknown
    ranged: bool  # whether the file says which of its values are black and white


def _facts(path: Path) -> _Facts | None:
    """What a file's header says; None if it is broken, of which decoding it will speak."""
    try:
        header = read_header(path)
        reason = no_image(header)
        if reason == DAMAGED:
            return None
        placed = bool(header.get("ImagePositionPatient"))
        return _Facts(
            kind=kind_of(header) if reason else "",
            series=str(header.get("SeriesInstanceUID")) if placed else "",
            modality=str(header.get("Modality") or "DICOM"),
            patient=patient_of(header),
            ranged=shows_a_range(header),
        )
    except InputError:  # pydicom is missing
        raise
    except Exception:  # pydicom raises nearly anything
        return None


def _refuse_series(root: Path, facts: Mapping[str, _Facts]) -> None:
    """Refuse files that have their places in one volume."""
    slices = defaultdict[str, list[str]](list)
    for path, each in facts.items():
        if each.series:
            slices[each.series].append(path)
    several = [paths for paths in slices.values() if len(paths) > 1]
    if several:
        path = several[0][0]
        raise InputError(
            f"{shown(str(root / path))} is one of {len(several[0])} slices of a "
            f"{facts[path].modality} series, which is a volume: read it with "
            "--config=configs/mtassl_volumes.py, or save single slices as PNG"
        )
