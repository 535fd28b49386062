"""Tiles: how much they overlap, how large they are, and how they are cut."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Shaped

from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ranges import Range

# Overlap of two neighbouring tiles along an axis, as a share of the tile's side. It holds for the
# patches of cpc, and by default for the tiles of src, mcpc and sc_assl. At least 0, below 1.
OVERLAP = Fraction(1, 2)

SMALLEST_TILE = 4  # pixels per axis; smaller tiles vanish inside a backbone


class TileGrid(NamedTuple):
    """A crop that is covered by overlapping tiles. All sizes are in pixels, one for each axis.

    Attributes:
      tile: side of a tile.
      stride: distance from one tile to the next.
      crop: side of the crop.
    """

    tile: tuple[int, ...]
    stride: tuple[int, ...]
    crop: tuple[int, ...]


def tile_grid(
    task: str,
    space: Sequence[int],
    *,
    crop_fraction: float,
    tiles: int,
    advice: str,
    overlap: Fraction | None = None,
) -> TileGrid:
    """The largest grid of overlapping tiles inside a fraction of the image.

    Args:
      task: the task's name, for the error message.
      space: spatial shape of the image.
      crop_fraction: upper bound of crop side over image side.
      tiles: number of tiles per axis.
      advice: for the error message, see `require_tile_sides`.
      overlap: of neighbouring tiles, as a share of the tile's side; None means `OVERLAP`.

    Returns:
      The grid. A tile's side is a multiple of the denominator of the overlap, so the stride is a
      whole number of pixels.

    Raises:
      InputError: tiles below `SMALLEST_TILE`, or an overlap out of range.
    """
    share = OVERLAP if overlap is None else overlap
    Range(at_least=0, below=1).check(float(share), f"task.{task}.overlap")
    unit = share.denominator  # tile side in units: the overlap is a whole number of them
    step = unit - share.numerator  # stride in units
    whole = unit + (tiles - 1) * step  # crop side in units
    # Pixels per unit; the small summand undoes the rounding of fractions such as 5/6.
    scale = [int(crop_fraction * n / whole + 1e-6) for n in space]
    tile, stride, crop = (tuple(units * s for s in scale) for units in (unit, step, whole))
    require_tile_sides(task, space, tile, advice=advice)
    return TileGrid(tile, stride, crop)


def require_tile_sides(
    task: str, space: Sequence[int], sides: Sequence[int], *, advice: str
) -> None:
    """Raise `InputError` if a tile is smaller than `SMALLEST_TILE`.

    Args:
      task: the task's name.
      space: spatial shape of the image.
      sides: side of a tile on each axis.
      advice: what the user can change instead of using larger images.
    """
    require(
        min(sides) >= SMALLEST_TILE,
        f"task {task}: images of {_by(space)} give tiles of {_by(sides)}, at least "
        f"{SMALLEST_TILE} per axis are needed; use larger images or {advice}",
    )


def cut_tiles(
    rng: jax.Array,
    images: Shaped[Array, "b *space c"],
    cells: Int[Array, "#b v rank"],
    grid: TileGrid,
) -> Shaped[Array, "b v *tile c"]:
    """Cut tiles out of one random crop of each image.

    Args:
      images: `[b, *space, c]`.
      cells: `[b, v, rank]` the tiles' positions in the grid, counted in tiles; `[1, v, rank]` uses
        the same positions for all images.
      grid: from `tile_grid`.
    """
    corner = random_starts(rng, images.shape[0], images.shape[1:-1], grid.crop)
    return cut(images, corner + cells * np.asarray(grid.stride)[None, None], grid.tile)


def all_cells(per_axis: int, rank: int) -> Int[np.ndarray, "n rank"]:
    """All positions in a grid with `per_axis` cells on each axis; the last axis is the fastest."""
    return np.asarray(list(itertools.product(range(per_axis), repeat=rank)))


def _by(sides: Sequence[int]) -> str:
    """`(9, 40)` to "9x40"."""
    return "x".join(map(str, sides))
