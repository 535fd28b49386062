"""Sampling routes: the orders of tiles that are the classes of sampling route classification."""

import functools
import itertools
import math

import numpy as np

TILES_PER_AXIS = 3  # of the grid that a route runs through


@functools.lru_cache
def sampling_routes(rank: int, *, per_corner: int | None = None, seed: int = 0) -> np.ndarray:
    """Monotone lattice paths through a grid of 3 tiles per axis, from a corner to the opposite one.

    Sec. 2.1 and 2.3, Figure 3. A path moves one tile along one axis at a time, always away from
    its start, and has m = 2 rank + 1 tiles. In 2D, 6 paths start at each of the 4 corners (24
    routes). In 3D, 90 paths start at each of the 8 corners (720 routes); the paper draws 6 per
    corner (48 routes).

    Args:
      rank: number of axes, 2 or 3.
      per_corner: number of routes drawn from each corner without replacement, at most
        `routes_per_corner`. None means the paper's 6, which are all routes of a corner in 2D.
      seed: of the draw; it has no effect if all routes are used.

    Returns:
      Read-only int32 `[2**rank * per_corner, 2 * rank + 1, rank]`, grid coordinates in {0, 1, 2}
      along each axis. A class label is a row. Corners are in lexicographic order, and so are the
      routes of a corner.

    Raises:
      ValueError: rank other than 2 or 3, per_corner out of range.
    """
    available = routes_per_corner(rank)
    count = 6 if per_corner is None else per_corner
    if not 1 <= count <= available:
        raise ValueError(
            f"per_corner must be between 1 and {available} for rank {rank}, not {per_corner}"
        )
    # All distinct orders of the steps (two along each axis), as sequences of axes.
    last = TILES_PER_AXIS - 1
    steps = sorted(set(itertools.permutations(sorted([*range(rank)] * last))))
    moves = np.eye(rank, dtype=np.int32)[np.asarray(steps)]
    start = np.zeros((available, 1, rank), np.int32)
    paths = np.concatenate([start, np.cumsum(moves, axis=1, dtype=np.int32)], axis=1)
    rng = np.random.default_rng(seed)
    routes = []
    for corner in itertools.product((0, last), repeat=rank):
        chosen = np.sort(rng.permutation(available)[:count])
        routes.append(np.abs(np.asarray(corner, np.int32) - paths[chosen]))
    pool = np.concatenate(routes)
    pool.flags.writeable = False
    return pool


def routes_per_corner(rank: int) -> int:
    """The number of sampling routes from one corner: (2 rank)! / 2**rank, 6 in 2D and 90 in 3D.

    Args:
      rank: number of axes, 2 or 3.

    Returns:
      The count.

    Raises:
      ValueError: rank other than 2 or 3.
    """
    if rank not in (2, 3):
        raise ValueError(f"rank must be 2 or 3, not {rank}")
    steps = TILES_PER_AXIS - 1  # along each axis
    return math.factorial(steps * rank) // math.factorial(steps) ** rank
