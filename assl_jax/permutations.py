"""Sets of permutations with a large Hamming distance to each other, by a greedy search."""

import functools
import itertools
import math

import numpy as np

_ALL_UP_TO = 9  # tiles; 9! = 362,880 candidates. For more tiles the candidates are a sample.
_SAMPLE = 20_000
MOST_TILES = 255  # a tile's number is one byte


@functools.lru_cache
def max_min_hamming_permutations(n: int, count: int, *, seed: int = 0) -> np.ndarray:
    """Permutations of n tiles, each chosen to be far from all permutations chosen before.

    Noroozi & Favaro 2016, the permutation set of jigsaw puzzles. The first permutation is random.
    Each new one has the largest minimum Hamming distance to the earlier ones. Ties are broken by
    the largest sum of distances, then at random.

    Args:
      n: number of tiles, 2 to 255.
      count: size of the set, 1 to n!.
      seed: of the random choices, and of the candidates for n > 9.

    Returns:
      Read-only int32 `[count, n]`, distinct rows, each a permutation of 0..n-1. A class label is a
      row. For n = 9 and count = 100 the minimum distance is 6.

    Raises:
      ValueError: n or count out of range.

    Deviations: for n > 9 the candidates are a seeded sample of at least 20,000 permutations, not
    all n!.
    """
    if not 2 <= n <= MOST_TILES:
        raise ValueError(f"n must be between 2 and {MOST_TILES} tiles, not {n}")
    if not 1 <= count <= math.factorial(n):
        raise ValueError(f"count must be between 1 and {n}! = {math.factorial(n)}, not {count}")
    rng = np.random.default_rng(seed)
    columns = _candidates(n, count, rng)  # [n, candidates]: rows are scanned contiguously
    nearest = np.full(columns.shape[1], n + 1, np.int32)
    total = np.zeros(columns.shape[1], np.int32)
    chosen = [int(rng.integers(columns.shape[1]))]
    while len(chosen) < count:
        distance = np.zeros(columns.shape[1], np.uint8)
        for row in columns:
            distance += row != row[chosen[-1]]
        np.minimum(nearest, distance, out=nearest)
        total += distance
        # A chosen candidate has distance 0; all others have a distance of at least 2.
        best = np.flatnonzero(nearest == nearest.max())
        best = best[total[best] == total[best].max()]
        chosen.append(int(rng.choice(best)))
    table = np.ascontiguousarray(columns[:, chosen].T, dtype=np.int32)
    table.flags.writeable = False
    return table


def _candidates(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[n, candidates]` uint8, one permutation per column: all n!, or a sample without repeats."""
    if n <= _ALL_UP_TO:
        every = itertools.chain.from_iterable(itertools.permutations(range(n)))
        return np.fromiter(every, np.uint8).reshape(-1, n).T.copy()
    size = max(_SAMPLE, 4 * count)
    distinct = np.empty((0, n), np.uint8)
    while len(distinct) < min(size, math.factorial(n)):
        more = rng.permuted(np.tile(np.arange(n, dtype=np.uint8), (size, 1)), axis=1)
        distinct = np.unique(np.concatenate([distinct, more]), axis=0)
    return distinct.T.copy()
