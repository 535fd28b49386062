"""Convolution on a CPU: three forms, and the choice between them by shape."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


class _Reach(NamedTuple):
    """A convolution along one axis, without those offsets of its window that see only padding."""

    start: int  # first offset of the window that sees the image
    stop: int  # one past the last
    pad: tuple[int, int]  # zeros needed at both ends; negative: entries that no window sees
    stride: int
    out: int  # output positions


def convolve(
    x: Float[Array, "b *space c"],
    kernel: Float[Array, "*window c d"],
    stride: Sequence[int],
    form: str | None = None,
) -> Float[Array, "b *out d"]:
    """Convolution with zero padding `k//2`; `form` is a key of `FORMS`, or that of `best_form`.

    The offsets of the window along all axes but the last two become channels. A 2D convolution of
    planes is left, which each form computes in its own way.
    """
    form = form or best_form(x.shape, kernel.shape, stride)
    reaches = _reaches(x.shape, kernel.shape, stride)
    for axis, reach in enumerate(reaches):
        kernel = lax.slice_in_dim(kernel, reach.start, reach.stop, axis=axis)
    leading = max(0, len(reaches) - 2)
    # From the last axis to the first: the channels get the kernel's order, and the copies along
    # earlier axes have longer runs.
    for axis in reversed(range(leading)):
        x = _unfold(x, axis + 1, reaches[axis])
    order = (*range(leading, len(reaches)), *range(leading), kernel.ndim - 2, kernel.ndim - 1)
    kernel = kernel.transpose(order)
    kernel = kernel.reshape(*kernel.shape[: len(reaches) - leading], x.shape[-1], -1)
    # The forms read their input several times, and the gradient reads the output's cotangent
    # several times.
    planes = lax.optimization_barrier(x.reshape(-1, *x.shape[leading + 1 :]))
    y = FORMS[form](planes, kernel, reaches[leading:])
    return y.reshape(*x.shape[: leading + 1], *y.shape[1:])


def best_form(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: Sequence[int]) -> str:
    """The fastest form for a shape, by bounds measured on two x86 cores (docs/performance.md).

    XLA's 2D convolution multiplies the zeros of the padding too. With few positions these are most
    of the work, and the gradients are slow as well. Winograd's algorithm is faster if its sums fit
    into the processor's cache, or if there are so many channels that the sums cost little.
    """
    reaches = _reaches(x_shape, kernel_shape, stride)
    planes, leading = reaches[-2:], reaches[:-2]
    matrix = all(r.stop - r.start == 1 for r in planes)
    if matrix or len(planes) < 2 or min(r.out for r in planes) < 4:
        return "offsets"
    three = all((r.start, r.stop, r.pad[0], r.stride) == (0, 3, 1, 1) for r in planes)
    channels = min(kernel_shape[-2:])
    values = x_shape[0] * x_shape[-1] * math.prod(x_shape[-3:-1])
    values *= math.prod(r.out * (r.stop - r.start) for r in leading)
    if three and (channels >= 256 or (channels >= 128 and values < 2**20)):
        return "winograd"
    return "direct"


def _reaches(x_shape: Sequence[int], kernel_shape: Sequence[int], stride: Sequence) -> list[_Reach]:
    return [_reach(n, k, s) for n, k, s in zip(x_shape[1:-1], kernel_shape, stride, strict=False)]


def _reach(n: int, k: int, s: int) -> _Reach:
    low, out = k // 2, (n + 2 * (k // 2) - k) // s + 1
    seen = [o for o in range(k) if any(0 <= i * s + o - low < n for i in range(out))]
    start, stop = seen[0], seen[-1] + 1
    needed = (out - 1) * s + stop - start
    return _Reach(start, stop, (low - start, needed - n - (low - start)), s, out)


def _unfold(x: Array, axis: int, reach: _Reach) -> Array:
    """Turn the offsets of a window along one axis into channels.

    `[..., n, ..., c]` becomes `[..., out, ..., k * c]`.
    """
    x = _pad(x, {axis: reach.pad})
    span = (reach.out - 1) * reach.stride + 1
    shifted = [
        lax.slice_in_dim(x, offset, offset + span, reach.stride, axis)
        for offset in range(reach.stop - reach.start)
    ]
    return jnp.concatenate(shifted, axis=-1)


def _direct(x: Array, kernel: Array, reaches: Sequence[_Reach]) -> Array:
    """XLA's 2D convolution."""
    stride, padding = [r.stride for r in reaches], [r.pad for r in reaches]
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout)


def _offsets(x: Array, kernel: Array, reaches: Sequence[_Reach]) -> Array:
    """A matrix product per offset of the window, over the positions where it sees the image."""
    parts = []
    offsets = list(itertools.product(*map(range, kernel.shape[:-2])))
    kernel = kernel.reshape(len(offsets), *kernel.shape[-2:])
    for offset, weights in zip(offsets, _pieces(kernel, 0), strict=True):
        seen, pads = x, {}
        for axis, (o, r) in enumerate(zip(offset, reaches, strict=True), 1):
            shift = o - r.pad[0]
            first = max(0, -(shift // r.stride))
            last = min(r.out - 1, (x.shape[axis] - 1 - shift) // r.stride)
            start, stop = first * r.stride + shift, last * r.stride + shift + 1
            seen = lax.slice_in_dim(seen, start, stop, r.stride, axis)
            pads[axis] = (first, r.out - 1 - last)
        parts.append(_pad(_product(seen, weights), pads))
    return sum(parts[1:], parts[0])


def _winograd(x: Array, kernel: Array, reaches: Sequence[_Reach]) -> Array:
    """Winograd's F(2x2, 3x3): 16 products for four outputs instead of 36.

    Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1.
    """
    rows, columns = reaches
    images = [_input_terms(row, 2) for row in _input_terms(x, 1)]
    kernels = [_kernel_terms(row, 0) for row in _kernel_terms(kernel, 0)]
    products = [
        [_product(*pair) for pair in zip(*row, strict=True)]
        for row in zip(images, kernels, strict=True)
    ]
    return _outputs([_outputs(row, 2, columns.out) for row in products], 1, rows.out)


def _input_terms(x: Array, axis: int) -> list[Array]:
    """Four sums for each pair of positions along an axis, the neighbours on both sides included."""
    n = x.shape[axis]
    pairs = -(-n // 2)
    x = _pad(x, {axis: (1, 1 + 2 * pairs - n)})
    a, b, c, d = (lax.slice_in_dim(x, o, o + 2 * pairs - 1, 2, axis) for o in range(4))
    return [a - c, b + c, c - b, b - d]


def _kernel_terms(kernel: Array, axis: int) -> list[Array]:
    a, b, c = _pieces(kernel, axis)
    return [a, (a + b + c) / 2, (a - b + c) / 2, c]


def _outputs(terms: Sequence[Array], axis: int, out: int) -> Array:
    a, b, c, d = terms
    pairs = jnp.stack([a + b + c, b - c - d], axis + 1)
    shape = list(a.shape)
    shape[axis] *= 2
    return lax.slice_in_dim(pairs.reshape(shape), 0, out, axis=axis)


def _pieces(x: Array, axis: int) -> list[Array]:
    # The gradient of a split is one concatenation; the gradient of indexing adds padded arrays.
    return [p.squeeze(axis) for p in lax.split(x, [1] * x.shape[axis], axis)]


def _product(x: Array, weights: Array) -> Array:
    return (x.reshape(-1, x.shape[-1]) @ weights).reshape(*x.shape[:-1], -1)


def _pad(x: Array, pads: dict[int, tuple[int, int]]) -> Array:
    border = [(*pads.get(axis, (0, 0)), 0) for axis in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), border)


FORMS: dict[str, Callable[[Array, Array, Sequence[_Reach]], Array]] = {
    "offsets": _offsets,
    "winograd": _winograd,
    "direct": _direct,
}
