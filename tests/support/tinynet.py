"""A backbone of two convolutions: programs that tests run from start to end compile it fast."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from assl_jax.models.base import batch_norm, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.models.halving import Halvings


class TinyNet(nn.Module):
    """See `models.base.Backbone` for the attributes. `width` multiplies 8 channels, then 16."""

    width: float = 1.0
    delay: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    bn_momentum: float = 0.9
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x, *, train=False):
        halve = Halvings(self.delay, x.ndim - 2)
        stages = {}
        for stage in (1, 2):
            channels = round(8 * stage * self.width)
            x = Conv(channels, 3, halve(x), dtype=self.dtype, name=f"stage{stage}_conv")(x)
            norm = batch_norm(train, self.dtype, self.bn_momentum, f"stage{stage}_bn")
            stages[f"stage{stage}"] = x = self.activation(norm(x))
        return feature_maps(stages)


class OtherNet(TinyNet):
    """Another one of the same kind."""
