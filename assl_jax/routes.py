"""Sampling routes: the tile orders that sampling route classification tells apart."""

import functools
import itertools
import math

import numpy as np


@functools.lru_cache
def sampling_routes(rank: int, *, per_corner: int | None = None, seed: int = 0) -> np.ndarray:
    """Monotone lattice paths through a grid of 3 tiles per axis, corner to opposite corner.

    Sec. 2.1 and 2.3, Figure 3. A path moves one tile along one axis at a time, always away from
    its start: m = 2 rank + 1 tiles. Each of the 2**rank corners starts 6 paths in 2D (24 routes)
    and 90 in 3D (720), of which the paper draws 6 per corner (48).

    Args:
      rank: number of axes, 2 or 3.
      per_corner: routes drawn from each corner without replacement, at most `routes_per_corner`;
        None is the paper's 6, which in 2D is all of them.
      seed: of the draw; without effect when nothing is left out.

    Returns:
      Read-only int32 `[2**rank * per_corner, 2 * rank + 1, rank]`, grid coordinates in {0, 1, 2}
      along each axis. A class label is an index into it; corners come in lexicographic order, and
      so do the routes of a corner.

    Raises:
      ValueError: rank other than 2 or 3, per_corner out of range.
    """
    available = routes_per_corner(rank)
    count = 6 if per_corner is None else per_corner
    if not 1 <= count <= available:
        raise ValueError(
            f"per_corner must be between 1 and {available} for rank {rank}, not {per_corner}"
        )
    # Every distinct order of two steps along each axis; sorted by axis.
    steps = sorted(set(itertools.permutations(sorted([*range(rank)] * 2))))
    moves = np.eye(rank, dtype=np.int32)[np.asarray(steps)]
    start = np.zeros((available, 1, rank), np.int32)
    paths = np.concatenate([start, np.cumsum(moves, axis=1, dtype=np.int32)], axis=1)
    rng = np.random.default_rng(seed)
    routes = []
    for corner in itertools.product((0, 2), repeat=rank):
        chosen = np.sort(rng.permutation(available)[:count])
        routes.append(np.abs(np.asarray(corner, np.int32) - paths[chosen]))
    pool = np.concatenate(routes)
    pool.flags.writeable = False
    return pool


def routes_per_corner(rank: int) -> int:
    """How many sampling routes start at one corner: (2 rank)! / 2**rank, 6 in 2D and 90 in 3D.

    Args:
      rank: number of axes, 2 or 3.

    Returns:
      The count.

    Raises:
      ValueError: rank other than 2 or 3.
    """
    if rank not in (2, 3):
        raise ValueError(f"rank must be 2 or 3, not {rank}")
    return math.factorial(2 * rank) // 2**rank
