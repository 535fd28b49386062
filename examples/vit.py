"""A backbone of attention alone: a small ViT (Dosovitskiy et al. 2021), for images and volumes.

    assl-jax run pretrain --config.backbone.name=vit:ViT

(in this folder). Its weights fit images of any size, because the position embeddings are resized.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import feature_maps
from assl_jax.ops.resample import resize


class ViT(nn.Module):
    """Patches, position embeddings, and blocks of attention and two linear layers.

    There is no class token: the features are the mean over the patches.

    Attributes:
      blocks: how many blocks.
      heads: of the attention.
      width: multiplier of the 64 channels of each head.
      patch: side of a patch, along every axis.
      grid: positions along every axis that have an embedding of their own. Between them the
        embeddings are interpolated, so tiles and whole images share them.
      drop: share of the values that dropout sets to 0.
      dtype: compute dtype; parameters stay float32.
      activation: the function in place of every GELU.
    """

    blocks: int = 6
    heads: int = 3
    width: float = 1.0
    patch: int = 8
    grid: int = 8
    drop: float = 0.1
    dtype: Any = jnp.float32
    activation: Callable[[Array], Array] = nn.gelu

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b ..."]]:
        """Standardised images to `stage1`, `stage2`, ..., `last` and `pooled`."""
        rank, stages = x.ndim - 2, {}
        channels = self.heads * max(1, round(64 * self.width))
        patch = (self.patch,) * rank
        x = nn.Conv(channels, patch, patch, dtype=self.dtype, name="patches")(x)
        table = (1, *(self.grid,) * rank, channels)
        positions = jnp.asarray(self.param("positions", nn.initializers.normal(0.02), table))
        x = self.dropped(x + resize(positions, x.shape[1:-1]).astype(self.dtype), train)
        shape = x.shape
        x = x.reshape(shape[0], -1, channels)
        for block in range(1, self.blocks + 1):
            x = self.block(x, f"block{block}", train)
            stages[f"stage{block}"] = x.reshape(shape)
        stages["norm"] = nn.LayerNorm(dtype=self.dtype, name="norm")(x).reshape(shape)
        return feature_maps(stages)

    def block(self, x: Array, name: str, train: bool) -> Array:
        """Attention among the patches, then two linear layers for each patch."""
        channels, layers = x.shape[-1], {"dtype": self.dtype}
        y = nn.LayerNorm(name=f"{name}_norm1", **layers)(x)
        y = nn.MultiHeadDotProductAttention(self.heads, name=f"{name}_attention", **layers)(y)
        x = x + self.dropped(y, train)
        y = nn.LayerNorm(name=f"{name}_norm2", **layers)(x)
        y = self.activation(nn.Dense(4 * channels, name=f"{name}_wide", **layers)(y))
        y = nn.Dense(channels, name=f"{name}_narrow", **layers)(self.dropped(y, train))
        return x + self.dropped(y, train)

    def dropped(self, x: Array, train: bool) -> Array:
        """Dropout."""
        return nn.Dropout(self.drop, deterministic=not train)(x)
