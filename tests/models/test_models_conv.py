"""Every form of the N-d convolution against a slow one, with gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models import conv, conv_cpu
from assl_jax.models.conv import Conv, compiler_options, convolve, per_axis


def on_cpu(form):
    return functools.partial(conv_cpu.convolve, form=form)


FORMS = {"xla": conv._xla, "offsets": on_cpu("offsets"), "direct": on_cpu("direct")}
THREE = {"winograd": on_cpu("winograd")}  # for windows of three by three, stride one
CASES = {  # spatial shape, kernel, stride
    "2d 3/1": ((5, 6), (3, 3), (1, 1)),
    "2d 3/1 small": ((2, 3), (3, 3), (1, 1)),
    "2d 3/2 odd": ((7, 5), (3, 3), (2, 2)),
    "2d 1/2": ((5, 4), (1, 1), (2, 2)),
    "2d 7/2": ((9, 8), (7, 7), (2, 2)),
    "2d by axis": ((6, 7), (3, 5), (1, 3)),
    "2d even kernel": ((5, 6), (2, 2), (2, 2)),
    "2d one pixel": ((1, 1), (3, 3), (2, 2)),
    "3d 3/1": ((3, 4, 5), (3, 3, 3), (1, 1, 1)),
    "3d 3/2": ((5, 4, 3), (3, 3, 3), (2, 2, 2)),
    "3d by axis": ((3, 6, 5), (1, 3, 7), (1, 2, 2)),
    "3d, offsets that see padding alone": ((1, 2, 5), (3, 7, 3), (1, 2, 1)),
    "3d, a slice": ((1, 6, 5), (5, 3, 3), (2, 1, 1)),
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
def test_every_form_agrees_with_the_slow_one(quick_jit, case):
    space, window, stride = CASES[case]
    x, kernel = normal(0, 2, *space, 3), normal(1, *window, 3, 4)
    want = slow(x.astype(np.float64), kernel.astype(np.float64), stride)
    cotangent = normal(2, *want.shape)

    def everything(form, x, kernel):
        y, pull = jax.vjp(lambda x, k: form(x, k, stride), x, kernel)
        return y, *pull(cotangent)

    three = window[-2:] == (3, 3) and stride[-2:] == (1, 1) and min(space[-2:]) > 1
    forms = FORMS | THREE if three else FORMS

    def every_form(x, kernel):
        return {name: everything(form, x, kernel) for name, form in forms.items()}

    got = quick_jit(every_form)(x, kernel)
    for y, dx, dkernel in got.values():
        np.testing.assert_allclose(y, want, atol=1e-4)
        for mine, xla in zip((dx, dkernel), got["xla"][1:], strict=True):
            np.testing.assert_allclose(mine, xla, atol=1e-4)
        # Linear in the image and in the kernel, so each gradient gives the output's product back.
        product = np.sum(want * cotangent)
        np.testing.assert_allclose([np.sum(dx * x), np.sum(dkernel * kernel)], product, rtol=1e-3)


def products(form, x, kernel, stride):
    """Shapes of what is multiplied, in order."""
    jaxpr = jax.make_jaxpr(lambda x, k: form(x, k, stride))(np.zeros(x), np.zeros(kernel))
    return [[v.aval.shape for v in e.invars] for e in jaxpr.eqns if "dot" in e.primitive.name]


def test_offsets_multiply_no_zeros():
    """One pixel sees the middle of a 3-wide window. Of three positions in a row the middle one sees
    all three offsets and the others two."""
    assert products(FORMS["offsets"], (2, 1, 1, 4), (3, 3, 4, 5), (1, 1)) == [[(2, 4), (4, 5)]]
    rows = [x[0] for x, _ in products(FORMS["offsets"], (2, 3, 3, 4), (3, 3, 4, 5), (1, 1))]
    assert rows == [2 * seen for seen in (4, 6, 4, 6, 9, 6, 4, 6, 4)]


def test_winograd_multiplies_16_times_for_four_outputs():
    shapes = products(THREE["winograd"], (2, 4, 6, 3), (3, 3, 3, 5), (1, 1))
    assert shapes == 16 * [[(2 * 2 * 3, 3), (3, 5)]]


@pytest.mark.parametrize(
    "x, kernel, stride, form",
    [
        ((2, 32, 32, 16), (3, 3, 16, 16), (1, 1), "direct"),
        ((2, 4, 4, 16), (3, 3, 16, 16), (1, 1), "direct"),
        ((2, 3, 3, 512), (3, 3, 512, 512), (1, 1), "offsets"),  # few positions
        ((2, 6, 6, 16), (3, 3, 16, 16), (2, 2), "offsets"),
        ((2, 32, 32, 512), (1, 1, 512, 16), (1, 1), "offsets"),  # a matrix product already
        ((32, 12, 12, 128), (3, 3, 128, 128), (1, 1), "winograd"),
        ((64, 12, 12, 128), (3, 3, 128, 128), (1, 1), "direct"),  # would leave the cache
        ((64, 12, 12, 256), (3, 3, 256, 256), (1, 1), "winograd"),
        ((2, 12, 12, 128), (3, 3, 128, 128), (2, 2), "direct"),
        ((2, 12, 12, 128), (5, 5, 128, 128), (1, 1), "direct"),
        ((2, 6, 6, 6, 128), (3, 3, 3, 128, 128), (1, 1, 1), "winograd"),
        ((2, 6, 6, 6, 128), (3, 3, 3, 128, 128), (2, 1, 1), "winograd"),
        ((16, 12, 12, 12, 128), (3, 3, 3, 128, 128), (1, 1, 1), "direct"),
        ((2, 16, 2, 2, 256), (3, 3, 3, 256, 256), (1, 1, 1), "offsets"),
    ],
)
def test_the_form_on_a_cpu_depends_on_the_shape(x, kernel, stride, form):
    assert conv_cpu.best_form(x, kernel, stride) == form
    chosen = jax.make_jaxpr(lambda x, k: convolve(x, k, stride))(np.zeros(x), np.zeros(kernel))
    named = jax.make_jaxpr(lambda x, k: conv_cpu.convolve(x, k, stride, form))
    assert str(chosen) == str(named(np.zeros(x), np.zeros(kernel)))


def test_other_platforms_keep_their_own_convolution(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jaxpr = jax.make_jaxpr(lambda x, k: convolve(x, k, (1, 1, 1)))(
        np.zeros((2, 5, 5, 5, 3)), np.zeros((3, 3, 3, 3, 4))
    )
    assert [e.primitive.name for e in jaxpr.eqns] == ["conv_general_dilated"]
    assert compiler_options() is None


def test_xla_knows_the_options():
    """An option that a version of XLA does not have is an error there."""
    f = jax.jit(lambda x, k: convolve(x, k, (1, 1)), compiler_options=compiler_options())
    x, kernel = normal(0, 2, 5, 5, 3), normal(1, 3, 3, 3, 4)
    np.testing.assert_allclose(f(x, kernel), slow(x, kernel, (1, 1)), atol=1e-4)


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
