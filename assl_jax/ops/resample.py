"""Resize, resized crop and blur, each as one matrix per axis.

These operations are linear and separable, so each is a product with a small dense matrix along
every axis. All accelerators are fast at batched matrix products and slow at gathers and depthwise
convolutions.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.ops.chance import chance


def apply_matrices(
    images: Float[Array, "b *space c"], matrices: Sequence[Float[Array, "b _ _"]]
) -> Float[Array, "b *out c"]:
    """Multiply every spatial axis of each image by the image's own matrix for that axis.

    Args:
      images: `[b, *space, c]`.
      matrices: `[b, out, n]` for each spatial axis of `n` pixels.

    Returns:
      `[b, *out, c]`.
    """
    for axis, matrix in enumerate(matrices, 1):
        moved = jnp.moveaxis(images, axis, 1)
        shape = moved.shape
        flat = jnp.einsum("bon,bnk->bok", matrix, moved.reshape(*shape[:2], -1))
        images = jnp.moveaxis(flat.reshape(shape[0], -1, *shape[2:]), 1, axis)
    return images


def resize_matrix(
    start: Float[Array, " b"], length: Float[Array, " b"], n: int, out: int
) -> Float[Array, "b out n"]:
    """The matrix that resizes the interval `[start, start + length)` of `n` pixels to `out` pixels.

    Pixel `i` covers `[i, i + 1)`. The interpolation is linear. For a smaller output the triangle
    filter is widened in proportion (antialiasing). Pixels outside the image take the value of its
    border.

    Args:
      start, length: `[b]` the interval of each image, in pixels.
      n: number of input pixels.
      out: number of output pixels.

    Returns:
      `[b, out, n]`; rows sum to 1.
    """
    scale = (length / out)[:, None, None]
    centre = start[:, None, None] + (jnp.arange(out)[None, :, None] + 0.5) * scale
    centre = jnp.clip(centre, 0.5, n - 0.5)
    distance = jnp.abs(centre - (jnp.arange(n)[None, None, :] + 0.5))
    weight = jnp.maximum(0.0, 1.0 - distance / jnp.maximum(scale, 1.0))
    return weight / weight.sum(-1, keepdims=True)


def blur_matrix(sigma: Float[Array, " b"], n: int) -> Float[Array, "b n n"]:
    """The matrix of a Gaussian blur of `n` pixels.

    Args:
      sigma: `[b]` standard deviation in pixels; values below 0.001 count as 0.001, which changes
        nothing.
      n: number of pixels.

    Returns:
      `[b, n, n]`; rows sum to 1, so a constant image stays constant up to its border.
    """
    i = jnp.arange(n)
    squared = ((i[:, None] - i[None, :]) ** 2)[None].astype(jnp.float32)
    weight = jnp.exp(-0.5 * squared / jnp.maximum(sigma, 1e-3)[:, None, None] ** 2)
    return weight / weight.sum(-1, keepdims=True)


def resize(images: Float[Array, "b *space c"], out: Sequence[int]) -> Float[Array, "b *out c"]:
    """Resize every image to the spatial shape `out`."""
    whole = jnp.ones((1,))
    matrices = [
        jnp.broadcast_to(resize_matrix(0 * whole, n * whole, n, m), (images.shape[0], m, n))
        for n, m in zip(images.shape[1:-1], out, strict=True)
    ]
    return apply_matrices(images, matrices)


def random_resized_crop(
    rng: jax.Array,
    images: Float[Array, "b *space c"],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Float[Array, "b *space c"]:
    """Cut a random box out of every image and resize it to the image's shape.

    Szegedy et al. 2015.

    Args:
      scale: range of the box's share of the area (volume), drawn uniformly.
      ratio: range of the aspect ratio of each axis to the last axis, drawn log-uniformly.

    Deviations: a side that is longer than the image is cut to the image's side. The usual
    implementation draws another box; this one has a fixed cost.
    """
    b, rank = images.shape[0], images.ndim - 2
    k_scale, k_ratio, k_start = jax.random.split(rng, 3)
    share = jax.random.uniform(k_scale, (b, 1), minval=scale[0], maxval=scale[1])
    low, high = (jnp.log(jnp.asarray(r)) for r in ratio)
    stretch = jax.random.uniform(k_ratio, (b, rank - 1), minval=low, maxval=high)
    stretch = jnp.concatenate([stretch, jnp.zeros((b, 1))], axis=-1)
    stretch = stretch - stretch.mean(-1, keepdims=True)
    length = jnp.minimum(share ** (1 / rank) * jnp.exp(stretch), 1.0)
    start = jax.random.uniform(k_start, (b, rank)) * (1 - length)
    matrices = [
        resize_matrix(start[:, i] * n, length[:, i] * n, n, n)
        for i, n in enumerate(images.shape[1:-1])
    ]
    return apply_matrices(images, matrices)


def random_blur(
    rng: jax.Array,
    images: Float[Array, "b *space c"],
    *,
    sigma: tuple[float, float] = (0.1, 2.0),
    probability: float = 0.5,
) -> Float[Array, "b *space c"]:
    """Blur a random share of the images, each with a random standard deviation in pixels."""
    b = images.shape[0]
    k_sigma, k_apply = jax.random.split(rng)
    width = jax.random.uniform(k_sigma, (b,), minval=sigma[0], maxval=sigma[1])
    width = jnp.where(chance(k_apply, probability, (b,)), width, 0.0)
    return apply_matrices(images, [blur_matrix(width, n) for n in images.shape[1:-1]])
