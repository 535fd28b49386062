"""Rotation prediction (Gidaris et al. 2018), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.ops.crop import cut, random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.rotate import rotate, rotation_classes
from assl_jax.tasks.base import Batch, Metrics, accuracy


class RotationHead(nn.Module):
    """One linear layer; as many classes as rotations keep the inputs' shape."""

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b v k"]:
        return nn.Dense(len(rotation_classes(batch.inputs.shape[2:-1])))(features["pooled"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation:
    """Classify by how much the image was turned.

    The classes are all turns that keep the crop's shape: 4 for a square image, 10 for a cube, 6 for
    a box with two equal sides, 4 for one with three different sides.

    Attributes:
      crop_fraction: side of a random crop over the image side, on each axis.
      all_rotations: every rotation of each image in one batch, as the paper does; otherwise one at
        random, so that a batch holds as many inputs as images.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str] = "rotation"
    crop_fraction: float = 7 / 8
    all_rotations: bool = True
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(
            0 < self.crop_fraction <= 1,
            f"task rotation: crop_fraction={self.crop_fraction} must be above 0 and at most 1",
        )

    def label_table(self, rank: int) -> None:
        return None

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, v, *crop, c]`, targets `[b, v]` int32; v is the number of classes or 1."""
        b, space = images.shape[0], images.shape[1:-1]
        k_crop, k_class = jax.random.split(rng)
        size = tuple(max(1, round(self.crop_fraction * n)) for n in space)
        crops = cut(images, random_starts(k_crop, b, space, size), size)[:, 0]
        crops = self.intensity(crops)
        classes = rotation_classes(size)
        turned = jnp.stack([rotate(crops, r) for r in classes], axis=1)
        labels = jnp.broadcast_to(np.arange(len(classes), dtype=np.int32)[None], (b, len(classes)))
        if not self.all_rotations:
            labels = jax.random.randint(k_class, (b, 1), 0, len(classes))
            index = labels.reshape(b, 1, *(1,) * (turned.ndim - 2))
            turned = jnp.take_along_axis(turned, index, axis=1)
        return Batch(turned, labels)

    def head(self) -> nn.Module:
        return RotationHead()

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        logits = outputs.reshape(-1, outputs.shape[-1])
        labels = batch.targets.reshape(-1)
        loss = losses.softmax_cross_entropy(logits, labels).mean()
        return loss, {"accuracy": accuracy(logits, labels)}
