"""Small networks between a backbone's features and a loss.

None of them keeps running statistics, so a head's state is its parameters.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import LAST
from assl_jax.models.conv import Conv
from assl_jax.models.norm import normalise
from assl_jax.ops.resample import resize


def last_map(features: Mapping[str, Array]) -> Array:
    """The deepest feature map of a backbone's mapping."""
    return features[LAST]


class MLP(nn.Module):
    """Linear layers of these widths, with a ReLU after each but the last."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch k"]:
        for width in self.widths[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


class NormalisedMLP(nn.Module):
    """As `MLP`, with batch normalisation before each ReLU."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch k"]:
        x = x.astype(jnp.float32)
        for width in self.widths[:-1]:
            x = nn.relu(NormaliseByBatch()(nn.Dense(width, use_bias=False)(x)))
        return nn.Dense(self.widths[-1])(x)


class NormaliseByBatch(nn.Module):
    """Batch normalisation over all axes but the last, always with the batch's own statistics.

    A head runs in training mode only, so it needs no running statistics.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return normalise(x, scale, bias, jnp.float32)[0]


class NextFeature(nn.Module):
    """A GRU that reads a sequence of features and predicts the next one (paper, Eq. 2).

    Attributes:
      hidden: width of the GRU's state; 0 takes the width of the features.
    """

    hidden: int = 0

    @nn.compact
    def __call__(self, z: Float[Array, "b m d"]) -> Float[Array, "b d"]:
        cell = nn.GRUCell(self.hidden or z.shape[-1])
        states: Any = nn.RNN(cell, unroll=z.shape[1])(z)
        return nn.Dense(z.shape[-1])(states[:, -1])


class Decoder(nn.Module):
    """A feature map back to an image, by doubling its size and convolving, several times.

    A transposed convolution would leave a checkerboard pattern (Odena et al. 2016), so the decoder
    resizes and then convolves.

    Attributes:
      channels: of the image.
      width: least number of channels inside; every doubling halves the count down to it.
      coarse: how many of the last doublings only resize. The decoder of a volume is then many times
        cheaper, and its image is coarser by the same number of doublings.
    """

    channels: int
    width: int = 16
    coarse: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *small d"], space: Sequence[int]
    ) -> Float[Array, "b *space c"]:
        """Map `[b, *small, d]` to an image `[b, *space, channels]`."""
        x = x.astype(jnp.float32)
        count = x.shape[-1]
        for size in doublings(x.shape[1:-1], space)[: -self.coarse or None]:
            count = max(count // 2, self.width)
            x = Conv(count, 3)(resize(x, size))
            x = nn.relu(nn.GroupNorm(num_groups=1)(x))
        x = Conv(self.channels, 3, use_bias=True)(x)
        return x if x.shape[1:-1] == tuple(space) else resize(x, space)


LARGEST_FACTOR = 1e3  # by which a gradient is scaled up, where gradients are brought to one norm


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def balanced_copies(x: Array, weight: float) -> tuple[Array, Array]:
    """`x` twice. The gradient through the second copy gets the norm of that through the first.

    It is scaled up by `LARGEST_FACTOR` at most, and then multiplied by `weight`.
    """
    return x, x


def _balanced_forward(x: Array, weight: float) -> tuple[tuple[Array, Array], None]:
    return (x, x), None


def _balanced_backward(weight: float, _: None, gradients: tuple[Array, Array]) -> tuple[Array]:
    first, second = gradients
    norms = [jnp.linalg.norm(g.astype(jnp.float32)) for g in gradients]
    ratio = norms[0] / jnp.where(norms[1] > 0, norms[1], 1.0)
    factor = weight * jnp.minimum(ratio, LARGEST_FACTOR)
    return ((first + factor * second).astype(first.dtype),)


balanced_copies.defvjp(_balanced_forward, _balanced_backward)


def doublings(small: Sequence[int], space: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes from `small` to `space`: each step doubles every axis, up to its final length."""
    shapes = [tuple(small)]
    while shapes[-1] != tuple(space):
        shapes.append(tuple(min(2 * n, m) for n, m in zip(shapes[-1], space, strict=True)))
    return shapes[1:]


def flatten_views(x: jax.Array) -> jax.Array:
    """`[b, v, ...]` to `[b * v, ...]`."""
    return x.reshape(-1, *x.shape[2:])


def unflatten_views(x: jax.Array, batch: int) -> jax.Array:
    """`[b * v, ...]` to `[b, v, ...]`."""
    return x.reshape(batch, -1, *x.shape[1:])
