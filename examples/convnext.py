"""A backbone without BatchNorm: a small ConvNeXt (Liu et al. 2022), for images and volumes.

    assl-jax run pretrain --config.backbone.name=convnext:ConvNeXt

(in this folder). It normalises each position by itself, and in training drops whole branches.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import feature_maps
from assl_jax.models.halving import Halvings


class ConvNeXt(nn.Module):
    """Stages of residual blocks: a depthwise convolution, then two linear layers per position.

    Without the original's normalisations between the stages and at the end.

    Attributes:
      blocks: how many blocks each stage has.
      width: multiplier of the 64 channels of the first stage; each further stage doubles them.
      patch: kernel and stride of the first convolution.
      kernel: of the depthwise convolutions.
      drop: probability that a block leaves out its branch for an image (stochastic depth).
      dtype: compute dtype; parameters stay float32.
      activation: the function in place of every GELU.
    """

    blocks: tuple[int, ...] = (2, 2, 6, 2)
    width: float = 1.0
    patch: int = 4
    kernel: int = 7
    drop: float = 0.1
    dtype: Any = jnp.float32
    activation: Callable[[Array], Array] = nn.gelu

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to `stage1`, `stage2`, ..., `last` and `pooled`."""
        rank, stages = x.ndim - 2, {}
        halve = Halvings((), rank)
        for stage, blocks in enumerate(self.blocks, 1):
            side = self.patch if stage == 1 else 2
            window, stride = (side,) * rank, halve(x) if stage > 1 else side
            channels = max(1, round(64 * self.width)) * 2 ** (stage - 1)
            x = nn.Conv(channels, window, stride, dtype=self.dtype, name=f"stage{stage}_conv")(x)
            if stage == 1:
                x = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
            for block in range(1, blocks + 1):
                x = x + self.branch(x, f"stage{stage}_block{block}", train)
            stages[f"stage{stage}"] = x
        return feature_maps(stages)

    def branch(self, x: Array, name: str, train: bool) -> Array:
        """What a block adds to its input."""
        channels, layers = x.shape[-1], {"dtype": self.dtype}
        window = (self.kernel,) * (x.ndim - 2)
        y = nn.Conv(channels, window, feature_group_count=channels, name=f"{name}_conv", **layers)(
            x
        )
        y = nn.LayerNorm(name=f"{name}_norm", **layers)(y)
        y = self.activation(nn.Dense(4 * channels, name=f"{name}_wide", **layers)(y))
        y = nn.Dense(channels, name=f"{name}_narrow", **layers)(y)
        # From nearly 0, because the gradient of a LayerNorm is large where an image is blank.
        scale = self.param(f"{name}_scale", nn.initializers.constant(1e-6), (channels,))
        y = y * scale.astype(self.dtype).reshape(*(1,) * (y.ndim - 1), -1)
        # One draw for all positions and channels of an image.
        same = tuple(range(1, y.ndim))
        return nn.Dropout(self.drop, broadcast_dims=same, deterministic=not train)(y)
