"""BatchNorm (Ioffe & Szegedy 2015) with a gradient of its own."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

EPSILON = 1e-5  # as PyTorch's default


class BatchNorm(nn.Module):
    """BatchNorm over all axes but the last, with the variables of Flax's and a faster gradient.

    Statistics are computed in float32 over the whole batch, on however many devices it lies. Their
    gradient is written out: two sums over the activations, where automatic differentiation makes
    four, each of them anew from what comes behind (docs/performance.md).

    Attributes:
      momentum: how much of the running statistics a training batch leaves in place.
      dtype: of the output; parameters and statistics are float32.
    """

    momentum: float = 0.9
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch c"], *, train: bool) -> Float[Array, "*batch c"]:
        c = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (c,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
        if not train:
            return _affine(x, mean.value, lax.rsqrt(var.value + EPSILON), scale, bias, self.dtype)
        y, batch_mean, batch_var = _normalise(x, scale, bias, self.dtype)
        if not self.is_initializing():
            m = self.momentum
            mean.value = m * mean.value + (1 - m) * batch_mean
            var.value = m * var.value + (1 - m) * batch_var
        return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(x: Array, scale: Array, bias: Array, dtype: Any) -> tuple[Array, Array, Array]:
    """The normalised batch, its mean and its variance; the latter two pass no gradient on."""
    return _forward(x, scale, bias, dtype)[0]


def _forward(x: Array, scale: Array, bias: Array, dtype: Any) -> tuple[tuple, tuple]:
    n = x.size // x.shape[-1]
    mean = _sum(x) / n
    # Of differences: a difference of squares would lose digits.
    var = _sum(jnp.square(x.astype(jnp.float32) - _last(mean, x))) / n
    rate = lax.rsqrt(var + EPSILON)
    return (_affine(x, mean, rate, scale, bias, dtype), mean, var), (x, mean, rate, scale)


def _backward(dtype: Any, kept: tuple, cotangents: tuple) -> tuple[Array, Array, Array]:
    x, mean, rate, scale = kept
    # Made once, although three sums and products read it.
    dy = lax.optimization_barrier(cotangents[0])
    n = x.size // x.shape[-1]
    total = _sum(dy)
    along = _sum(dy.astype(jnp.float32) * (x.astype(jnp.float32) - _last(mean, x))) * rate
    slope = scale * rate
    # dx = slope * (dy - mean(dy) - x_hat * mean(dy * x_hat)), in one multiply-add of dy and of x
    of_x = -slope * rate * along / n
    rest = -slope * total / n - of_x * mean
    dx = _last(slope, x) * dy + _last(of_x, x) * x + _last(rest, x)
    return dx.astype(x.dtype), along, total


_normalise.defvjp(_forward, _backward)


def _affine(x: Array, mean: Array, rate: Array, scale: Array, bias: Array, dtype: Any) -> Array:
    slope = scale * rate
    return (x * _last(slope, x) + _last(bias - slope * mean, x)).astype(dtype)


def _sum(x: Array) -> Array:
    """Over all axes but the last, in float32."""
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    if jax.default_backend() != "cpu" or x.ndim < 4:
        return x.sum(axes)
    # Plane by plane as matrix products, which XLA does ten times faster than a sum along rows, and
    # more exactly: few terms are added one after the other.
    planes = x.reshape(-1, math.prod(x.shape[-3:-1]), x.shape[-1])
    return jnp.matmul(jnp.ones((len(planes), 1, planes.shape[1])), planes).sum((0, 1))


def _last(values: Array, x: Array) -> Array:
    """`[c]` for arithmetic with `[..., c]`."""
    return values.reshape(*(1,) * (x.ndim - 1), -1)
