"""Gradients of several tasks: their norms, and one step along all of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from assl_jax.models.cpu import materialise
from assl_jax.models.heads import LARGEST_FACTOR


def global_norm(gradients: Any) -> jax.Array:
    """Square root of the sum of all squares.

    The squares of a kernel are first summed over its window. On a CPU a sum of matrices is several
    times as fast as a sum of numbers. The barrier keeps XLA from joining the two sums.
    """

    def squares(g: jax.Array) -> jax.Array:
        over_window = jnp.square(g).sum(tuple(range(g.ndim - 2)))
        return materialise(over_window).sum()

    return jnp.sqrt(sum(map(squares, jax.tree.leaves(gradients)), jnp.zeros(())))


def balanced_mean(gradients: Sequence[Any]) -> Any:
    """The mean of gradients that are first brought to one norm, the mean of theirs.

    The gradients of two tasks can differ by a factor of 300. One of zeros stays so, and none is
    scaled up by more than `LARGEST_FACTOR`. A single gradient stays as it is.

    Args:
      gradients: trees of equal structure.
    """
    if len(gradients) == 1:
        return gradients[0]
    norms = jnp.stack([global_norm(g) for g in gradients])
    factors = jnp.minimum(norms.mean() / jnp.where(norms > 0, norms, 1.0), LARGEST_FACTOR)
    scales = [1 / len(gradients) * factors[k] for k in range(len(gradients))]
    return jax.tree.map(lambda *gs: sum(s * g for s, g in zip(scales, gs, strict=True)), *gradients)
