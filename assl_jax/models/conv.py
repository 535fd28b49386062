"""The one N-dimensional convolution that every backbone and decoder uses."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from assl_jax.models import conv_cpu


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for every axis, or one each."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{value} names {len(values)} axes, the image has {rank}")
    return values


def compiler_options() -> dict[str, Any] | None:
    """What a function that trains or runs a backbone asks of XLA, for `jax.jit`.

    On a CPU two things. 2D convolutions by Eigen: XLA's default, YNNPACK, takes nearly twice as
    long. And optimisation barriers stay: XLA would drop them and then make what is behind them
    again for every use, or keep what `jax.checkpoint` says to make again (docs/performance.md).
    Elsewhere None.
    """
    if jax.default_backend() != "cpu":
        return None
    return {
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
        "xla_disable_hlo_passes": "cse_barrier_expander",
    }


def convolve(
    x: Float[Array, "b *space c"],
    kernel: Float[Array, "*window c d"],
    stride: Sequence[int],
) -> Float[Array, "b *out d"]:
    """Convolution with symmetric zero padding `k//2` on each axis, as PyTorch's layers pad.

    Args:
      x: `[b, *space, c]`; `kernel`: `[*window, c, d]`, as many window axes as `x` has spatial ones.
      stride: one number per spatial axis.

    Returns:
      `[b, *out, d]` with `out = (n + 2*(k//2) - k)//s + 1` per axis.

    On a CPU the form is chosen from the shape at trace time (`conv_cpu.py`); all agree to rounding.
    """
    if jax.default_backend() == "cpu":
        return conv_cpu.convolve(x, kernel, stride)
    return _xla(x, kernel, stride)


def _xla(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    space = "DHW"[5 - x.ndim :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    padding = [(k // 2, k // 2) for k in kernel.shape[:-2]]
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout)


class Conv(nn.Module):
    """N-d convolution without bias unless asked for; the rank is the input's.

    Attributes:
      features: output channels.
      kernel, stride: one number, or one per axis.
      use_bias: for convolutions that no normalisation follows.
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
