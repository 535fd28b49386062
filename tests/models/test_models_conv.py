"""The convolution module and its arguments; `cpu/test_models_cpu_convolution.py` has the forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.conv import Conv, per_axis


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("value, rank", [((1, 2), 3), ((1, 2, 3), 2)])
def test_per_axis_names_the_mismatch(value, rank):
    with pytest.raises(ValueError, match=f"{len(value)} axes, the image has {rank}"):
        per_axis(value, rank)


@pytest.mark.parametrize("space", [(5, 4), (3, 4, 5)])
def test_module_in_bfloat16_keeps_float32_parameters(slow_convolution, space):
    module = Conv(6, 3, 2, use_bias=True, dtype=jnp.bfloat16)
    x = normal(0, 2, *space, 3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert shapes["kernel"].shape == (3,) * len(space) + (3, 6)
    params = {"kernel": normal(1, *shapes["kernel"].shape), "bias": normal(2, 6)}
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    y = jax.jit(module.apply)({"params": params}, x)
    assert y.dtype == jnp.bfloat16
    want = slow_convolution(x, params["kernel"], (2,) * len(space)) + params["bias"]
    np.testing.assert_allclose(y.astype(np.float32), want, atol=0.03 * np.abs(want).max())


def test_initial_kernels_keep_the_variance_of_gradients(quick_jit):
    """He et al. 2015 with fan-out: variance 2 / (window * features)."""
    variables = quick_jit(Conv(64, 3).init)(jax.random.key(0), jnp.zeros((1, 4, 4, 16)))
    kernel = np.asarray(variables["params"]["kernel"])
    assert set(variables["params"]) == {"kernel"}
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, (2 / (9 * 64)) ** 0.5], atol=2e-3)
