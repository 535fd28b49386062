"""VGG with BatchNorm (Simonyan & Zisserman 2015), in any number of dimensions."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.conv import Conv
from assl_jax.models.halving import halvings, max_pool
from assl_jax.models.resnet import batch_norm, global_average

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """VGG-11, -13 or -16; global average pooling takes the place of the 4096-wide layers.

    Attributes:
      depth: 11, 13 or 16.
      width: multiplier of the channel counts 64, 128, 256, 512, 512.
      delay: how many of the four max-poolings leave each spatial axis alone, for volumes of few
        slices; `()` delays none.
      dtype: compute dtype; parameters and BatchNorm statistics stay float32.
      bn_momentum: how much of the running statistics a training batch leaves in place.
      activation: in place of every ReLU, for other gradients than its own.
      remat: keep a stage's input alone for the gradient and make what is inside it again, see
        `ResNet`.
    """

    depth: int = 16
    width: float = 1.0
    delay: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    bn_momentum: float = 0.9
    activation: Callable[[Array], Array] = nn.relu
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to feature maps `stage1` … `stage5` and `pooled` `[b, d]`."""
        features = {}
        halve = halvings(self.delay, x.ndim - 2)
        stage_of = nn.remat(_stage, static_argnums=(2, 3, 4)) if self.remat else _stage
        for stage in range(1, 6):
            x = stage_of(self, x, stage, next(halve) if stage > 1 else (), train)
            features[f"stage{stage}"] = x
        return features | {"pooled": global_average(x)}


def _stage(net: VGG, x: Array, stage: int, pool: tuple[int, ...], train: bool) -> Array:
    """Max-pooling where `pool` has strides for it, then the stage's layers.

    A function, since the names of a module's weights would begin with its own.
    """
    if pool:
        x = max_pool(x, window=pool, stride=pool)
    channels = max(1, round(WIDTHS[stage - 1] * net.width))
    for layer in range(1, DEPTHS[net.depth][stage - 1] + 1):
        name = f"stage{stage}_{{}}{layer}"
        x = Conv(channels, 3, dtype=net.dtype, name=name.format("conv"))(x)
        bn = batch_norm(train, net.dtype, net.bn_momentum, name.format("bn"))
        x = net.activation(bn(x))
    return x
