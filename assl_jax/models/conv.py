"""The one N-dimensional convolution that every backbone and decoder uses."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from assl_jax.models.cpu import choose, convolution


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """`value` for each of `rank` axes; a sequence has one number per axis already."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{value} names {len(values)} axes, the image has {rank}")
    return values


def convolve(
    x: Float[Array, "b *space c"],
    kernel: Float[Array, "*window c d"],
    stride: Sequence[int],
) -> Float[Array, "b *out d"]:
    """Convolution with zero padding of `k//2` at both ends of each axis, like PyTorch's layers.

    Args:
      x: `[b, *space, c]`.
      kernel: `[*window, c, d]`, with one window axis for each spatial axis.
      stride: one number per spatial axis.

    Returns:
      `[b, *out, d]` with `out = (n + 2*(k//2) - k)//s + 1` per axis.
    """
    return choose(plain_convolve, convolution.convolve, x, kernel, stride=tuple(stride))


def plain_convolve(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    """The plain form of `convolve`: one operation."""
    space = "DHW"[5 - x.ndim :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    padding = [(k // 2, k // 2) for k in kernel.shape[:-2]]
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout)


class Conv(nn.Module):
    """N-dimensional convolution. Its input decides how many dimensions it has.

    Attributes:
      features: output channels.
      kernel, stride: one number, or one per spatial axis.
      use_bias: add a bias. A convolution that a normalisation follows needs none.
      dtype: compute dtype; parameters stay float32.
    """

    features: int
    kernel: int | tuple[int, ...] = 3
    stride: int | tuple[int, ...] = 1
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *out d"]:
        rank = x.ndim - 2
        shape = (*per_axis(self.kernel, rank), x.shape[-1], self.features)
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        kernel = self.param("kernel", init, shape, jnp.float32)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), per_axis(self.stride, rank))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype).reshape(*(1,) * (rank + 1), -1)
        return y
