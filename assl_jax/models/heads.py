"""Small networks between a backbone's features and a loss.

None of them keeps running statistics, so that a head's state is its parameters alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.conv import Conv
from assl_jax.ops.resample import resize


def last_map(features: Mapping[str, Array]) -> Array:
    """The feature map of a backbone's last stage."""
    return features[max(name for name in features if name.startswith("stage"))]


class MLP(nn.Module):
    """Linear layers with ReLU between them; `widths` are the outputs, the last without ReLU."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch k"]:
        for width in self.widths[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


class NextFeature(nn.Module):
    """A GRU that reads a sequence of features and predicts the next one (paper, Eq. 2).

    Attributes:
      hidden: width of the GRU's state; 0 takes the features' own.
    """

    hidden: int = 0

    @nn.compact
    def __call__(self, z: Float[Array, "b m d"]) -> Float[Array, "b d"]:
        cell = nn.GRUCell(self.hidden or z.shape[-1])
        states: Any = nn.RNN(cell, unroll=z.shape[1])(z)
        return nn.Dense(z.shape[-1])(states[:, -1])


class Decoder(nn.Module):
    """From a feature map back to an image: doubled in size and convolved, again and again.

    Resize and convolution, no transposed convolution: the latter leaves a checkerboard (Odena et
    al. 2016).

    Attributes:
      channels: of the image.
      width: least number of channels inside; every doubling halves the count down to it.
      coarse: how many of the last doublings are plain resizing, which makes the decoder of a volume
        many times cheaper and its image as much coarser.
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


def doublings(small: Sequence[int], space: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes that lead from `small` to `space`, each axis doubled until it is there."""
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
