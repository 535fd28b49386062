"""Permutation sets against a slow greedy search, and the minimum distance of the paper's set."""

import itertools

import numpy as np
import pytest

from assl_jax.permutations import max_min_hamming_permutations


@pytest.mark.parametrize("count", [2, 5, 12, 24])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_choice_is_a_greedy_maximum(count, seed):
    table = [tuple(row) for row in max_min_hamming_permutations(4, count, seed=seed)]
    for i in range(1, count):

        def score(candidate, earlier=table[:i]):
            to = [sum(a != b for a, b in zip(candidate, e, strict=True)) for e in earlier]
            return min(to), sum(to)

        best = max(map(score, itertools.permutations(range(4))))
        assert score(table[i]) == best


@pytest.mark.parametrize("n, count, least", [(9, 100, 6), (8, 100, 5), (9, 9, 9), (27, 100, 23)])
def test_minimum_distance(n, count, least):
    table = max_min_hamming_permutations(n, count)
    assert table.dtype == np.int32
    np.testing.assert_array_equal(np.sort(table, axis=1), [range(n)] * count)
    distance = (table[:, None] != table[None]).sum(-1)
    assert distance[~np.eye(count, dtype=bool)].min() >= least


@pytest.mark.parametrize("n", [5, 11])
def test_the_seed_decides_the_set(n):
    first = max_min_hamming_permutations(n, 20, seed=3)
    assert (
        max_min_hamming_permutations(n, 20) == max_min_hamming_permutations(n, 20, seed=0)
    ).all()
    max_min_hamming_permutations.cache_clear()
    np.testing.assert_array_equal(max_min_hamming_permutations(n, 20, seed=3), first)
    assert (max_min_hamming_permutations(n, 20, seed=4) != first).any()
    np.testing.assert_array_equal(max_min_hamming_permutations(n, 10, seed=3), first[:10])


def test_read_only():
    with pytest.raises(ValueError, match="read-only"):
        max_min_hamming_permutations(4, 5)[0, 0] = 1


@pytest.mark.parametrize(
    "n, count, message",
    [(3, 7, "3! = 6, not 7"), (3, 0, "between 1 and"), (1, 1, "n must be"), (300, 5, "n must be")],
)
def test_clear_errors(n, count, message):
    with pytest.raises(ValueError, match=message):
        max_min_hamming_permutations(n, count)
