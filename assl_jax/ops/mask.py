"""Masks of boxes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from assl_jax.ops.chance import chance


def box_mask(
    starts: Int[Array, "b rank"],
    size: Sequence[int] | Int[Array, "b rank"],
    space: Sequence[int],
) -> Bool[Array, "b *space 1"]:
    """A mask for each image that is True inside one box.

    Args:
      starts: `[b, rank]` first voxel of each box.
      size: spatial shape of all boxes, or `[b, rank]` the shape of each box. A box with a side of 0
        is empty.
      space: spatial shape of the mask.

    Returns:
      `[b, *space, 1]` booleans.
    """
    sizes = jnp.broadcast_to(jnp.asarray(size).reshape(-1, len(space)), starts.shape)
    mask = jnp.ones((starts.shape[0], *space, 1), bool)
    for axis, n in enumerate(space):
        i = jnp.arange(n)[None, :]
        start, length = starts[:, axis, None], sizes[:, axis, None]
        inside = (i >= start) & (i < start + length)
        shape = [starts.shape[0], *(1,) * len(space), 1]
        shape[axis + 1] = n
        mask = mask & inside.reshape(shape)
    return mask


def random_boxes(
    rng: jax.Array,
    least: Int[Array, "b rank"],
    most: Int[Array, "b rank"],
    space: Sequence[int],
    *,
    count: int = 5,
    another_probability: float = 0.95,
) -> Bool[Array, "b *space 1"]:
    """A mask for each image that is True inside one or more boxes of random size and position.

    Args:
      least, most: `[b, rank]` smallest and largest side of an image's boxes, both included.
      space: spatial shape of the mask; no side of a box may be longer.
      count: largest number of boxes in an image.
      another_probability: probability of another box after each box; the first is always drawn.

    Returns:
      `[b, *space, 1]` booleans.
    """
    k_another, k_size, k_start = jax.random.split(rng, 3)
    b, rank = least.shape
    more = chance(k_another, another_probability, (count - 1, b))
    drawn = jnp.concatenate([jnp.ones((1, b), bool), more]).cumprod(axis=0)
    sizes = jax.random.randint(k_size, (count, b, rank), least[None], most[None] + 1)
    room = jnp.asarray(space)[None, None] - sizes + 1
    starts = jax.random.randint(k_start, sizes.shape, 0, room)
    sizes = sizes * drawn[..., None]
    return jax.vmap(lambda start, size: box_mask(start, size, space))(starts, sizes).any(axis=0)
