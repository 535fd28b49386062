"""BatchNorm against Flax's with its automatic gradient."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.cpu import norm, plain_forms
from assl_jax.models.norm import BatchNorm

SHAPES = [(6, 5, 4, 3), (4, 2, 3, 5, 2), (7, 3)]


def example(shape, dtype=np.float32):
    rng = np.random.default_rng(0)
    c = shape[-1]
    x = (3 + 2 * rng.standard_normal(shape)).astype(dtype)
    params = {"scale": rng.uniform(0.5, 2, c), "bias": rng.standard_normal(c)}
    stats = {"mean": rng.standard_normal(c), "var": rng.uniform(0.5, 2, c)}
    variables = {"params": params, "batch_stats": stats}
    return x, jax.tree.map(lambda a: a.astype(np.float32), variables)


@pytest.mark.slow
@pytest.mark.parametrize("forms", [contextlib.nullcontext, plain_forms])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_equals_flax_with_gradients(shape, forms):
    """The gradient of a nonlinear function, with the CPU's sums and with plain ones."""
    x, variables = example(shape)
    weight = np.random.default_rng(1).standard_normal(shape).astype(np.float32)

    def run(apply):
        def loss(x, params):
            y, updated = apply({**variables, "params": params}, x)
            return jnp.sum(weight * jnp.sin(y)), (y, updated["batch_stats"])

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, variables["params"])

    flax = nn.BatchNorm(use_running_average=False, momentum=0.7, epsilon=1e-5)
    want = run(lambda v, x: flax.apply(v, x, mutable=["batch_stats"]))
    with forms():
        got = run(lambda v, x: BatchNorm(0.7).apply(v, x, train=True, mutable=["batch_stats"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), got, want)


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 3])
def test_sums_by_plane_are_sums(shape):
    x, _ = example(shape)
    want = x.astype(np.float64).reshape(-1, shape[-1]).sum(0)
    np.testing.assert_allclose(norm.channel_sums(x), want, rtol=1e-6)
    with jax.enable_x64(True):  # as the plain form, or JAX refuses both
        assert norm.channel_sums(x).dtype == np.float32


def test_a_batch_is_normalised_and_its_statistics_are_kept():
    """By hand: the mean of 1, 3, 5 is 3 and their variance 8/3."""
    x = np.asarray([[1.0], [3.0], [5.0]], np.float32)
    module = BatchNorm(momentum=0.5)
    variables = module.init(jax.random.key(0), x, train=True)
    y, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    root = (8 / 3 + 1e-5) ** 0.5
    np.testing.assert_allclose(y[:, 0], [-2 / root, 0, 2 / root], atol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [1.5], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [0.5 + 4 / 3], rtol=1e-6)


def test_evaluation_uses_the_running_statistics():
    x, variables = example((4, 3))
    got = BatchNorm().apply(variables, x, train=False)
    stats, params = variables["batch_stats"], variables["params"]
    want = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_constant_channel_stays_finite():
    x, variables = example((8, 3))
    x[:, 1] = 1000.0

    def loss(x):
        y, _ = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y))

    value, gradient = jax.value_and_grad(loss)(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_bfloat16_keeps_float32_statistics():
    x, variables = example((64, 4, 3))
    half = x.astype(jnp.bfloat16)
    apply = BatchNorm(dtype=jnp.bfloat16).apply
    y, updated = apply(variables, half, train=True, mutable=["batch_stats"])
    want, _ = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(updated)} == {np.dtype("float32")}
    np.testing.assert_allclose(y.astype(np.float32), want, atol=0.05)
    gradient = jax.grad(
        lambda h: (
            BatchNorm(dtype=jnp.bfloat16)
            .apply(variables, h, train=True, mutable=["batch_stats"])[0]
            .astype(jnp.float32)[0]
            .sum()
        )
    )(half)
    assert gradient.dtype == jnp.bfloat16
