"""Residual networks of He et al. 2016 (basic blocks), in any number of dimensions."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from assl_jax.errors import lookup
from assl_jax.models.base import ConvNet, batch_norm, feature_maps
from assl_jax.models.conv import Conv, per_axis
from assl_jax.models.halving import Halvings, max_pool

DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

# name: kernel and stride of the first convolution, and whether a 3/2 max-pool follows.
STEMS = {
    "imagenet": (7, 2, True),
    "quarter": (3, 2, True),
    "half": (3, 2, False),
    "small": (3, 1, False),
}


class BasicBlock(nn.Module):
    """Two 3-wide convolutions and a shortcut, which is projected if the shape changes."""

    features: int
    stride: int | tuple[int, ...]
    dtype: Any
    bn_momentum: float
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def norm(name: str) -> Callable[[Array], Array]:
            return batch_norm(train, self.dtype, self.bn_momentum, name)

        stride = per_axis(self.stride, x.ndim - 2)
        y = Conv(self.features, 3, stride, dtype=self.dtype, name="conv1")(x)
        y = self.activation(norm("bn1")(y))
        y = Conv(self.features, 3, 1, dtype=self.dtype, name="conv2")(y)
        y = norm("bn2")(y)
        if x.shape != y.shape:
            x = Conv(self.features, 1, stride, dtype=self.dtype, name="shortcut_conv")(x)
            x = norm("shortcut_bn")(x)
        return self.activation(x + y)


class ResNet(ConvNet):
    """ResNet-10, -18 or -34, with 64, 128, 256 and 512 channels in its stages.

    Its halvings are the stem's stride and max-pool, if the stem has them, and the strides of stages
    2, 3 and 4. If a `delay` keeps the stem's convolution from halving an axis, the kernel along it
    is 3 wide, because 7 slices are a large part of a thin volume. With `remat` the input of each
    block is kept and its inside is recomputed.

    Attributes:
      depth: 10, 18 or 34.
      stem: "imagenet" (kernel 7, stride 2, max-pool 3/2), "quarter" (kernel 3, stride 2, max-pool
        3/2), "half" (kernel 3, stride 2) or "small" (kernel 3, stride 1).

    Raises:
      InputError: an unknown stem (the nearest name is shown).
    """

    depth: int = 18
    stem: str = "imagenet"

    def __post_init__(self) -> None:
        lookup(STEMS, self.stem, "backbone.stem")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to `stem`, `stage1` … `stage4`, `last` and `pooled`."""
        kernel, stride, pool = STEMS[self.stem]
        halve = Halvings(self.delay, x.ndim - 2)
        strides = halve(x) if stride == 2 else (1,) * (x.ndim - 2)
        kernels = tuple(3 if delay else kernel for delay in halve.delay)
        widths = [self.channels(64 * 2**i) for i in range(4)]
        x = Conv(widths[0], kernels, strides, dtype=self.dtype, name="stem_conv")(x)
        x = self.activation(self.norm(train, "stem_bn")(x))
        features = {"stem": x}
        if pool:
            strides = halve(x)
            x = max_pool(x, [2 * s - 1 for s in strides], strides, [s - 1 for s in strides])
        block_of = self.recomputed(BasicBlock, static=(2,))  # train, after the block itself and x
        for stage, (blocks, width) in enumerate(zip(DEPTHS[self.depth], widths, strict=True), 1):
            for block in range(blocks):
                x = block_of(
                    width,
                    halve(x) if stage > 1 and block == 0 else 1,
                    self.dtype,
                    self.bn_momentum,
                    self.activation,
                    name=f"stage{stage}_block{block + 1}",
                )(x, train)
            features[f"stage{stage}"] = x
        return feature_maps(features)
