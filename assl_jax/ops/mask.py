"""Masks of boxes."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def box_mask(
    starts: Int[Array, "b rank"], size: Sequence[int], space: Sequence[int]
) -> Bool[Array, "b *space 1"]:
    """True inside the box that begins at `starts` and has the shape `size`."""
    mask = jnp.ones((starts.shape[0], *space, 1), bool)
    for axis, (length, n) in enumerate(zip(size, space, strict=True)):
        i = jnp.arange(n)[None, :]
        start = starts[:, axis, None]
        inside = (i >= start) & (i < start + length)
        shape = [starts.shape[0], *(1,) * len(space), 1]
        shape[axis + 1] = n
        mask = mask & inside.reshape(shape)
    return mask
