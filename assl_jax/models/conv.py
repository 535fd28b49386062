"""The one N-dimensional convolution that every backbone and decoder uses."""

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

CHUNK_BYTES = 2**24  # of patches; more than that, and a batch is worked through by example
HUGE_BYTES = 2**28  # of one example's patches; more than that, and fewer are made at a time


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for every axis, or one each."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"{value} names {len(values)} axes, the image has {rank}")
    return values


def output_shape(space: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> tuple:
    """Spatial shape after a convolution with symmetric padding `k//2`."""
    triples = zip(space, kernel, stride, strict=True)
    return tuple((n + 2 * (k // 2) - k) // s + 1 for n, k, s in triples)


def prefers_patches(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: Sequence) -> bool:
    """Whether patches and one matrix product beat XLA's convolution, forward and backward.

    XLA's convolution on a CPU is slow where an image has few output positions, in 3D, with stride,
    for few input channels (a stem) and for wide layers at high resolution; on a GPU or TPU it is
    never the slower form. The bounds were measured on two x86 cores; see docs/performance.md.
    """
    if jax.default_backend() != "cpu":
        return False
    rank, channels = len(x_shape) - 2, kernel_shape[-2]
    positions = math.prod(output_shape(x_shape[1:-1], kernel_shape[:rank], stride))
    plain = rank == 2 and all(s == 1 for s in stride) and positions > 64 and 8 < channels < 64
    return not plain


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

    The form (XLA's convolution, or patches and one matrix product) is chosen from platform and
    shape at trace time; both agree to rounding.
    """
    if prefers_patches(x.shape, kernel.shape, stride):
        return _patches_matmul(x, kernel, stride)
    return _xla(x, kernel, stride)


def _xla(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    rank = x.ndim - 2
    space = "DHW"[3 - rank :]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    padding = [(k // 2, k // 2) for k in kernel.shape[:rank]]
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout)


def _patches_matmul(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    rank = x.ndim - 2
    out = output_shape(x.shape[1:-1], kernel.shape[:rank], stride)
    patch = math.prod(kernel.shape[1:-1]) * x.dtype.itemsize
    if x.shape[0] * math.prod(out) * patch <= CHUNK_BYTES:
        return _unfold_matmul(x, kernel, stride)
    # One example at a time, its patches made again for the gradient: a buffer that stays in the
    # cache is several times faster than one that holds the patches of a batch, and volumes fit.
    one = jax.checkpoint(lambda example: _unfold_matmul(example[None], kernel, stride)[0])
    return lax.map(one, x)


def _unfold_matmul(x: Array, kernel: Array, stride: Sequence[int]) -> Array:
    """Patches over the last axes, and a sum of matrix products over the offsets of the first."""
    rank, (c, d) = x.ndim - 2, kernel.shape[-2:]
    window = kernel.shape[:rank]
    out = output_shape(x.shape[1:-1], window, stride)
    x = jnp.pad(x, [(0, 0), *((k // 2, k // 2) for k in window), (0, 0)])

    def shifted(x: Array, axis: int, offset: int) -> Array:
        n, s = out[axis], stride[axis]
        return lax.slice_in_dim(x, offset, offset + (n - 1) * s + 1, s, axis + 1)

    size = x.shape[0] * math.prod(out) * x.dtype.itemsize * c
    huge = size * math.prod(window[1:]) > HUGE_BYTES
    summed = rank - 1 if huge else 1  # axes, of which patches are not made
    # The last axis first: each step copies longer runs.
    for axis in reversed(range(summed, rank)):
        x = jnp.concatenate([shifted(x, axis, o) for o in range(window[axis])], axis=-1)

    places = list(itertools.product(*map(range, window[:summed])))
    weights = kernel.reshape(len(places), -1, d)

    def product(x: Array, weights: Array, place: Any) -> Array:
        for axis, offset in enumerate(place):
            n, s = out[axis], stride[axis]
            x = lax.dynamic_slice_in_dim(x, offset, (n - 1) * s + 1, axis + 1)
            x = lax.slice_in_dim(x, 0, None, s, axis + 1)
        return x.reshape(-1, x.shape[-1]) @ weights

    if not huge:
        each = (product(x, w, place) for w, place in zip(weights, places, strict=True))
        return functools.reduce(operator.add, each).reshape(x.shape[0], *out, d)

    # One product after the other, and rows cut out again for the gradient: one copy at a time.
    @jax.checkpoint
    def add(y: Array, term: tuple[Array, Array]) -> tuple[Array, None]:
        return y + product(x, *term), None

    zeros = jnp.zeros((x.shape[0] * math.prod(out), d), x.dtype)
    y, _ = lax.scan(add, zeros, (weights, jnp.asarray(places)))
    return y.reshape(x.shape[0], *out, d)


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
