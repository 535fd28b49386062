"""Max-pooling along one axis after the other against the plain form, with gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.cpu import pooling
from assl_jax.models.halving import plain_max_pool

pytestmark = pytest.mark.slow

POOLS = {  # shape, then window, stride and padding of each spatial axis
    "2d 3/2/1": ((2, 7, 8, 3), [(3, 2, 1)] * 2),
    "3d 3/2/1": ((2, 5, 6, 4, 2), [(3, 2, 1)] * 3),
    "3d 2/2": ((2, 4, 5, 6, 2), [(2, 2, 0)] * 3),
    "3d by axis": ((2, 3, 7, 6, 2), [(1, 1, 0), (3, 2, 1), (2, 2, 0)]),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("case", POOLS)
def test_both_forms_of_max_pool_give_equal_values(case, dtype):
    shape, axes = POOLS[case]
    x = jnp.asarray(np.random.default_rng(0).integers(-200, 0, shape), dtype)
    got, want = pooling.max_pool(x, axes), plain_max_pool(x, axes)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want)


@pytest.fixture
def pulled(quick_jit):
    """`pulled(x, cotangent, axes, before)`: the gradient of the plain form and of the CPU form."""

    def run(x, cotangent, axes, before=lambda x: x):
        def pull(form, x, cotangent):
            return jax.vjp(lambda x: form(before(x), axes), x)[1](cotangent)[0]

        forms = plain_max_pool, pooling.max_pool
        return quick_jit(lambda x, c: [pull(form, x, c) for form in forms])(x, cotangent)

    return run


@pytest.mark.parametrize("case", POOLS)
def test_both_forms_of_max_pool_give_equal_gradients_without_ties(pulled, case):
    shape, axes = POOLS[case]
    x = np.random.default_rng(1).permutation(math.prod(shape)).reshape(shape).astype(np.float32)
    out = jax.eval_shape(lambda x: plain_max_pool(x, axes), x).shape
    cotangent = np.random.default_rng(2).integers(1, 9, out).astype(np.float32)
    plain, by_axis = pulled(x, cotangent, axes)
    np.testing.assert_array_equal(by_axis, plain)
    # A ReLU makes three quarters of the values 0. These ties get no gradient in either form.
    plain, by_axis = pulled(x - 0.75 * x.size, cotangent, axes, before=jax.nn.relu)
    assert np.count_nonzero(plain) > 0
    np.testing.assert_array_equal(by_axis, plain)


def test_one_of_several_maxima_gets_the_gradient(pulled):
    _, by_axis = pulled(
        np.ones((1, 2, 2, 1), np.float32), np.full((1, 1, 1, 1), 8.0), [(2, 2, 0)] * 2
    )
    np.testing.assert_array_equal(by_axis[0, ..., 0], [[8, 0], [0, 0]])
    line = np.asarray([5, 5, 3, 4, 5], np.float32).reshape(1, 5, 1)
    cotangent = np.asarray([2, 4, 6], np.float32).reshape(1, 3, 1)
    _, by_axis = pulled(line, cotangent, [(3, 2, 1)])  # windows 55, 534 and 45
    np.testing.assert_array_equal(by_axis[0, :, 0], [2, 4, 0, 0, 6])
    x = np.random.default_rng(3).integers(0, 2, (2, 5, 6, 7, 2)).astype(np.float32)
    cotangent = np.random.default_rng(4).integers(1, 9, (2, 3, 3, 4, 2)).astype(np.float32)
    _, by_axis = pulled(x, cotangent, [(3, 2, 1)] * 3)
    assert by_axis.sum() == cotangent.sum()
