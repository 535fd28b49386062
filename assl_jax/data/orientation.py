"""Volumes as their headers describe them, and the one orientation to which they are turned."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from assl_jax.data.memory import afford, check_claim

AXES = ("S", "P", "L")  # the directions of the axes z, y, x: slices look as radiologists see them
UNTURNED = "".join(reversed(AXES))  # the code of a file whose voxels are in this order already
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the directions of ITK and DICOM to nibabel's
Affine = Float[np.ndarray, "4 4"]


class Grid(NamedTuple):
    """Where the voxels of a volume are.

    The code is the orientation before, in nibabel's letters: the direction of each axis, that of
    neighbours in the file first. `LPS`: to the patient's left, to the back, up.
    """

    shape: tuple[int, ...]  # `[z, y, x]` in the standard orientation
    spacing: tuple[float, ...]  # mm of a voxel along these axes
    code: str
    unused: tuple[tuple[str, str], ...] = ()  # name and kind of other files beside the volume's


class Stored(NamedTuple):
    """A volume as its header describes it; no voxel is read yet.

    Attributes:
      shape: numbers of voxels; neighbours along the first axis follow each other in the file.
      affine: from voxel indices to mm, or to another unit of length. Its axes are nibabel's: to the
        patient's right, to the front, up (RAS+).
      values: reads the voxels, `[*shape]`; it raises any exception if they are damaged.
      unit: mm of the affine's unit.
      unused: see `Grid`.
    """

    shape: tuple[int, ...]
    affine: Affine
    values: Callable[[], np.ndarray]
    unit: float = 1.0
    unused: tuple[tuple[str, str], ...] = ()

    def grid(self) -> Grid:
        """The grid of what `standard` gives."""
        from nibabel.affines import voxel_sizes
        from nibabel.orientations import aff2axcodes

        order = np.argsort(self._turn()[:, 0])  # column 0: the new position of each of the old axes
        return Grid(
            shape=tuple(self.shape[axis] for axis in order),
            spacing=tuple(s * self.unit for s in voxel_sizes(self.affine)[order].tolist()),
            code="".join(aff2axcodes(self.affine)),
            unused=self.unused,
        )

    def standard(self) -> tuple[Shaped[np.ndarray, "z y x"], tuple[float, ...]]:
        """Read the voxels, and permute and flip their axes; no voxel is interpolated.

        Returns:
          The voxels, and mm of a voxel. Axis 0 runs from inferior to superior, axis 1 from anterior
          to posterior, axis 2 from the patient's right to the left. An oblique grid keeps its
          voxels; each of its axes takes the nearest direction.
        """
        from nibabel.orientations import apply_orientation

        return apply_orientation(self.values(), self._turn()), self.grid().spacing

    def _turn(self) -> np.ndarray:
        """nibabel's description of the permutation and the flips."""
        from nibabel import orientations

        own, new = orientations.io_orientation(self.affine), orientations.axcodes2ornt(AXES)
        return orientations.ornt_transform(own, new)


def checked(
    shape: tuple[int, ...], affine: Affine, dtype: np.dtype, file: Path, *, packed: bool, start: int
) -> tuple[int, ...]:
    """Refuse what is not one volume in space, or not in its file, before its voxels are read.

    Args:
      shape: of all axes of the file; further axes than three may have one place each.
      affine: as in `Stored`.
      dtype: of a stored number.
      file: holds the voxels.
      packed: whether they are compressed.
      start: the byte where they begin.

    Returns:
      The shape of the three axes of space.

    Raises:
      ValueError: a file of fewer axes, or of several volumes; an affine that cannot be inverted; a
        file that is too small, or voxels for which the memory is.
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
    voxels = math.prod(shape)
    claimed = voxels * dtype.itemsize
    check_claim(claimed, file.stat().st_size - start, packed=packed)
    afford(claimed + 8 * voxels, "it", "resample it to larger voxels")
    return shape[:3]


def differences(codes: Iterable[str]) -> list[str]:
    """A note if volumes had different orientations: codes of `Grid`, "" where one is unknown."""
    counts = Counter(filter(None, codes))
    if len(counts) < 2:
        return []
    every = counts.total()
    found = ", ".join(f"{code} {n}" for code, n in counts.most_common())
    return [f"{every - counts[UNTURNED]} of {every} volumes were turned: {found}"]
