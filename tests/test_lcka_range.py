"""Linear CKA at the ends of float32: large offsets, tiny and huge scales, and other dtypes."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from slow_cka import slow_cka

from assl_jax import lcka
from assl_jax.lcka import (
    eq4_similarity,
    lcka_init,
    lcka_matrix,
    lcka_result,
    lcka_update,
    linear_cka,
)

BOTH = pytest.mark.parametrize("estimator", ["biased", "unbiased"])
N = 96


def related(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 5))
    return x, x @ rng.standard_normal((5, 9)) + 2 * rng.standard_normal((N, 9))


def stream(x, y, estimator, cuts):
    state = lcka_init([x.shape[1], y.shape[1]])
    for part in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
        state = lcka._jit_update(state, part)
    return lcka_result(state, estimator=estimator)[0, 1]


CUTS = [32, 64]
gradient = jax.jit(jax.grad(linear_cka, (0, 1)), static_argnames="estimator")


def close(x, y, estimator):
    """One call, the matrix and a stream of three batches agree with the reference."""
    want = slow_cka(x, y, estimator)
    assert 0.1 < want < 0.9
    for got in (
        linear_cka(x, y, estimator=estimator),
        lcka_matrix([y, x], estimator=estimator)[1, 0],
        stream(x, y, estimator, CUTS),
    ):
        np.testing.assert_allclose(got, want, atol=1e-3)
    assert all(np.isfinite(g).all() for g in gradient(x, y, estimator=estimator))


# At 1e8 neighbouring float32 values are 8 apart: a spread of 1 would leave constant features.
@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    "offset, spread",
    [(0, 1), (1e2, 1), (1e4, 1), (1e6, 1), (1e7, 1), (1e8, 10), (1e8, 1e3), (1e-8, 1e-9)],
)
def test_offsets(estimator, offset, spread):
    x, y = related(1)
    signs = np.resize([1, -1, 0.3], 9)
    x = (spread * x + offset * signs[:5]).astype(np.float32)
    y = (spread * y + offset * signs).astype(np.float32)
    close(x, y, estimator)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("scale_y", [1, 1e-25, 1e25])
@pytest.mark.parametrize("scale_x", [1e-25, 1e-12, 1e12, 1e25])
def test_scales(estimator, scale_x, scale_y):
    x, y = related(2)
    close((scale_x * x).astype(np.float32), (scale_y * (y + 3)).astype(np.float32), estimator)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6, 1e25])
@pytest.mark.parametrize("first", [0.0, 1e-3])
def test_batches_of_other_scales(estimator, scale, first):
    """Units that are silent in the first batch decide nothing about the scale of the others."""
    x, y = related(3)
    x[:32], y[:32] = first * x[:32], first * y[:32]
    x, y = (scale * x).astype(np.float32), (scale * y).astype(np.float32)
    close(x, y, estimator)


@BOTH
def test_later_chunks_of_another_scale(estimator, monkeypatch):
    x, y = related(4)
    x[:40] = 0
    x, y = (1e22 * x).astype(np.float32), (1e-22 * y).astype(np.float32)
    monkeypatch.setattr(lcka, "_CHUNK_ROWS", 32)
    close(x, y, estimator)


def test_too_small_for_float32_counts_as_constant():
    """Below 1.2e-38 float32 loses digits, and processors take the values for 0."""
    x, y = related(5)
    got, (grad, _) = (
        linear_cka(1e-41 * x, y),
        gradient(np.float32(1e-41 * x), y, estimator="biased"),
    )
    assert got == 0 and np.isfinite(grad).all()


@BOTH
@pytest.mark.parametrize(
    "dtype, offset",
    [
        (np.float64, 1e9),
        (np.int64, 10**12),
        (np.uint64, 10**12),
        (np.int32, 2**30),
        (np.uint32, 2**31),
    ],
)
def test_wide_numbers_of_numpy_lose_nothing(estimator, dtype, offset):
    """JAX has 32 bits by default: 64-bit integers would wrap around, an offset would be rounded."""
    x, y = related(6)
    x = (np.rint(100 * x).astype(np.int64).astype(dtype)) + dtype(offset)
    np.testing.assert_allclose(
        linear_cka(x, y, estimator=estimator),
        slow_cka(x.astype(np.longdouble) - offset, y, estimator),
        atol=1e-5,
    )


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_booleans_count_as_0_and_1(as_array):
    x, y = related(7)
    want = slow_cka(x > 0, y > 0, "biased")
    np.testing.assert_allclose(linear_cka(as_array(x > 0), as_array(y > 0)), want, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, "U1", object])
@pytest.mark.parametrize(
    "call",
    [
        linear_cka,
        lambda x, y: lcka_matrix([y, x]),
        lambda x, y: lcka_update(lcka_init([2, 2]), [x, y]),
        eq4_similarity,
    ],
)
def test_other_than_real_numbers_are_refused(dtype, call, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="must be real numbers, not") as error:
        call(np.ones((6, 2), np.float32), np.ones((6, 2), dtype))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_shows(bad):
    x, y = related(8)
    x[3, 1] = bad
    assert np.isnan(linear_cka(x, y)) and np.isnan(lcka_matrix([y, x])[0, 1])
