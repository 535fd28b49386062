"""Halving feature maps: which axes a step halves, and max-pooling, which does it."""

import functools
import itertools
from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from assl_jax.errors import require
from assl_jax.models.conv import per_axis


def halvings(delay: Sequence[int], rank: int) -> Iterator[tuple[int, ...]]:
    """The strides, 2 or 1 for each axis, of a network's halvings from the first on, without end.

    Args:
      delay: how many of the halvings leave each spatial axis alone; `()` delays none.
      rank: the number of spatial axes.

    Raises:
      InputError: `delay` does not have one number per spatial axis.
    """
    delays = tuple(delay) or (0,) * rank
    require(
        len(delays) == rank,
        f"backbone.delay={delays} has length {len(delays)}, the images have {rank} spatial axes; "
        "give one number for each",
    )
    return (tuple(1 if step < d else 2 for d in delays) for step in itertools.count())


def suggest_delay(space: Sequence[int]) -> tuple[int, ...]:
    """The `delay` that halves an axis once the longest is less than twice as long.

    Args:
      space: the images' length along each spatial axis, 1 or more.

    Returns:
      `floor(log2(longest / length))` for each axis: (3, 0, 0) for 30 x 270 x 230.
    """
    longest = max(space)
    return tuple(int(longest // n).bit_length() - 1 for n in space)


def max_pool(
    x: Float[Array, "b *space c"],
    window: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int] = 0,
) -> Float[Array, "b *out c"]:
    """Max-pooling that leaves an axis of length 1 alone, so that small images pass.

    Args:
      x: `[b, *space, c]`.
      window, stride, padding: one number, or one per spatial axis; `padding` is on both sides and
        never the maximum.

    Returns:
      `[b, *out, c]` with `out = (n + 2*padding - window)//stride + 1` per axis.

    On a CPU the maximum is taken along one axis after the other, since the gradient of XLA's
    pooling is slow there (docs/performance.md). The values are the same; where several inputs are
    the maximum, one of them gets the gradient in both forms, not always the same one.
    """
    rank = x.ndim - 2
    settings = (per_axis(value, rank) for value in (window, stride, padding))
    axes = [
        wsp if n > 1 else (1, 1, 0)
        for n, wsp in zip(x.shape[1:-1], zip(*settings, strict=True), strict=True)
    ]
    if jax.default_backend() == "cpu":
        return _by_axis(x, axes)
    return _xla(x, axes)


def _xla(x: Array, axes: Sequence[tuple[int, int, int]]) -> Array:
    windows, strides, paddings = zip(*axes, strict=True)
    return nn.max_pool(x, windows, strides, [(p, p) for p in paddings])


def _by_axis(x: Array, axes: Sequence[tuple[int, int, int]]) -> Array:
    # The last axis first: later ones copy longer runs.
    for axis, (window, stride, padding) in reversed(list(enumerate(axes, 1))):
        border = [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)]
        x = jnp.pad(x, border, constant_values=-jnp.inf)
        reach = (x.shape[axis] - window) // stride * stride + 1
        shifted = [lax.slice_in_dim(x, o, o + reach, stride, axis) for o in range(window)]
        # Not `jnp.maximum`, whose gradient divides ties and so keeps a float for every input.
        x = functools.reduce(lambda a, b: jnp.where(b > a, b, a), shifted)
    return x
