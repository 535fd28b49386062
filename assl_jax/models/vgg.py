"""VGG with BatchNorm (Simonyan & Zisserman 2015), in any number of dimensions."""

import flax.linen as nn
from jaxtyping import Array, Float

from assl_jax.models.base import ConvNet, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.models.halving import Halvings, max_pool

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(ConvNet):
    """VGG-11, -13 or -16, with 64, 128, 256, 512 and 512 channels in its stages.

    Global average pooling replaces the 4096-wide layers. Its halvings are the max-poolings before
    stages 2 to 5. With `remat` the input of each stage is kept and its inside is recomputed.

    Attributes:
      depth: 11, 13 or 16.
    """

    depth: int = 16

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to `stage1` … `stage5`, `last` and `pooled`."""
        features = {}
        halve = Halvings(self.delay, x.ndim - 2)
        stage_of = self.recomputed(_stage, static=(2, 3, 4))
        for stage in range(1, 6):
            x = stage_of(self, x, stage, halve(x) if stage > 1 else (), train)
            features[f"stage{stage}"] = x
        return feature_maps(features)


def _stage(net: VGG, x: Array, stage: int, pool: tuple[int, ...], train: bool) -> Array:
    """Max-pooling with the strides `pool`, if there are any, then the stage's layers.

    A function, because a module would put its own name before the names of the weights.
    """
    if pool:
        x = max_pool(x, window=pool, stride=pool)
    for layer in range(1, DEPTHS[net.depth][stage - 1] + 1):
        name = f"stage{stage}_{{}}{layer}"
        channels = net.channels(WIDTHS[stage - 1])
        x = Conv(channels, 3, dtype=net.dtype, name=name.format("conv"))(x)
        x = net.activation(net.norm(train, name.format("bn"))(x))
    return x
