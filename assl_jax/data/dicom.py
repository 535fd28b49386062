"""The reader of DICOM series: the slices in a folder, or the frames of an enhanced file.

Headers are judged before pixels are read. Messages show a digest of a patient's ID.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from assl_jax.data.dicom_files import (
    NO_IMAGE,
    Header,
    header_of,
    headers_of,
    patient_of,
    read_elements,
    visible,
)
from assl_jax.data.dicom_slices import Slice, grid, slices_of
from assl_jax.data.orientation import Stored

PIXEL_TAGS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def identify_dicom(path: Path) -> tuple[str, str]:
    """A digest of the patient's ID ("" without one), and what tells the series from all others."""
    found = map(header_of, visible(path) if path.is_dir() else [path])
    first = next(header for header in found if isinstance(header, Header))
    series = f"{first.file.resolve().parent} {first.elements.get('SeriesInstanceUID')}"
    return patient_of(first.elements), series


def describe_dicom(path: Path) -> Stored:
    """The volume of one series.

    Slices are ordered by their positions. Localisers, and objects that are no images (reports,
    structures, DICOMDIR), are left out. Values are what the rescale slopes and intercepts make of
    the stored ones, HU in a CT. They are not inverted for MONOCHROME1, which says how to show them
    and not what they mean. Padding outside the field of view keeps its value.

    The path is a folder that itself holds the files of one series, or one file of the series, which
    also works if its folder holds other series. Names and suffixes of files do not count.
    """
    headers, others = _series(path)
    with _named(headers):
        slices, affine = grid([s for header in headers for s in slices_of(*header)])

    def values() -> np.ndarray:
        with _named(headers):
            return _values(slices).T

    return Stored(
        shape=(*slices[0].shape[::-1], len(slices)),
        affine=affine[:, [2, 1, 0, 3]],  # the columns follow each other
        values=values,
        unused=tuple((file.name, kind) for file, kind in others.items()),
    )


@contextlib.contextmanager
def _named(series: Sequence[Header]) -> Iterator[None]:
    """Errors name the series."""
    first = series[0].elements
    try:
        yield
    except ValueError as error:
        name = f"{first.get('Modality') or 'image'} series {first.get('SeriesNumber') or '?'}"
        raise ValueError(f"{name}: {error}") from error


def _series(path: Path) -> tuple[list[Header], dict[Path, str]]:
    """The headers of the one series that `path` stands for, and what is beside its slices."""
    series: dict[str, list[Header]] = {}
    headers, others = headers_of(path)
    for header in headers:
        uid = str(header.elements.get("SeriesInstanceUID"))
        series.setdefault(uid, []).append(header)
    if not series:
        raise ValueError(NO_IMAGE)
    if len(series) > 1:
        found = ", ".join(
            f"{s[0].file.name} ({s[0].elements.get('Modality')}, {len(s)} files)"
            for s in series.values()
        )
        raise ValueError(
            f"it holds {len(series)} series: put each into its own folder, or name one file of "
            f"the series instead of the folder; the first file of each is {found}"
        )
    return next(iter(series.values())), others


def _values(slices: Sequence[Slice]) -> Float[np.ndarray, "n r c"] | Shaped[np.ndarray, "n r c"]:
    """The rescaled pixels, in the narrowest integer type if all of them are whole numbers."""
    from pydicom.pixels import pixel_array

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
            elements = read_elements(file, PIXEL_TAGS)
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
