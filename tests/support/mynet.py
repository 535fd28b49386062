"""Backbones that break the contract of `models.base.Backbone`, one rule each."""

import flax.linen as nn
import jax.numpy as jnp

from assl_jax.models.base import feature_maps


class Sized(nn.Module):
    """A parameter of the size of the images."""

    width: float = 1.0

    @nn.compact
    def __call__(self, x, *, train=False):
        at = self.param("at", nn.initializers.zeros, (1, *x.shape[1:]))
        return feature_maps({"stage1": x + at})


class Counting(nn.Module):
    """Variables that nobody stores."""

    width: float = 1.0

    @nn.compact
    def __call__(self, x, *, train=False):
        self.variable("counters", "calls", jnp.zeros, ())
        return feature_maps({"stage1": nn.Dense(4)(x)})


class Flat(nn.Module):
    """A map without spatial axes."""

    width: float = 1.0

    @nn.compact
    def __call__(self, x, *, train=False):
        z = nn.Dense(4)(x.mean(tuple(range(1, x.ndim - 1))))
        return {"last": z, "pooled": z}


class Alone(nn.Module):
    """An array in place of a mapping."""

    width: float = 1.0

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Dense(4)(x)
