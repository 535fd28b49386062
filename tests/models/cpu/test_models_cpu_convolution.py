"""Every form of the N-dimensional convolution against a slow one, with gradients."""

import functools

import jax
import numpy as np
import pytest

from assl_jax.models.conv import convolve, plain_convolve
from assl_jax.models.cpu import compiler_options, convolution

pytestmark = pytest.mark.slow


def on_cpu(form):
    return functools.partial(convolution.convolve, form=form)


FORMS = {"plain": plain_convolve, "offsets": on_cpu("offsets"), "direct": on_cpu("direct")}
THREE = {"winograd": on_cpu("winograd")}  # takes windows of 3 x 3 and stride 1 only
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


@pytest.mark.parametrize("case", CASES)
def test_every_form_agrees_with_the_slow_one(quick_jit, slow_convolution, case):
    space, window, stride = CASES[case]
    x, kernel = normal(0, 2, *space, 3), normal(1, *window, 3, 4)
    want = slow_convolution(x.astype(np.float64), kernel.astype(np.float64), stride)
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
        for mine, other in zip((dx, dkernel), got["plain"][1:], strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-4)
        # The output is linear in the image and in the kernel, so both gradients have its product.
        product = np.sum(want * cotangent)
        np.testing.assert_allclose([np.sum(dx * x), np.sum(dkernel * kernel)], product, rtol=1e-3)


def products(form, x, kernel, stride):
    """Shapes of the factors of each matrix product, in order."""
    jaxpr = jax.make_jaxpr(lambda x, k: form(x, k, stride))(np.zeros(x), np.zeros(kernel))
    return [[v.aval.shape for v in e.invars] for e in jaxpr.eqns if "dot" in e.primitive.name]


def test_offsets_multiply_no_zeros():
    """The window of a single pixel sees only its middle offset. In a row of three positions the
    middle one sees three offsets and each of the others two."""
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
        ((2, 32, 32, 512), (1, 1, 512, 16), (1, 1), "offsets"),  # one matrix product
        ((32, 12, 12, 128), (3, 3, 128, 128), (1, 1), "winograd"),
        ((64, 12, 12, 128), (3, 3, 128, 128), (1, 1), "direct"),  # exceeds the cache
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
    assert convolution.best_form(x, kernel, stride) == form
    chosen = jax.make_jaxpr(lambda x, k: convolution.convolve(x, k, stride))
    named = jax.make_jaxpr(lambda x, k: convolution.convolve(x, k, stride, form))
    arguments = np.zeros(x), np.zeros(kernel)
    assert str(chosen(*arguments)) == str(named(*arguments))


def test_xla_knows_the_options(slow_convolution):
    """XLA refuses an option that it does not know."""
    platform = jax.devices()[0].platform
    f = jax.jit(lambda x, k: convolve(x, k, (1, 1)), compiler_options=compiler_options(platform))
    x, kernel = normal(0, 2, 5, 5, 3), normal(1, 3, 3, 3, 4)
    np.testing.assert_allclose(f(x, kernel), slow_convolution(x, kernel, (1, 1)), atol=1e-4)
