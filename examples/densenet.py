"""A backbone of your own: a small DenseNet (Huang et al. 2017), for images and volumes.

    assl-jax run pretrain --config.backbone.name=densenet:DenseNet

(in this folder). The layers of a stage each see the maps of all layers before them.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import batch_norm, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.models.halving import Halvings, max_pool


class DenseNet(nn.Module):
    """Dense stages, with max-pooling before each but the first.

    Attributes:
      layers: how many layers each stage has.
      width: multiplier of the 64 channels of the first layer and of the 32 that each layer adds.
      delay: for each spatial axis, how many of the halvings leave it unchanged.
      dtype: compute dtype; parameters and BatchNorm statistics stay float32.
      bn_momentum: the share of the running statistics that a training batch leaves.
      activation: the function in place of every ReLU.
    """

    layers: tuple[int, ...] = (2, 2, 2)
    width: float = 1.0
    delay: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    bn_momentum: float = 0.9
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to `stem`, `stage1`, `stage2`, ..., `last` and `pooled`."""

        def norm(name: str) -> Callable[[Array], Array]:
            return batch_norm(train, self.dtype, self.bn_momentum, name)

        def channels(full: int) -> int:
            return max(1, round(full * self.width))

        halve = Halvings(self.delay, x.ndim - 2)
        x = Conv(channels(64), 3, halve(x), dtype=self.dtype, name="stem_conv")(x)
        x = self.activation(norm("stem_bn")(x))
        stages = {"stem": x}
        for stage, layers in enumerate(self.layers, 1):
            if stage > 1:
                stride = halve(x)
                x = max_pool(x, window=stride, stride=stride)
            for layer in range(1, layers + 1):
                name = f"stage{stage}_{{}}{layer}"
                y = Conv(channels(32), 3, dtype=self.dtype, name=name.format("conv"))(x)
                y = self.activation(norm(name.format("bn"))(y))
                x = jnp.concatenate([x, y], axis=-1)
            stages[f"stage{stage}"] = x
        return feature_maps(stages)
