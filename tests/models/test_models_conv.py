"""Both forms of the N-d convolution against a slow one, with gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models import conv
from assl_jax.models.conv import Conv, convolve, output_shape, per_axis, prefers_patches

FORMS = {"xla": conv._xla, "patches": conv._patches_matmul}
CASES = {  # spatial shape, kernel, stride
    "2d 3/1": ((5, 6), (3, 3), (1, 1)),
    "2d 3/2 odd": ((7, 5), (3, 3), (2, 2)),
    "2d 1/2": ((5, 4), (1, 1), (2, 2)),
    "2d 7/2": ((9, 8), (7, 7), (2, 2)),
    "2d by axis": ((6, 7), (3, 5), (1, 3)),
    "2d even kernel": ((5, 6), (2, 2), (2, 2)),
    "2d one pixel": ((1, 1), (3, 3), (2, 2)),
    "3d 3/1": ((3, 4, 5), (3, 3, 3), (1, 1, 1)),
    "3d 3/2": ((5, 4, 3), (3, 3, 3), (2, 2, 2)),
    "3d by axis": ((3, 6, 5), (1, 3, 7), (1, 2, 2)),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def slow(x, kernel, stride):
    """Every output position by itself, zeros around the image."""
    window = kernel.shape[:-2]
    x = np.pad(x, [(0, 0), *((k // 2, k // 2) for k in window), (0, 0)])
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, stride, strict=True)]
    y = np.zeros((x.shape[0], *out, kernel.shape[-1]))
    for place in itertools.product(*map(range, out)):
        box = tuple(slice(p * s, p * s + k) for p, s, k in zip(place, stride, window, strict=True))
        patch = x[(slice(None), *box)].reshape(x.shape[0], -1)
        y[(slice(None), *place)] = patch @ kernel.reshape(-1, kernel.shape[-1])
    return y


@pytest.mark.parametrize("case", CASES)
def test_both_forms_agree_with_the_slow_one(quick_jit, case):
    space, window, stride = CASES[case]
    x, kernel = normal(0, 2, *space, 3), normal(1, *window, 3, 4)
    want = slow(x.astype(np.float64), kernel.astype(np.float64), stride)
    assert want.shape == (2, *output_shape(space, window, stride), 4)
    cotangent = normal(2, *want.shape)

    def everything(form, x, kernel):
        y, pull = jax.vjp(lambda x, k: form(x, k, stride), x, kernel)
        return y, *pull(cotangent)

    def every_form(x, kernel):
        return {name: everything(form, x, kernel) for name, form in FORMS.items()}

    got = quick_jit(every_form)(x, kernel)
    for y, dx, dkernel in got.values():
        np.testing.assert_allclose(y, want, atol=1e-4)
        for mine, xla in zip((dx, dkernel), got["xla"][1:], strict=True):
            np.testing.assert_allclose(mine, xla, atol=1e-4)
        # Linear in the image and in the kernel, so each gradient gives the output's product back.
        product = np.sum(want * cotangent)
        np.testing.assert_allclose([np.sum(dx * x), np.sum(dkernel * kernel)], product, rtol=1e-3)


@pytest.mark.parametrize("bound", ["CHUNK_BYTES", "HUGE_BYTES"])
def test_large_patches_are_made_a_few_at_a_time(quick_jit, monkeypatch, bound):
    """Example by example, and with patches over fewer axes: the same values and gradients."""
    x = jax.random.normal(jax.random.key(0), (3, 6, 7, 5, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 2, 4))

    def gradients(form):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(form(x, kernel, (1, 2, 1))))

        return quick_jit(jax.value_and_grad(loss, (0, 1))), loss

    want = gradients(conv._xla)[0](x, kernel)
    whole = str(jax.make_jaxpr(gradients(conv._patches_matmul)[1])(x, kernel))
    monkeypatch.setattr(conv, bound, 1)
    run, loss = gradients(conv._patches_matmul)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), run(x, kernel), want)
    assert str(jax.make_jaxpr(loss)(x, kernel)) != whole


def test_the_chosen_form_is_one_of_the_two():
    x, kernel = normal(0, 1, 12, 12, 16), normal(1, 3, 3, 16, 2)
    for stride in [(1, 1), (2, 2)]:  # XLA's form and patches, on a CPU
        y = jax.jit(convolve, static_argnums=2)(x, kernel, stride)
        np.testing.assert_allclose(y, slow(x, kernel, stride), atol=1e-4)


def test_the_form_depends_on_platform_and_shape(monkeypatch):
    wide, narrow = ((2, 32, 32, 16), (3, 3, 16, 16)), ((2, 4, 4, 16), (3, 3, 16, 16))
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert prefers_patches(*narrow, (1, 1)) and prefers_patches(*wide, (2, 2))
    assert not prefers_patches(*wide, (1, 1))
    assert prefers_patches((2, 16, 16, 16, 16), (3, 3, 3, 16, 16), (1, 1, 1))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not prefers_patches(*narrow, (1, 1))


@pytest.mark.parametrize("value, rank, want", [(2, 3, (2, 2, 2)), ((1, 2), 2, (1, 2))])
def test_per_axis(value, rank, want):
    assert per_axis(value, rank) == want


@pytest.mark.parametrize("value, rank", [((1, 2), 3), ((1, 2, 3), 2)])
def test_per_axis_names_the_mismatch(value, rank):
    with pytest.raises(ValueError, match=f"{len(value)} axes, the image has {rank}"):
        per_axis(value, rank)


@pytest.mark.parametrize("space", [(5, 4), (3, 4, 5)])
def test_module_in_bfloat16_keeps_float32_parameters(space):
    module = Conv(6, 3, 2, use_bias=True, dtype=jnp.bfloat16)
    x = normal(0, 2, *space, 3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert shapes["kernel"].shape == (3,) * len(space) + (3, 6)
    params = {"kernel": normal(1, *shapes["kernel"].shape), "bias": normal(2, 6)}
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    y = jax.jit(module.apply)({"params": params}, x)
    assert y.dtype == jnp.bfloat16
    want = slow(x, params["kernel"], (2,) * len(space)) + params["bias"]
    np.testing.assert_allclose(y.astype(np.float32), want, atol=0.03 * np.abs(want).max())


def test_initial_kernels_keep_the_variance_of_gradients(quick_jit):
    """He et al. 2015 with fan-out: variance 2 / (window * features)."""
    variables = quick_jit(Conv(64, 3).init)(jax.random.key(0), jnp.zeros((1, 4, 4, 16)))
    kernel = np.asarray(variables["params"]["kernel"])
    assert set(variables["params"]) == {"kernel"}
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, (2 / (9 * 64)) ** 0.5], atol=2e-3)
