"""BatchNorm (Ioffe & Szegedy 2015) with a gradient written by hand."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from assl_jax.models.cpu import choose, materialise
from assl_jax.models.cpu.norm import channel_sums

EPSILON = 1e-5  # PyTorch's default


class BatchNorm(nn.Module):
    """BatchNorm over all axes but the last, with Flax's variables and a faster gradient.

    The statistics are float32 and cover the whole batch, also if it is split over several devices.
    The gradient needs two sums over the activations. Automatic differentiation would make four, and
    repeat the backward pass of the following layer in each of them (docs/performance.md).

    Attributes:
      momentum: the share of the running statistics that a training batch leaves.
      dtype: of the output; parameters and statistics are float32.
    """

    momentum: float = 0.9
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch c"], *, train: bool) -> Float[Array, "*batch c"]:
        """Normalise by the batch in training, otherwise by the running statistics."""
        c = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (c,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
        if not train:
            return _affine(x, mean.value, lax.rsqrt(var.value + EPSILON), scale, bias, self.dtype)
        y, batch_mean, batch_var = normalise(x, scale, bias, self.dtype)
        if not self.is_initializing():
            m = self.momentum
            mean.value = m * mean.value + (1 - m) * batch_mean
            var.value = m * var.value + (1 - m) * batch_var
        return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: Array, scale: Array, bias: Array, dtype: Any) -> tuple[Array, Array, Array]:
    """The normalised batch, its mean and its variance; mean and variance have no gradient."""
    return _forward(x, scale, bias, dtype)[0]


def _forward(x: Array, scale: Array, bias: Array, dtype: Any) -> tuple[tuple, tuple]:
    n = x.size // x.shape[-1]
    mean = _sum(x) / n
    # The mean of the squares less the square of the mean would lose digits.
    var = _sum(jnp.square(x.astype(jnp.float32) - _last(mean, x))) / n
    rate = lax.rsqrt(var + EPSILON)
    return (_affine(x, mean, rate, scale, bias, dtype), mean, var), (x, mean, rate, scale)


def _backward(dtype: Any, kept: tuple, cotangents: tuple) -> tuple[Array, Array, Array]:
    x, mean, rate, scale = kept
    dy = materialise(cotangents[0])  # the two sums and the result read it
    n = x.size // x.shape[-1]
    total = _sum(dy)
    along = _sum(dy.astype(jnp.float32) * (x.astype(jnp.float32) - _last(mean, x))) * rate
    slope = scale * rate
    # dx = slope * (dy - mean(dy) - x_hat * mean(dy * x_hat)), written as a*dy + b*x + c.
    of_x = -slope * rate * along / n
    rest = -slope * total / n - of_x * mean
    dx = _last(slope, x) * dy + _last(of_x, x) * x + _last(rest, x)
    return dx.astype(x.dtype), along, total


normalise.defvjp(_forward, _backward)


def _affine(x: Array, mean: Array, rate: Array, scale: Array, bias: Array, dtype: Any) -> Array:
    slope = scale * rate
    return (x * _last(slope, x) + _last(bias - slope * mean, x)).astype(dtype)


def _sum(x: Array) -> Array:
    """Sum over all axes but the last, in float32."""
    return choose(_plain_sum, channel_sums, x) if x.ndim >= 4 else _plain_sum(x)


def _plain_sum(x: Array) -> Array:
    return x.astype(jnp.float32).sum(tuple(range(x.ndim - 1)))


def _last(values: Array, x: Array) -> Array:
    """`[c]` in a shape that broadcasts with `x`, which is `[..., c]`."""
    return values.reshape(*(1,) * (x.ndim - 1), -1)
