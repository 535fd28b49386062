"""The one orientation to which every volume format turns its voxels."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

AXES = ("S", "P", "L")  # the directions of the axes z, y, x: slices look as radiologists see them
UNTURNED = "".join(reversed(AXES))  # the code of a file whose voxels are in this order already
Affine = Float[np.ndarray, "4 4"]


class Grid(NamedTuple):
    """Where the voxels of a volume are.

    Attributes:
      shape: `[z, y, x]` in the standard orientation.
      spacing: the size of a voxel along these axes, in the affine's unit.
      code: the orientation before, in nibabel's letters: the direction of each axis, that of
        neighbours in the file first. `LPS`: to the patient's left, to the back, up.
      unused: name of each file beside those of the volume that is none of them, and what it is.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    code: str
    unused: tuple[tuple[str, str], ...] = ()


def to_standard(
    values: Shaped[np.ndarray, "a b c"], affine: Affine
) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
    """Permute and flip the axes of a volume; no voxel is interpolated.

    Args:
      values: voxels on a grid of any orientation.
      affine: from voxel indices to mm, or to another unit of length. Its axes are nibabel's: to
        the patient's right, to the front, up (RAS+).

    Returns:
      The voxels, and the size of a voxel in the affine's unit. Axis 0 runs from inferior to
      superior, axis 1 from anterior to posterior, axis 2 from the patient's right to the left. An
      oblique grid keeps its voxels; each of its axes takes the nearest direction.
    """
    from nibabel import orientations

    turned = orientations.apply_orientation(values, _turn(affine))
    return turned, in_standard(values.shape, affine).spacing


def in_standard(shape: tuple[int, ...], affine: Affine) -> Grid:
    """The grid after `to_standard`, for one of the given shape, whose first axis is the fastest."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import aff2axcodes

    order = np.argsort(_turn(affine)[:, 0])  # column 0: the new position of each of the old axes
    return Grid(
        shape=tuple(shape[axis] for axis in order),
        spacing=tuple(voxel_sizes(affine)[order].tolist()),
        code="".join(aff2axcodes(affine)),
    )


def check_grid(shape: tuple[int, ...], affine: Affine) -> None:
    """Refuse what is not one volume in space, before its voxels are read.

    Args:
      shape: of all axes of the file; further axes than three may have one place each.
      affine: as in `to_standard`.

    Raises:
      ValueError: a file of fewer axes, or of several volumes; an affine that cannot be inverted.
    """
    from nibabel.affines import voxel_sizes

    if len(shape) < 3 or min(shape[:3]) < 2:
        flat = min(shape, default=0) > 0 and sum(n > 1 for n in shape) == 2
        way = "; save it as PNG or TIFF, which configs/mtassl_folder.py reads" if flat else ""
        raise ValueError(f"it is not a volume: its shape is {shape}{way}")
    if math.prod(shape[3:]) != 1:
        raise ValueError(f"it holds more than one volume: its shape is {shape}; split it")
    with np.errstate(all="ignore"):  # numbers without a limit; NaN is not above anything
        apart = abs(np.linalg.det(affine[:3, :3])) > 1e-6 * voxel_sizes(affine).prod()
    if not np.isfinite(affine).all() or not apart:
        raise ValueError("its affine is singular: it does not say where the voxels are")


def differences(codes: Iterable[str]) -> list[str]:
    """A note if volumes had different orientations.

    Args:
      codes: of each volume, see `Grid`; "" where it is unknown.
    """
    counts = Counter(filter(None, codes))
    if len(counts) < 2:
        return []
    every = counts.total()
    found = ", ".join(f"{code} {n}" for code, n in counts.most_common())
    return [f"{every - counts[UNTURNED]} of {every} volumes were turned: {found}"]


def _turn(affine: Affine) -> np.ndarray:
    """nibabel's description of the permutation and the flips."""
    from nibabel import orientations

    return orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(AXES)
    )
