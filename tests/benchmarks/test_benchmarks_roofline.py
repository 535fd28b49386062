"""The roofline benchmark: its count of operations against counts by hand, and its table."""

import jax
import jax.numpy as jnp
import pytest

from assl_jax.models.conv import convolve, plain_convolve
from assl_jax.training.compute import flops_of


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


# 3x3 with stride 2 on 2 images of 8x10: 4x5 positions, 27 multiply-adds for each of 5 channels.
ONE_LAYER = 2 * 2 * (4 * 5) * 5 * 27


@pytest.mark.parametrize(
    "form, seen",
    # A window of 2 at 2 positions sees 4 entries along an axis, and one of them is padding. Our
    # form leaves it out along the last two axes.
    [(convolve, 9 / 16), (plain_convolve, 1)],
)
def test_one_convolution_by_hand(form, seen):
    def layer(x, kernel):
        return form(x, kernel, (2, 2))

    assert flops_of(layer, shape(2, 8, 10, 3), shape(3, 3, 3, 5)) == ONE_LAYER
    # 3D: 2x2x2 positions, 8 multiply-adds in and 1 image.
    volume = flops_of(
        lambda x, k: form(x, k, (2, 2, 2)), shape(1, 3, 3, 3, 1), shape(2, 2, 2, 1, 7)
    )
    assert volume == 2 * 8 * 7 * 8 * seen


def test_loops_branches_and_nested_calls_count():
    def product(x):
        return x @ x

    square = shape(4, 4)
    assert flops_of(product, square) == 2 * 4**3

    def looped(x):
        return jax.lax.scan(lambda c, _: (jax.jit(jax.checkpoint(product))(c), None), x, length=5)

    assert flops_of(looped, square) == 5 * 2 * 4**3

    def branched(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: product(product(x)), product, x)

    assert flops_of(branched, square) == 2 * 2 * 4**3
    # Forward, and the gradients of two operands.
    grads = jax.value_and_grad(lambda x, y: (x @ y).sum(), argnums=(0, 1))
    assert flops_of(grads, square, square) == 3 * 2 * 4**3


def test_the_branch_of_this_platform_counts():
    def product(x):
        return x @ x

    def chosen(x, **forms):
        return jax.lax.platform_dependent(x, **forms)

    own, other = jax.default_backend(), "tpu"
    square = shape(4, 4)

    def twice(x):
        return product(product(x))

    assert flops_of(lambda x: chosen(x, **{own: product}, default=twice), square) == 2 * 4**3
    assert flops_of(lambda x: chosen(x, **{other: product}, default=twice), square) == 4 * 4**3
