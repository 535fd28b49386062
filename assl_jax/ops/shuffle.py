"""Shuffle voxels inside small windows."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Shaped, UInt32

from assl_jax.ops.chance import change_some
from assl_jax.ops.crop import cut, random_starts


def shuffle_windows(
    images: Shaped[Array, "b *space c"],
    keys: UInt32[Array, "b *box"],
    starts: Int[Array, "b rank"],
    window: Sequence[int],
) -> Shaped[Array, "b *space c"]:
    """Sort the voxels of every window by their keys.

    Args:
      images: `[b, *space, c]`; the channels of a voxel move together.
      keys: `[b, *box]` random bits, one key for each voxel of the box that is shuffled. On each
        axis `box` is a multiple of `window`, so the box is a grid of windows.
      starts: `[b, rank]` first voxel of each image's box, which must lie inside the image.
      window: spatial shape of a window.

    Returns:
      `[b, *space, c]`. Voxels outside the box stay the same.

    The lowest `log2(n)` bits of a key are replaced by the voxel's index in its window of `n`
    voxels. One array is then sorted instead of two, which is several times faster. Voxels whose
    remaining bits are equal keep their order; for n = 1000 this is one voxel in 4000.
    """
    box = keys.shape[1:]
    voxels = _split(cut(images, starts[:, None], box)[:, 0], window)
    bits = (voxels.shape[-2] - 1).bit_length()
    index = jnp.arange(voxels.shape[-2], dtype=jnp.uint32)[None, None, :, None]
    high = (_split(keys[..., None], window) >> bits) << bits
    order = (lax.sort(high | index, dimension=-2) & (2**bits - 1)).astype(jnp.int32)
    shuffled = _join(jnp.take_along_axis(voxels, order, axis=-2), box, window)

    def put(image: Array, box_of_image: Array, start: Array) -> Array:
        return lax.dynamic_update_slice(image, box_of_image, (*start, 0))

    return jax.vmap(put)(images, shuffled, starts)


def random_shuffle(
    rng: jax.Array,
    images: Shaped[Array, "b *space c"],
    *,
    fraction: float = 1 / 20,
    probability: float = 0.5,
) -> Shaped[Array, "b *space c"]:
    """Shuffle the voxels of a random share of the images inside small windows.

    Zhou et al. 2019, Sec. 2.2.

    Args:
      fraction: side of a window over image side, on each axis; a side is at least 2 voxels.
      probability: share of shuffled images.

    Deviations: the paper uses 10,000 overlapping windows with sides up to 1/10 of the image side.
    Here each image has one grid of equal windows at a random position. The grid's size is fixed:
    as many whole windows as fit at every position. A margin narrower than two windows is not
    shuffled.
    """
    b, space = images.shape[0], images.shape[1:-1]
    window = [min(n, max(2, round(fraction * n))) for n in space]
    box = [max(1, (n - w + 1) // w) * w for n, w in zip(space, window, strict=True)]
    k_apply, k_keys, k_starts = jax.random.split(rng, 3)
    keys = jax.random.bits(k_keys, (b, *box), jnp.uint32)
    starts = random_starts(k_starts, b, space, box)[:, 0]
    shuffled = shuffle_windows(images, keys, starts, window)
    return change_some(k_apply, probability, shuffled, images)


def _split(x: Shaped[Array, "b *box c"], window: Sequence[int]) -> Shaped[Array, "b k n c"]:
    """List the voxels of each window: `[b, windows, voxels, c]`."""
    counts = [n // w for n, w in zip(x.shape[1:-1], window, strict=True)]
    sides = [side for pair in zip(counts, window, strict=True) for side in pair]
    x = x.reshape(x.shape[0], *sides, x.shape[-1]).transpose(_by_window(len(window)))
    return x.reshape(x.shape[0], math.prod(counts), math.prod(window), x.shape[-1])


def _join(
    x: Shaped[Array, "b k n c"], box: Sequence[int], window: Sequence[int]
) -> Shaped[Array, "b *box c"]:
    """The inverse of `_split`."""
    counts = [n // w for n, w in zip(box, window, strict=True)]
    x = x.reshape(x.shape[0], *counts, *window, x.shape[-1])
    return x.transpose(np.argsort(_by_window(len(window)))).reshape(x.shape[0], *box, x.shape[-1])


def _by_window(rank: int) -> list[int]:
    """The permutation of axes from `[b, k1, w1, k2, w2, ..., c]` to `[b, k1, ..., w1, ..., c]`."""
    return [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
