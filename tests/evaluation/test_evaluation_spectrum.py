"""The effective rank of spectra that are known."""

import numpy as np
import pytest

from assl_jax.evaluation.spectrum import effective_rank


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def with_spectrum(values, n, d):
    """`[n, d]` features whose covariance has exactly these eigenvalues (times a constant)."""
    rng = np.random.default_rng(1)
    ones = np.ones((n, 1))
    basis = np.linalg.qr(np.hstack([ones, rng.normal(size=(n, len(values)))]))[0][:, 1:]
    return basis * np.sqrt(values) @ rotation(d)[: len(values)]


# More images than features, and fewer.
SHAPES = pytest.mark.parametrize("n, d", [(40, 12), (12, 40)])


@SHAPES
def test_equal_directions_count_one_each(n, d):
    for count in (1, 2, 5, 11):
        assert effective_rank(with_spectrum(np.ones(count), n, d)) == pytest.approx(count, rel=1e-6)


@SHAPES
def test_unequal_directions_by_hand(n, d):
    """Shares 3/4 and 1/4 of the variance: of the deviations themselves it would be more."""
    expected = (4 / 3) ** (3 / 4) * 4 ** (1 / 4)
    assert effective_rank(with_spectrum([3.0, 1.0], n, d)) == pytest.approx(expected, rel=1e-6)
    nearly_one = effective_rank(with_spectrum([1.0, 1e-6], n, d))
    assert 1 < nearly_one < 1.0001


@SHAPES
def test_neither_offset_nor_scale_nor_rotation_matters(n, d):
    x = np.random.default_rng(0).normal(size=(n, d)) * np.linspace(0.1, 2, d)
    rank = effective_rank(x)
    assert 3 < rank < 11
    for changed in (x + 1000, x * 1e-8, x * 1e8, x @ rotation(d), x[::-1], x + np.arange(d)):
        assert effective_rank(changed) == pytest.approx(rank, rel=1e-6)
    assert effective_rank(x.astype(np.float32)) == pytest.approx(rank, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_without_variation_there_is_no_direction(value):
    assert effective_rank(np.full((30, 8), value, np.float32)) == 0.0
    assert effective_rank(np.full((1, 8), value)) == 0.0
