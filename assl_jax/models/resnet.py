"""Residual networks of He et al. 2016 (basic blocks), in any number of dimensions."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.conv import Conv, per_axis
from assl_jax.models.halving import halvings, max_pool
from assl_jax.models.norm import BatchNorm

DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

# name: kernel, stride of the first convolution, and whether a 3/2 max-pool follows.
STEMS = {
    "imagenet": (7, 2, True),
    "quarter": (3, 2, True),
    "half": (3, 2, False),
    "small": (3, 1, False),
}


def batch_norm(train: bool, dtype: Any, momentum: float, name: str) -> Callable[[Array], Array]:
    """The BatchNorm of that name, in training or in evaluation mode."""
    return functools.partial(BatchNorm(momentum, dtype, name=name), train=train)


class BasicBlock(nn.Module):
    """Two 3-wide convolutions and a shortcut, projected where the shape changes."""

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


class ResNet(nn.Module):
    """ResNet-10, -18 or -34.

    Attributes:
      depth: 10, 18 or 34.
      width: multiplier of the channel counts 64, 128, 256, 512.
      stem: "imagenet" (kernel 7, stride 2, max-pool 3/2), "quarter" (kernel 3, stride 2, max-pool
        3/2), "half" (kernel 3, stride 2) or "small" (kernel 3, stride 1).
      delay: how many of the halvings (the stem's stride and max-pool where it has them, then the
        strides of stages 2, 3 and 4) leave each spatial axis alone, for volumes of few slices; `()`
        delays none. Along an axis that the stem's convolution does not halve its kernel is 3 wide:
        7 slices are much of a thin volume.
      dtype: compute dtype; parameters and BatchNorm statistics stay float32.
      bn_momentum: how much of the running statistics a training batch leaves in place.
      activation: in place of every ReLU, for other gradients than its own.
      remat: keep a block's input alone for the gradient and make what is inside it again (Chen et
        al. 2016, "Training deep nets with sublinear memory cost"): less memory, one more forward
        pass. Weights have the same names, and results are the same up to rounding.
    """

    depth: int = 18
    width: float = 1.0
    stem: str = "imagenet"
    delay: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    bn_momentum: float = 0.9
    activation: Callable[[Array], Array] = nn.relu
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to feature maps `stem`, `stage1` … `stage4` and `pooled` `[b, d]`."""
        kernel, stride, pool = STEMS[self.stem]
        halve = halvings(self.delay, x.ndim - 2)
        strides = next(halve) if stride == 2 else (1,) * (x.ndim - 2)
        kernels = tuple(kernel if s == stride else 3 for s in strides)
        widths = [max(1, round(64 * 2**i * self.width)) for i in range(4)]
        x = Conv(widths[0], kernels, strides, dtype=self.dtype, name="stem_conv")(x)
        x = self.activation(batch_norm(train, self.dtype, self.bn_momentum, "stem_bn")(x))
        features = {"stem": x}
        if pool:
            strides = next(halve)
            x = max_pool(x, [2 * s - 1 for s in strides], strides, [s - 1 for s in strides])
        # Of a block's arguments (itself, x, train) the last is a Python value.
        block_of = nn.remat(BasicBlock, static_argnums=(2,)) if self.remat else BasicBlock
        for stage, (blocks, width) in enumerate(zip(DEPTHS[self.depth], widths, strict=True), 1):
            for block in range(blocks):
                x = block_of(
                    width,
                    next(halve) if stage > 1 and block == 0 else 1,
                    self.dtype,
                    self.bn_momentum,
                    self.activation,
                    name=f"stage{stage}_block{block + 1}",
                )(x, train)
            features[f"stage{stage}"] = x
        return features | {"pooled": global_average(x)}


def global_average(x: Float[Array, "b *space c"]) -> Float[Array, "b c"]:
    """Mean over the spatial axes, in float32."""
    return jnp.mean(x.astype(jnp.float32), axis=tuple(range(1, x.ndim - 1)))
