"""From the headers of DICOM images to slices, and from slices to one regular grid."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from assl_jax.data.orientation import LPS

# Of an enhanced file: where a frame's own elements, or those of all frames, are kept.
GROUPS = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"),
    "PixelValueTransformationSequence",
)
PLACE = ("ImagePositionPatient", "ImageOrientationPatient")  # which an X-ray has not
COMPRESSION = 1000  # more than this cannot be the pixels' real number of bytes per stored byte
NAMED = 3  # examples in a message
ALIKE = 1e-3  # difference of direction cosines, and relative one of pixel spacings
SAME_PLACE = 0.01  # distance between slices, in pixels, that counts as none
UNEVEN = 0.1  # relative difference of slice distances; scanners round the positions
OFF_LINE = 0.5  # distance of a slice's corner from the line through first and last, in pixels
DECODERS = "pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg"
SINGLE = "configs/mtassl_folder.py reads single images"
CONVERT = "convert the series to NIfTI, with dcm2niix for example"


class Slice(NamedTuple):
    """One slice: a file, or a frame of an enhanced one."""

    file: Path
    frame: int
    shape: tuple[int, int]  # numbers of rows and columns
    spacing: tuple[float, ...]  # mm between rows, and between columns
    axes: tuple[float, ...]  # in which columns follow each other, then rows (LPS)
    position: tuple[float, ...]  # of the first pixel, in mm (LPS)
    slope: float  # from stored values to values
    intercept: float
    stored: tuple[int, int]  # the smallest and the largest number that can be stored
    photometric: str  # MONOCHROME1 or MONOCHROME2


def slices_of(file: Path, header: Any) -> list[Slice]:
    """The slices of one file, after a check of its header; errors name the file."""
    try:
        return _slices_of(file, header)
    except ValueError as error:
        raise ValueError(f"{file.name} {error}") from error
    except Exception as error:  # an element is of another kind than it should be
        raise ValueError(f"{file.name} is broken: {error}") from error


def _slices_of(file: Path, header: Any) -> list[Slice]:
    count = int(_numbers([header], "NumberOfFrames", default=(1.0,))[0])
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None and count > 1:
        raise ValueError(f"has {count} frames without a position for each; {CONVERT}")
    if per_frame is None and not any(map(header.get, PLACE)):
        raise ValueError(f"is a single image without a place in a volume; {SINGLE}")
    if per_frame is not None and len(per_frame) != count:
        raise ValueError(f"has {count} frames, but positions of {len(per_frame)}")
    if "MOSAIC" in str(header.get("ImageType")):
        raise ValueError(f"is a mosaic of many slices; {CONVERT}")
    if header.get("ModalityLUTSequence"):
        raise ValueError(f"maps its values by a table (ModalityLUTSequence); {CONVERT}")
    shape = tuple(int(_numbers([header], tag)[0]) for tag in ("Rows", "Columns"))
    stored = _stored_range(header)
    _check_size(file, header, count, shape)
    shared = _flat((header.get("SharedFunctionalGroupsSequence") or [None])[0])
    slices = []
    for k in range(count):
        elements = [*(_flat(per_frame[k]) if per_frame is not None else []), *shared, header]
        slope = _numbers(elements, "RescaleSlope", default=(1.0,))[0]
        if slope == 0:
            raise ValueError("has RescaleSlope 0, which leaves no contrast")
        spacing = _numbers(elements, "PixelSpacing", 2)
        if min(spacing) <= 0:
            raise ValueError(f"has PixelSpacing {spacing}, which must be above 0")
        axes = _numbers(elements, "ImageOrientationPatient", 6)
        lengths = np.linalg.norm(np.reshape(axes, (2, 3)), axis=1)
        if np.abs(lengths - 1).max() > 0.01 or abs(np.dot(axes[:3], axes[3:])) > 0.01:
            raise ValueError(f"has ImageOrientationPatient {axes}: no two directions at 90 degrees")
        slices.append(
            Slice(
                file=file,
                frame=k,
                shape=(shape[0], shape[1]),
                spacing=spacing,
                axes=axes,
                position=_numbers(elements, "ImagePositionPatient", 3),
                slope=slope,
                intercept=_numbers(elements, "RescaleIntercept", default=(0.0,))[0],
                stored=stored,
                photometric=str(header.get("PhotometricInterpretation")),
            )
        )
    return slices


def grid(slices: Sequence[Slice]) -> tuple[list[Slice], Float[np.ndarray, "4 4"]]:
    """Order slices along their normal, and give the affine of their stack `[slice, row, column]`.

    Slices may be shifted against each other evenly, as by a tilted gantry. Their stack then keeps
    the tilt, and the distance between slices is that along the shift. The affine is nibabel's: from
    indices to mm, RAS+.
    """
    first = slices[0]
    _check_alike(slices)
    normal = np.cross(first.axes[:3], first.axes[3:])
    slices = sorted(slices, key=lambda s: float(np.dot(s.position, normal)))
    positions = np.array([s.position for s in slices])
    _check_distances(slices, positions @ normal)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    # Distances along the line are checked above; here, those across it.
    off = positions - positions[0] - np.arange(len(slices))[:, None] * step
    across = np.linalg.norm(off - (off @ normal)[:, None] * normal, axis=1)
    if across.max() > OFF_LINE * min(first.spacing):
        worst = slices[int(across.argmax())]
        raise ValueError(
            f"{worst.file.name} is shifted {across.max():.2f} mm sideways from the line of its "
            f"slices; {CONVERT}"
        )
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.multiply(first.axes[3:], first.spacing[0])
    affine[:3, 2] = np.multiply(first.axes[:3], first.spacing[1])
    affine[:3, 3] = positions[0]
    return slices, LPS @ affine


def _check_alike(slices: Sequence[Slice]) -> None:
    for what, kinds in (
        ("sizes", ["{}x{}".format(*s.shape) for s in slices]),
        ("photometric interpretations", [s.photometric for s in slices]),
    ):
        counts = Counter(kinds)
        if len(counts) > 1:
            rare = min(counts, key=counts.__getitem__)
            names = [_name(s) for s, kind in zip(slices, kinds, strict=True) if kind == rare]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise ValueError(
                f"it mixes slices of the {what} {' and '.join(sorted(counts))} "
                f"({rare}: {', '.join(names[:NAMED])}{more}); put each kind into its own folder"
            )
    first = slices[0]
    for what, differences in (
        ("orientations", [np.subtract(s.axes, first.axes) for s in slices]),
        ("pixel spacings", [np.divide(s.spacing, first.spacing) - 1 for s in slices]),
    ):
        worst = np.abs(differences).max(1)
        if worst.max() > ALIKE:
            raise ValueError(
                f"it mixes slices of different {what}, such as {first.file.name} and "
                f"{slices[int(worst.argmax())].file.name}; put each kind into its own folder"
            )


def _check_distances(slices: Sequence[Slice], along: Float[np.ndarray, " n"]) -> None:
    """Refuse slices that share a position, and distances that differ; `along` is sorted."""
    steps = np.diff(along)
    apart = steps > SAME_PLACE * min(slices[0].spacing)
    places = 1 + int(apart.sum())
    if places < 2:
        raise ValueError(
            f"it has slices at {places} position; a volume needs 2 or more, and {SINGLE}"
        )
    if not apart.all():
        k = int(np.flatnonzero(~apart)[0])
        raise ValueError(
            f"it has {len(slices)} slices at {places} positions, such as {_name(slices[k])} and "
            f"{_name(slices[k + 1])} at one; remove copies, and put each phase or echo into its "
            "own folder"
        )
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    worst = int(np.abs(steps - usual).argmax())
    if abs(steps[worst] - usual) > UNEVEN * usual:
        raise ValueError(
            f"slices are missing or unevenly spaced: {_name(slices[worst])} and "
            f"{_name(slices[worst + 1])} are {steps[worst]:g} mm apart, others {usual:g} mm; add "
            "the missing slices or resample the series"
        )


def _name(s: Slice) -> str:
    return f"{s.file.name} frame {s.frame + 1}" if s.frame else s.file.name


def _flat(group: Any) -> list[Any]:
    """The items of a functional group that hold the elements which a classic file has itself."""
    items = [(group.get(name) or [None])[0] for name in GROUPS] if group is not None else []
    return [item for item in items if item is not None]


def _numbers(
    sources: Sequence[Any], tag: str, count: int = 1, default: tuple[float, ...] = ()
) -> tuple[float, ...]:
    """The `count` numbers of an element, from the first of the sources that has it."""
    try:
        value = next((v for s in sources if (v := s.get(tag)) not in (None, "")), default)
        numbers = tuple(float(v) for v in np.atleast_1d(value))
    except (TypeError, ValueError):
        numbers = (np.nan,)
    if not numbers:
        raise ValueError(f"has no {tag}; copy it again if it is cut short, or {CONVERT}")
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"has {tag}, which is not {count} number{'s' * (count > 1)}")
    return numbers


def _stored_range(header: Any) -> tuple[int, int]:
    """The smallest and the largest number that a pixel can hold."""
    samples = _numbers([header], "SamplesPerPixel", default=(1.0,))[0]
    kind = str(header.get("PhotometricInterpretation") or "")
    if not kind:
        raise ValueError(f"has no PhotometricInterpretation; {CONVERT}")
    if samples != 1 or not kind.startswith("MONOCHROME"):
        raise ValueError(f"has colours ({kind}); one grey value per voxel is needed")
    tags = ("BitsAllocated", "BitsStored", "PixelRepresentation")
    allocated, bits, signed = (int(_numbers([header], tag)[0]) for tag in tags)
    high = int(_numbers([header], "HighBit", default=(bits - 1.0,))[0])
    if allocated not in (8, 16, 32) or not 1 <= bits <= allocated or high != bits - 1:
        raise ValueError(
            f"stores {bits} of {allocated} bits up to bit {high}, which is not supported; {CONVERT}"
        )
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def no_decoder(header: Any) -> str:
    """Why the pixels of a file cannot be decoded here; "" if they can."""
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if available:
        return ""
    return f"is compressed as {syntax.name}, for which no decoder is installed; run {DECODERS}"


def too_short(file: Path, header: Any, frames: int) -> str:
    """Why a header's pixels cannot be in its file; "" if they can. It may claim much memory."""
    syntax = header.file_meta.TransferSyntaxUID
    pixels = frames * int(header.Rows) * int(header.Columns)
    packed = COMPRESSION if syntax.is_compressed or syntax.is_deflated else 1
    fits = pixels * int(header.BitsAllocated) // 8 <= packed * file.stat().st_size
    return "" if fits else f"is too short for its {pixels} pixels; copy it again"


def _check_size(file: Path, header: Any, frames: int, shape: Sequence[int]) -> None:
    """Refuse what cannot be decoded, and a header that asks for more memory than the file has."""
    if reason := no_decoder(header):
        raise ValueError(f"{reason}, or {CONVERT}")
    if frames < 1 or min(shape) < 2:
        raise ValueError(f"has {shape[0]} rows, {shape[1]} columns and {frames} frames: no volume")
    if reason := too_short(file, header, frames):
        raise ValueError(reason)
