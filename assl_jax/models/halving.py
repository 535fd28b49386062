"""How a network halves its feature maps: the strides of each step, and max-pooling."""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from assl_jax.errors import require
from assl_jax.models.conv import per_axis
from assl_jax.models.cpu import choose, pooling

FEWEST = 4  # positions along an axis; a shorter map is not halved


class Halvings:
    """The strides of a network's halvings; each call gives those of the next one.

    An axis with fewer than `FEWEST` positions is not halved again, so that 2 remain. If small tiles
    shrank to a single position, a 3-wide kernel would see only padding beside it, and most of its
    weights would never be trained.
    """

    def __init__(self, delay: Sequence[int], rank: int) -> None:
        """Before the first halving of maps with `rank` spatial axes.

        `delay` says for each, how many of the first halvings leave it unchanged; `()` means none.
        """
        self.delay = tuple(delay) or (0,) * rank
        require(
            len(self.delay) == rank,
            f"backbone.delay={self.delay} has length {len(self.delay)}, the images have {rank} "
            "spatial axes; give one number for each",
        )
        self._done = 0

    def __call__(self, x: Float[Array, "b *space c"]) -> tuple[int, ...]:
        """1 or 2 for each spatial axis of the map `x` that is halved next."""
        self._done += 1
        return tuple(
            1 if self._done <= d or n < FEWEST else 2
            for d, n in zip(self.delay, x.shape[1:-1], strict=True)
        )


def suggest_delay(space: Sequence[int]) -> tuple[int, ...]:
    """A `delay` for thin volumes: a short axis waits until the others are nearly as short.

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
    """Max-pooling. It leaves an axis of length 1 unchanged, so that small images pass.

    If several inputs of a window are the maximum, one of them gets the gradient. The plain form and
    the CPU form may choose different ones.

    Args:
      x: `[b, *space, c]`.
      window, stride: one number, or one per spatial axis.
      padding: the same, at both ends of the axis. A padded value is never the maximum.

    Returns:
      `[b, *out, c]` with `out = (n + 2*padding - window)//stride + 1` per axis.
    """
    rank = x.ndim - 2
    settings = (per_axis(value, rank) for value in (window, stride, padding))
    axes = tuple(
        wsp if n > 1 else (1, 1, 0)
        for n, wsp in zip(x.shape[1:-1], zip(*settings, strict=True), strict=True)
    )
    return choose(plain_max_pool, pooling.max_pool, x, axes=axes)


def plain_max_pool(x: Array, axes: Sequence[tuple[int, int, int]]) -> Array:
    """The plain form of `max_pool`; `axes` holds window, stride and padding of each axis."""
    windows, strides, paddings = zip(*axes, strict=True)
    return nn.max_pool(x, windows, strides, [(p, p) for p in paddings])
