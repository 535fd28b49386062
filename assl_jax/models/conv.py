"""The one N-dimensional convolution that every backbone and decoder uses."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


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

    The form is chosen from platform and shape at trace time; all agree to rounding. On a CPU the
    window's offsets along some axes become channels: along all of them, which leaves one matrix
    product, or along all but the last two, which leaves the 2D convolution that XLA is fast at.
    """
    if jax.default_backend() != "cpu":
        return _xla(x, kernel, stride)
    return _unfolded(x, kernel, stride, unfolded_axes(x.shape, kernel.shape, stride))


def unfolded_axes(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: Sequence) -> int:
    """How many leading spatial axes' offsets become channels on a CPU: all, or all but two.

    XLA's 2D convolution is slow where an image has few output positions, above all its gradients
    and with stride, and a kernel one wide is a matrix product already. The bounds were measured on
    two x86 cores; see docs/performance.md.
    """
    rank = len(x_shape) - 2
    reaches = _reaches(x_shape, kernel_shape, stride)[-2:]
    positions = math.prod(r.out for r in reaches)
    wide = any(r.stop - r.start > 1 for r in reaches)
    fewest = 16 if all(s == 1 for s in stride[-2:]) else 64
    return max(0, rank - 2) if wide and positions >= fewest else rank


class _Reach(NamedTuple):
    """A convolution along one axis, without the offsets of its window that see padding alone."""

    start: int  # of the window's offsets
    stop: int
    pad: tuple[int, int]  # what is missing at both ends; negative: not looked at
    out: int


def _reach(n: int, k: int, s: int) -> _Reach:
    low, out = k // 2, (n + 2 * (k // 2) - k) // s + 1
    seen = [o for o in range(k) if any(0 <= i * s + o - low < n for i in range(out))]
    start, stop = seen[0], seen[-1] + 1
    needed = (out - 1) * s + stop - start
    return _Reach(start, stop, (low - start, needed - n - (low - start)), out)


def _reaches(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: Sequence) -> list[_Reach]:
    return [_reach(n, k, s) for n, k, s in zip(x_shape[1:-1], kernel_shape, stride, strict=False)]


def _xla(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    space = "DHW"[5 - x.ndim :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    padding = [(k // 2, k // 2) for k in kernel.shape[:-2]]
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout)


def _unfolded(x: Array, kernel: Array, stride: Sequence[int], axes: int) -> Array:
    """The convolution with the offsets along the first `axes` spatial axes as channels."""
    reaches = _reaches(x.shape, kernel.shape, stride)
    for axis, reach in enumerate(reaches):
        kernel = lax.slice_in_dim(kernel, reach.start, reach.stop, axis=axis)
    # The last axis first: channels end up in the kernel's order, and each step copies longer runs.
    for axis in reversed(range(axes)):
        x = _unfold(x, axis + 1, reaches[axis], stride[axis])
    rest = tuple(range(axes, kernel.ndim - 2))
    order = (*rest, *range(axes), kernel.ndim - 2, kernel.ndim - 1)
    weights = kernel.transpose(order)
    weights = weights.reshape(*weights.shape[: len(rest)], x.shape[-1], -1)
    if not rest:
        return (x.reshape(-1, x.shape[-1]) @ weights).reshape(*x.shape[:-1], -1)
    # Made once: its gradient's product reads it in another order, which is slow to compute in.
    planes = lax.optimization_barrier(x.reshape(-1, *x.shape[axes + 1 :]))
    padding = [reach.pad for reach in reaches[axes:]]
    y = lax.conv_general_dilated(
        planes, weights, stride[axes:], padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(*x.shape[: axes + 1], *y.shape[1:])


def _unfold(x: Array, axis: int, reach: _Reach, stride: int) -> Array:
    """The offsets of a window along one axis as channels: `[..., n, ..., c]` to `[..., out, ...,
    k * c]`."""
    none = (0, 0, 0)
    border = [(*reach.pad, 0) if i == axis else none for i in range(x.ndim)]
    x = lax.pad(x, jnp.zeros((), x.dtype), border)
    span = (reach.out - 1) * stride + 1
    shifted = [
        lax.slice_in_dim(x, offset, offset + span, stride, axis)
        for offset in range(reach.stop - reach.start)
    ]
    return jnp.concatenate(shifted, axis=-1)


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
