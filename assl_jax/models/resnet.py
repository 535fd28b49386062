"""Residual networks of He et al. 2016, in any number of dimensions."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.errors import lookup
from assl_jax.models.base import ConvNet, batch_norm, feature_maps
from assl_jax.models.conv import Conv, per_axis
from assl_jax.models.halving import Halvings, max_pool

# The convolutions of a block: the kernel of each, and its channels as a multiple of the stage's.
Layers = tuple[tuple[int, int], ...]
BASIC = ((3, 1), (3, 1))
BOTTLENECK = ((1, 1), (3, 1), (1, 4))

# depth: the block, and how many of them each stage has.
DEPTHS = {
    10: (BASIC, (1, 1, 1, 1)),
    18: (BASIC, (2, 2, 2, 2)),
    34: (BASIC, (3, 4, 6, 3)),
    50: (BOTTLENECK, (3, 4, 6, 3)),
}

# name: kernel and stride of the first convolution, and whether a 3/2 max-pool follows.
STEMS = {
    "imagenet": (7, 2, True),
    "quarter": (3, 2, True),
    "half": (3, 2, False),
    "small": (3, 1, False),
}


def halving_layer(layers: Layers) -> int:
    """Which convolution of a block has the stride: the first 3-wide one, as in PyTorch."""
    return [kernel for kernel, _ in layers].index(3)


class Block(nn.Module):
    """Convolutions and a shortcut, which changes where the shape does.

    Attributes:
      layers: `BASIC` or `BOTTLENECK`.
      features: channels of the stage.
      stride: of the block, see `halving_layer`.
      shortcut: see `ResNet`.
    """

    layers: Layers
    features: int
    stride: int | tuple[int, ...]
    shortcut: str
    dtype: Any
    bn_momentum: float
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def norm(name: str) -> Callable[[Array], Array]:
            return batch_norm(train, self.dtype, self.bn_momentum, name)

        stride = per_axis(self.stride, x.ndim - 2)
        y = x
        for i, (kernel, multiple) in enumerate(self.layers):
            y = self.activation(y) if i else y
            step = stride if i == halving_layer(self.layers) else 1
            channels = self.features * multiple
            y = Conv(channels, kernel, step, dtype=self.dtype, name=f"conv{i + 1}")(y)
            y = norm(f"bn{i + 1}")(y)
        if x.shape != y.shape and self.shortcut == "A":
            x = _thinned(x, stride, y.shape[-1])
        elif x.shape != y.shape:
            x = Conv(y.shape[-1], 1, stride, dtype=self.dtype, name="shortcut_conv")(x)
            x = norm("shortcut_bn")(x)
        return self.activation(x + y)


def _thinned(x: Array, stride: tuple[int, ...], channels: int) -> Array:
    """Every `stride`-th position, with zeros as further channels."""
    positions = tuple(slice(None, None, s) for s in stride)
    return jnp.pad(x[:, *positions], [*[(0, 0)] * (x.ndim - 1), (0, channels - x.shape[-1])])


class ResNet(ConvNet):
    """ResNet-10 to -50, with 64, 128, 256 and 512 channels in its stages; bottlenecks give 4 times.

    Its halvings are the stem's stride and max-pool, if the stem has them, and the strides of stages
    2, 3 and 4. If a `delay` keeps the stem's convolution from halving an axis, the kernel along it
    is 3 wide, because 7 slices are a large part of a thin volume. With `remat` the input of each
    block is kept and its inside is recomputed.

    Attributes:
      depth: a key of `DEPTHS`.
      stem: "imagenet" (kernel 7, stride 2, max-pool 3/2), "quarter" (kernel 3, stride 2, max-pool
        3/2), "half" (kernel 3, stride 2) or "small" (kernel 3, stride 1).
      shortcut: where the shape changes, "A" leaves out positions and adds channels of zeros (as in
        MedicalNet's ResNet-18 and -34), and "B" is a 1-wide convolution.

    Raises:
      InputError: an unknown stem (the nearest name is shown).
    """

    depth: int = 18
    stem: str = "imagenet"
    shortcut: str = "B"

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
        layers, counts = DEPTHS[self.depth]
        block_of = self.recomputed(Block, static=(2,))  # train, after the block itself and x
        for stage, (blocks, width) in enumerate(zip(counts, widths, strict=True), 1):
            for block in range(blocks):
                x = block_of(
                    layers,
                    width,
                    halve(x) if stage > 1 and block == 0 else 1,
                    self.shortcut,
                    self.dtype,
                    self.bn_momentum,
                    self.activation,
                    name=f"stage{stage}_block{block + 1}",
                )(x, train)
            features[f"stage{stage}"] = x
        return feature_maps(features)
