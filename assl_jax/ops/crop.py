"""Crops and tiles."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Shaped

from assl_jax.ops.chance import change_some


def cut(
    images: Shaped[Array, "b *space c"],
    starts: Int[Array, "b v rank"],
    size: Sequence[int],
) -> Shaped[Array, "b v *size c"]:
    """Cut `v` boxes of one size out of every image.

    Args:
      images: `[b, *space, c]`.
      starts: `[b, v, rank]` first voxel of every box. A box must lie inside the image; XLA's
        dynamic slice moves any other box inside.
      size: spatial shape of a box.

    Returns:
      `[b, v, *size, c]`.
    """
    channels = images.shape[-1]

    def one(image: Array, start: Array) -> Array:
        return lax.dynamic_slice(image, (*start, 0), (*size, channels))

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(images, starts)


def random_starts(
    rng: jax.Array, batch: int, space: Sequence[int], size: Sequence[int]
) -> Int[Array, "b 1 rank"]:
    """Uniformly random first voxels of boxes of `size` inside images of `space`."""
    room = jnp.asarray([n - s + 1 for n, s in zip(space, size, strict=True)])
    return jax.random.randint(rng, (batch, 1, len(space)), 0, room[None, None, :])


def random_crop(
    rng: jax.Array, images: Shaped[Array, "b *space c"], size: Sequence[int]
) -> Shaped[Array, "b *size c"]:
    """Cut one box of `size` at a random position out of every image."""
    return cut(images, random_starts(rng, images.shape[0], images.shape[1:-1], size), size)[:, 0]


def random_flip(
    rng: jax.Array,
    images: Shaped[Array, "b *space c"],
    axis: int = -2,
    *,
    probability: float = 0.5,
) -> Shaped[Array, "b *space c"]:
    """Mirror a random share of the images along `axis`; the default is the last spatial axis."""
    return change_some(rng, probability, jnp.flip(images, axis), images)


def random_shift(
    rng: jax.Array, images: Shaped[Array, "b *space c"], pixels: int | Sequence[int]
) -> Shaped[Array, "b *space c"]:
    """Shift each image by up to `pixels`, of every axis or each; reflection fills the edges."""
    space = images.shape[1:-1]
    each = [pixels] * len(space) if isinstance(pixels, int) else pixels
    if not any(each):
        return images
    pad = [(0, 0), *((n, n) for n in each), (0, 0)]
    padded = jnp.pad(images, pad, mode="reflect")
    return random_crop(rng, padded, space)
