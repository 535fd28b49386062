"""One DICOM file that holds a two-dimensional image, such as an X-ray, to 8-bit values."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from assl_jax.data.dicom_files import begins_as_dicom, load_pydicom, read_elements
from assl_jax.data.dicom_slices import DECODERS, no_decoder, too_short
from assl_jax.data.window import check_fills, to_bytes

DICOM_SUFFIXES = (".dcm", ".dicom")
DAMAGED = "it has no Rows or Columns; copy it again"
PIXEL_TAGS = (
    *("PlanarConfiguration", "PixelPaddingValue", "PixelData", "FloatPixelData"),
    *("DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)


def read_header(path: Path) -> Any:
    """The elements of a DICOM file, with or without a preamble."""
    if not begins_as_dicom(path):
        raise ValueError("it does not begin as a DICOM file")
    return read_elements(path)


def kind_of(header: Any) -> str:
    """The kind of object as the standard calls it, such as "Digital X-Ray Image Storage"."""
    uid = header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID") or ""
    return str(load_pydicom().uid.UID(str(uid)).name) or "of unknown kind"


def no_image(header: Any) -> str:
    """Why a file has no pixels: it is another object, or damaged; "" if it has."""
    if "Rows" in header and "Columns" in header:
        return ""
    kind = kind_of(header)
    if "Image Storage" in kind and "Non-Image" not in kind:
        return DAMAGED
    return f"it is no image ({kind})"


def shows_a_range(header: Any) -> bool:
    """Whether a grey image says by which of its values it is shown, or has 8 bits only."""
    return (
        not str(header.get("PhotometricInterpretation")).startswith("MONOCHROME")
        or bool(header.get("VOILUTSequence"))
        or _has_window(header)
        or _is_bytes(header)
    )


def decode_dicom(
    path: Path, *, window: tuple[float, ...], frames: Callable[[int], Sequence[int]]
) -> list[UInt8[np.ndarray, "h w *c"]]:
    """Decode one file to values from 0 (black) to 255 (white).

    The rescale slope and intercept, or the modality table, are applied. Grey values then are mapped
    by `window`, or else as the file says: by its table or its (first) window of interest. Without
    these, 8-bit values stay as they are, and others are mapped from the smallest to the largest
    one that is no padding. MONOCHROME1 is inverted at the end. Colours become RGB.

    Source: DICOM PS3.3 C.11.1 and C.11.2, computed by pydicom.

    `frames` gives, for the number of frames, those to decode; it may raise.
    """
    header = read_header(path)
    if reason := no_image(header):
        raise ValueError(reason)
    count = int(header.get("NumberOfFrames") or 1)
    numbers = frames(count)
    for reason in (no_decoder(header), too_short(path, header, count)):
        if reason:
            raise ValueError(f"it {reason}")
    whole = read_elements(path, PIXEL_TAGS)
    from pydicom.pixels import pixel_array

    try:
        stored = [pixel_array(whole, index=k) for k in numbers]
    except RuntimeError as error:  # of decoders that lack a kind of compression
        reason = f"its pixels cannot be decoded: {error}; another decoder may: run {DECODERS}"
        raise ValueError(reason) from error
    return [_to_bytes(whole, each, window) for each in stored]


def _to_bytes(header: Any, stored: np.ndarray, window: tuple[float, ...]) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    kind = str(header.get("PhotometricInterpretation"))
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)
    if not kind.startswith("MONOCHROME"):
        if stored.dtype == np.uint8:
            check_fills(window)
        bits = 8 * stored.dtype.itemsize
        return to_bytes(stored, window or (0, 2**bits - 1))
    values = apply_modality_lut(stored, header)
    if _is_bytes(header):
        check_fills(window)
    result = to_bytes(values, window) if window else _as_shown(header, stored, values)
    return 255 - result if kind == "MONOCHROME1" else result


def _as_shown(header: Any, stored: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values by the file's own table or window, see `decode_dicom`."""
    from pydicom import Dataset
    from pydicom.pixels import apply_voi, apply_windowing

    if header.get("VOILUTSequence"):
        entries, first, bits = header.VOILUTSequence[0].LUTDescriptor
        # pydicom counts the entries in the table's type, of which 8 bits may be too few.
        header.VOILUTSequence[0].LUTDescriptor = [entries, first, 16]
        return to_bytes(apply_voi(np.rint(values).astype(np.int64), header), (0, 2**bits - 1))
    if _has_window(header):
        view = Dataset()  # whose output has 8 bits
        view.BitsStored, view.PixelRepresentation = 8, 0
        for name in ("WindowCenter", "WindowWidth", "VOILUTFunction", "PhotometricInterpretation"):
            if name in header:
                setattr(view, name, header.get(name))
        return to_bytes(apply_windowing(values, view), (0, 255))
    if _is_bytes(header):
        return values.astype(np.uint8)
    padding = header.get("PixelPaddingValue")
    real = values if padding is None else values[stored != padding]
    low, high = (real.min(), real.max()) if real.size else (0, 0)
    return to_bytes(values, (low, high if high > low else low + 1))


def _has_window(header: Any) -> bool:
    """Whether the file has a window of interest with a width that makes sense."""
    if any(header.get(name) in (None, "") for name in ("WindowCenter", "WindowWidth")):
        return False
    width = float(np.atleast_1d(header.WindowWidth)[0])
    return width >= 1 or (width > 0 and header.get("VOILUTFunction") in ("LINEAR_EXACT", "SIGMOID"))


def _is_bytes(header: Any) -> bool:
    """Whether the values are 0 to 255 and nothing changes them."""
    return (
        header.get("BitsStored") == 8
        and not header.get("PixelRepresentation")
        and float(header.get("RescaleSlope") or 1) == 1
        and float(header.get("RescaleIntercept") or 0) == 0
        and not header.get("ModalityLUTSequence")
    )
