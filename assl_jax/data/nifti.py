"""One NIfTI file to one volume of integers."""

import dataclasses
import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int16, Shaped

from assl_jax.errors import require
from assl_jax.ops.resample import resize_matrix

AXES = ("S", "P", "L")  # where the axes z, y, x point to: slices look as radiologists see them
PERCENTILES, PERCENTILE_SCALE = (0.5, 99.5), 1000
NARROWEST_WINDOW = 32
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
SAME_GRID = 1e-4  # relative difference of spacings; the affine is stored in single precision

# Eager, its operations would be compiled one by one for every size that a file may have.
_resize_matrix = jax.jit(resize_matrix, static_argnums=(2, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeFormat:
    """All that decides a volume's array besides its file.

    Attributes:
      shape: `[z, y, x]` of the result; () keeps what the other settings lead to.
      spacing: size of the result's voxels in mm along z, y, x; () keeps the file's.
      window: file values that become the lowest and the highest integer; () scales each volume
        by its own percentiles.
      foreground_above: the volume is cropped to the box of the voxels above this value, in the
        file's units; None keeps all of it.

    Raises:
      InputError: a setting out of range, under its name in `data.*`.
    """

    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    foreground_above: float | None = None

    def __post_init__(self) -> None:
        require(
            len(self.shape) in (0, 3) and all(n >= 2 for n in self.shape),
            f"data.shape={self.shape} must be three numbers of voxels (z, y, x), or ()",
        )
        require(
            len(self.spacing) in (0, 3) and all(0 < s < math.inf for s in self.spacing),
            f"data.spacing={self.spacing} must be three voxel sizes in mm (z, y, x), or ()",
        )
        require(
            self.foreground_above is None or math.isfinite(self.foreground_above),
            f"data.foreground_above={self.foreground_above} must be a number",
        )
        if not self.window:
            return
        require(
            len(self.window) == 2 and self.window[0] < self.window[1],
            f"data.window={self.window} must be (low, high) with low < high, or ()",
        )
        low, high = self.window
        require(
            high - low >= NARROWEST_WINDOW,
            f"data.window={self.window} leaves fewer than {NARROWEST_WINDOW} integers to store; "
            "leave it empty, data.window=(), to scale each volume by its own percentiles",
        )
        require(
            low.is_integer() and high.is_integer() and low >= -(2**15) and high < 2**15,
            f"data.window={self.window} must be whole numbers within -32768 to 32767",
        )

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest integer that is stored."""
        low, high = self.window or (0.0, float(PERCENTILE_SCALE))
        return low, high


def read_volume(path: Path, format: VolumeFormat) -> Int16[np.ndarray, "z y x 1"]:
    """Read one file, in this order: orient, crop to the foreground, resample, cut, to integers.

    With `format.spacing` the grid is resampled about its centre (linear, antialiased) and the
    centre box of `format.shape` is cut out; without it the whole volume is resized to
    `format.shape`. Where none of this changes the grid, a window's integers are the file's values,
    clipped and rounded.

    Args:
      path: a NIfTI-1 or NIfTI-2 file in one piece, compressed if its name ends in .gz.
      format: what to make of it.

    Returns:
      Integers within `format.limits`; axis 0 runs from inferior to superior, axis 1 from anterior
      to posterior, axis 2 from the patient's right to the left.

    Raises:
      ValueError: a file that is no volume of finite real numbers, an affine that cannot be
        inverted, no foreground, no contrast, a volume smaller than the box to cut.
      Exception: what nibabel and gzip raise on a broken file.
    """
    values, spacing = _load(path)
    if format.foreground_above is not None:
        values = _foreground(values, format.foreground_above)
    # The narrowest type that holds the file's values and what lies between them.
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    if format.spacing:
        values = _respace(values, spacing, format.spacing)
        values = _centre(values, format.shape) if format.shape else values
    elif format.shape:
        whole = [float(n) for n in values.shape]
        values = _resample(values, whole, format.shape)
    return _integers(values, format)[..., None]


def _load(path: Path) -> tuple[Shaped[np.ndarray, "z y x"], list[float]]:
    """The file's values in the order of `AXES`, and the size of a voxel in mm."""
    import nibabel as nib
    from nibabel import orientations

    compressed = path.suffix.lower() == ".gz"
    with gzip.open(path) if compressed else path.open("rb") as file:
        kind = _kind(file.read(540))
        file.seek(0)
        image = kind.from_file_map({"image": nib.FileHolder(fileobj=file)}, mmap=False)
        _check_header(image)
        values = np.asanyarray(image.dataobj)
        while file.read(2**20):  # gzip's checksum comes last: read up to it
            pass
    values = values.reshape(values.shape[:3])
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it has voxels that are NaN or infinite")

    target = orientations.axcodes2ornt(AXES)
    turn = orientations.ornt_transform(orientations.io_orientation(image.affine), target)
    units = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    sizes = nib.affines.voxel_sizes(image.affine) * units
    # Column 0 of `turn` is the new place of each of the file's axes.
    spacing = sizes[np.argsort(turn[:, 0])].tolist()
    return orientations.apply_orientation(values, turn), spacing


def _kind(head: bytes) -> Any:
    import nibabel as nib

    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image
    raise ValueError("it is not a NIfTI file in one piece (.nii or .nii.gz)")


def _check_header(image: Any) -> None:
    """Refuse what is no volume of real numbers at a place in space, before its voxels are read."""
    from nibabel.affines import voxel_sizes

    shape, dtype = image.shape, image.get_data_dtype()
    if dtype.names or dtype.kind == "c":
        what = "complex" if dtype.kind == "c" else "RGB"
        raise ValueError(f"its voxels are {what}; one real number per voxel is needed")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise ValueError(f"it is not a volume: its shape is {shape}")
    if math.prod(shape[3:]) != 1:
        raise ValueError(f"it holds more than one volume: its shape is {shape}; split it")
    matrix = image.affine[:3, :3]
    sizes = voxel_sizes(image.affine)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(matrix)) <= 1e-6 * sizes.prod():
        raise ValueError("its affine is singular: it does not say where the voxels are")


def _foreground(values: np.ndarray, above: float) -> np.ndarray:
    """The box of the voxels greater than `above`."""
    inside = values > above
    box = []
    for axis in range(values.ndim):
        others = tuple(a for a in range(values.ndim) if a != axis)
        hit = np.flatnonzero(inside.any(others))
        if not len(hit):
            raise ValueError(f"no voxel is above data.foreground_above={above:g}")
        box.append(slice(hit[0], hit[-1] + 1))
    return values[tuple(box)]


def _respace(values: np.ndarray, old: Sequence[float], new: Sequence[float]) -> np.ndarray:
    """Resample voxels of size `old` to as many of size `new` as fit best, about the centre."""
    ratio = [b / a for a, b in zip(old, new, strict=True)]
    ratio = [1.0 if abs(r - 1) < SAME_GRID else r for r in ratio]
    out = [round(n / r) for n, r in zip(values.shape, ratio, strict=True)]
    if min(out) < 1:
        raise ValueError(f"with data.spacing={tuple(new)} nothing is left of its {values.shape}")
    return _resample(values, [m * r for m, r in zip(out, ratio, strict=True)], out)


def _resample(values: np.ndarray, lengths: Sequence[float], out: Sequence[int]) -> np.ndarray:
    """Resample the centred box of `lengths` (in voxels) to `out` voxels, axis by axis."""
    for axis, (length, m) in enumerate(zip(lengths, out, strict=True)):
        n = values.shape[axis]
        if m == n == length:
            continue  # the same grid
        start = (n - length) / 2
        matrix = np.asarray(_resize_matrix(jnp.full(1, start), jnp.full(1, length), n, m))[0]
        values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
    return values


def _centre(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    starts = [(n - m) // 2 for n, m in zip(values.shape, shape, strict=True)]
    if min(starts) < 0:
        raise ValueError(
            f"it is {values.shape} voxels of data.spacing, smaller than data.shape={shape}"
        )
    return values[tuple(slice(s, s + m) for s, m in zip(starts, shape, strict=True))]


def _integers(values: np.ndarray, format: VolumeFormat) -> Int16[np.ndarray, "z y x"]:
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
