"""The one orientation to which every volume format turns its voxels."""

import numpy as np
from jaxtyping import Float, Shaped

AXES = ("S", "P", "L")  # the directions of the axes z, y, x: slices look as radiologists see them
Affine = Float[np.ndarray, "4 4"]


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

    return orientations.apply_orientation(values, _turn(affine)), in_standard(values.shape, affine)[
        1
    ]


def in_standard(
    shape: tuple[int, ...], affine: Affine
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The shape and the size of a voxel after `to_standard`, for a grid of the given shape."""
    from nibabel.affines import voxel_sizes

    order = np.argsort(_turn(affine)[:, 0])  # column 0: the new position of each of the old axes
    return tuple(shape[axis] for axis in order), tuple(voxel_sizes(affine)[order].tolist())


def _turn(affine: Affine) -> np.ndarray:
    """nibabel's description of the permutation and the flips."""
    from nibabel import orientations

    return orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(AXES)
    )
