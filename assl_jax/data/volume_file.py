"""One volume file of any format to one array of integers."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int16

from assl_jax.data.decoding import Header
from assl_jax.data.memory import afford, amount
from assl_jax.data.source import LARGEST_SIDE
from assl_jax.data.volume_reader import reader_of
from assl_jax.data.window import check_window
from assl_jax.errors import require
from assl_jax.ops.resample import resize_matrix

PERCENTILES, PERCENTILE_SCALE = (0.5, 99.5), 1000
NARROWEST_WINDOW = 32
LARGEST_STEP = 2**32  # bytes of a volume between its resamplings along each axis
FLOATS = 8  # bytes for each voxel while a volume is resampled
SAME_GRID = 1e-4  # relative difference of spacings; files store the affine in single precision

# Without jit, its operations would be compiled separately for every size of a file.
_resize_matrix = jax.jit(resize_matrix, static_argnums=(2, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeFormat:
    """How a file becomes an array.

    Attributes:
      shape: `(z, y, x)` voxels of a volume; () requires all volumes to have the same shape. With
        `spacing`, a central box of this shape is cropped; without it, the whole volume is resized.
      spacing: resamples to this voxel size in mm along z, y, x; () keeps the files' voxels.
      window: file values (HU of a CT) that become the lowest and the highest integer, at least 32
        apart; () maps each volume's 0.5 and 99.5 percentiles to 0 and 1000.
      foreground_above: crops to the bounding box of the voxels above this value, in the file's
        units; None keeps the whole volume.
      nan: what replaces voxels that are NaN or infinite: "refuse", "lowest" (the volume's smallest
        value), or a number in the file's units.

    Raises:
      InputError: a setting out of range, named as in `data.*`.
    """

    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    foreground_above: float | None = None
    nan: str = "refuse"

    def __post_init__(self) -> None:
        require(
            self.nan in ("refuse", "lowest") or math.isfinite(_number(self.nan)),
            f"data.nan={self.nan!r} must be refuse, lowest, or a number such as 0",
        )
        require(
            len(self.shape) in (0, 3) and all(2 <= n <= LARGEST_SIDE for n in self.shape),
            f"data.shape={self.shape} must be three numbers of voxels (z, y, x) from 2 to "
            f"{LARGEST_SIDE}, or ()",
        )
        require(
            len(self.spacing) in (0, 3) and all(0 < s < math.inf for s in self.spacing),
            f"data.spacing={self.spacing} must be three voxel sizes in mm (z, y, x), or ()",
        )
        require(
            self.foreground_above is None or math.isfinite(self.foreground_above),
            f"data.foreground_above={self.foreground_above} must be a number",
        )
        afford(
            FLOATS * math.prod(self.shape),
            f"one volume of data.shape={self.shape}",
            "set fewer voxels",
        )
        check_window(self.window)
        if not self.window:
            return
        low, high = self.window
        require(
            high - low >= NARROWEST_WINDOW,
            f"data.window={self.window} gives fewer than {NARROWEST_WINDOW} integers; set "
            "data.window=() to scale each volume by its own percentiles",
        )
        require(
            low.is_integer() and high.is_integer() and low >= -(2**15) and high < 2**15,
            f"data.window={self.window} must be whole numbers within -32768 to 32767",
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the array, as JSON values. `nan` counts only where it is used."""
        settings = dataclasses.asdict(self)
        if self.nan == "refuse":
            del settings["nan"]
        return settings

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest integer of a volume."""
        low, high = self.window or (0.0, float(PERCENTILE_SCALE))
        return low, high


def read_volume(path: Path, format: VolumeFormat) -> Int16[np.ndarray, "z y x 1"]:
    """Read one file, or a folder that is one volume.

    The steps are: read, rotate to the standard orientation, crop to the foreground, resample, cut,
    convert to integers. With `format.spacing`, the grid is resampled about its centre (linear,
    antialiased), and the centre box of `format.shape` is cut out. Without it, the whole volume is
    resized to `format.shape`. If the grid stays the same, the integers of a window are the file's
    values, clipped and rounded.

    Axis 0 runs from inferior to superior, axis 1 from anterior to posterior, axis 2 from the
    patient's right to the left. Values are within `format.limits`.

    Raises:
      ValueError: a file of an unknown format, one that is not one volume of finite real numbers,
        no foreground, no contrast, or a volume smaller than the box to cut out.
      Exception: what the reader raises on a broken file.
    """
    values, spacing = reader_of(path).describe(path).standard()
    values = _finite(values, format.nan)
    if format.foreground_above is not None:
        values = _foreground(values, format.foreground_above)
    # The narrowest type that holds the file's values and interpolated ones.
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    values = _resample(values, *_grid(values.shape, spacing, format))
    if format.spacing and format.shape:
        starts = _box(values.shape, format.shape)
        values = values[tuple(slice(s, s + m) for s, m in zip(starts, format.shape, strict=True))]
    return _integers(values, format)[..., None]


def volume_header(path: Path, format: VolumeFormat) -> Header:
    """What the file's header tells; it refuses what `read_volume` does, as far as it knows."""
    shape, spacing, code, unused = reader_of(path).describe(path).grid()
    if format.foreground_above is not None:
        return Header((*format.shape, 1) if format.shape else (), code, unused)
    _, out = _grid(shape, spacing, format)
    _check_cost(shape, out)
    if format.spacing and format.shape:
        _box(out, format.shape)
    return Header((*(format.shape or out), 1), code, unused)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _finite(values: np.ndarray, nan: str) -> np.ndarray:
    """Replace values that are NaN or infinite, or refuse them."""
    if values.dtype.kind != "f":
        return values
    finite = np.isfinite(values)
    if finite.all():
        return values
    if nan == "refuse":
        raise ValueError(
            f"{values.size - np.count_nonzero(finite)} of {values.size} voxels are NaN or "
            "infinite; set data.nan=lowest, or to the value of the background, such as 0"
        )
    if not finite.any():
        raise ValueError("every voxel is NaN or infinite")
    fill = values[finite].min() if nan == "lowest" else _number(nan)
    return np.where(finite, values, values.dtype.type(fill))


def _foreground(values: np.ndarray, above: float) -> np.ndarray:
    """Crop to the bounding box of the voxels greater than `above`."""
    inside = values > above
    box = []
    for axis in range(values.ndim):
        others = tuple(a for a in range(values.ndim) if a != axis)
        hit = np.flatnonzero(inside.any(others))
        if not len(hit):
            raise ValueError(f"no voxel is above data.foreground_above={above:g}")
        box.append(slice(hit[0], hit[-1] + 1))
    return values[tuple(box)]


def _grid(
    shape: tuple[int, ...], spacing: Sequence[float], format: VolumeFormat
) -> tuple[list[float], tuple[int, ...]]:
    """The centre box that is resampled, in voxels of the file, and its new number of voxels."""
    if not format.spacing:
        return [float(n) for n in shape], format.shape or shape
    ratio = [new / old for old, new in zip(spacing, format.spacing, strict=True)]
    ratio = [1.0 if abs(r - 1) < SAME_GRID else r for r in ratio]
    out = tuple(round(n / r) for n, r in zip(shape, ratio, strict=True))
    if min(out) < 1:
        raise ValueError(f"data.spacing={format.spacing} leaves no voxel of its {shape}")
    afford(
        FLOATS * math.prod(out),
        f"data.spacing={format.spacing} makes {'x'.join(map(str, out))} voxels of a volume, which",
        "set larger voxels",
    )
    return [m * r for m, r in zip(out, ratio, strict=True)], out


def _check_cost(shape: Sequence[int], out: Sequence[int]) -> None:
    """Refuse a resampling whose largest step takes more than `LARGEST_STEP`."""
    steps = [math.prod((*out[:done], *shape[done:])) for done in range(1, len(out) + 1)]
    matrices = [n * m for n, m in zip(shape, out, strict=True) if n != m]
    need = 4 * max(steps + matrices) if tuple(shape) != tuple(out) else 0
    if need > LARGEST_STEP:
        raise ValueError(
            f"to resample its {tuple(shape)} voxels to {tuple(out)} takes {amount(need)} of "
            f"memory, more than {amount(LARGEST_STEP)}; set a larger data.spacing or a smaller "
            "data.shape"
        )


def _resample(values: np.ndarray, lengths: Sequence[float], out: Sequence[int]) -> np.ndarray:
    """Resample the centre box of `lengths` (in voxels) to `out` voxels, axis by axis."""
    _check_cost(values.shape, out)
    for axis, (length, m) in enumerate(zip(lengths, out, strict=True)):
        n = values.shape[axis]
        if m == n == length:
            continue  # the same grid
        start = (n - length) / 2
        matrix = np.asarray(_resize_matrix(jnp.full(1, start), jnp.full(1, length), n, m))[0]
        values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
    return values


def _box(whole: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Where the centre box of `shape` begins."""
    starts = [(n - m) // 2 for n, m in zip(whole, shape, strict=True)]
    if min(starts) < 0:
        raise ValueError(f"it has {whole} voxels of data.spacing, smaller than data.shape={shape}")
    return starts


def _integers(values: np.ndarray, format: VolumeFormat) -> Int16[np.ndarray, "z y x"]:
    """Apply the window, or the percentiles, and round."""
    if format.window:
        scaled = np.clip(values, *format.limits)
    else:
        low, high = np.percentile(values, PERCENTILES)
        if not low < high:
            raise ValueError(
                f"it has no contrast: its percentiles {PERCENTILES} are both {low:g}; leave it out "
                "or set data.window"
            )
        scaled = PERCENTILE_SCALE * np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.ascontiguousarray(np.rint(scaled), np.int16)
