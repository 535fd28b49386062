"""Max-pooling on a CPU: along one axis after the other."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "b *space c"], axes: Sequence[tuple[int, int, int]]
) -> Float[Array, "b *out c"]:
    """Max-pooling, because the gradient of XLA's own is slow on a CPU (docs/performance.md).

    `axes` holds window, stride and padding of each spatial axis.
    """
    # From the last axis to the first: the copies along earlier axes have longer runs.
    for axis, (window, stride, padding) in reversed(list(enumerate(axes, 1))):
        border = [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)]
        x = jnp.pad(x, border, constant_values=-jnp.inf)
        reach = (x.shape[axis] - window) // stride * stride + 1
        shifted = [lax.slice_in_dim(x, o, o + reach, stride, axis) for o in range(window)]
        # `jnp.maximum` would split the gradient between ties and keep a float for every input.
        x = functools.reduce(lambda a, b: jnp.where(b > a, b, a), shifted)
    return x
