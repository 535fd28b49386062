"""BatchNorm's sums on a CPU: plane by plane."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def channel_sums(x: Float[Array, "b *space c"]) -> Float[Array, " c"]:
    """Sum over all axes but the last, in float32.

    Each plane is summed as a matrix product with ones. XLA does that ten times faster than a sum
    along rows. It is also more exact, because every partial sum has fewer terms. There must be two
    spatial axes or more.
    """
    x = x.astype(jnp.float32)
    planes = x.reshape(-1, math.prod(x.shape[-3:-1]), x.shape[-1])
    ones = jnp.ones((len(planes), 1, planes.shape[1]), jnp.float32)
    return jnp.matmul(ones, planes).sum((0, 1))
