"""Rotation prediction (Gidaris et al. 2018), in any number of dimensions."""

import dataclasses
from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from assl_jax.ops.crop import random_crop, random_flip, random_shift
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.rotate import rotate, rotation_classes
from assl_jax.ranges import Portion, Range
from assl_jax.tasks.base import Batch, Metrics, ProxyTask, classification_loss

SQUARE = 1.5


class RotationHead(nn.Module):
    """One linear layer, with one class for each rotation that keeps the shape of the inputs."""

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b v k"]:
        return nn.Dense(len(rotation_classes(batch.inputs.shape[2:-1])))(features["pooled"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotation(ProxyTask):
    """Classify the rotation of an image.

    The classes are all rotations by quarter turns that keep the crop's shape: 4 for a square image,
    10 for a cube, 6 for a box with two equal sides, 4 for a box with three different sides.

    Attributes:
      crop_fraction: side of a random crop over image side, on each axis.
      square: also crop the two longest axes to one length, so that quarter turns in their plane
        keep the shape; volumes of 30x270x230 then have 6 classes and not 4. Only if the longest is
        at most `SQUARE` times as long as the other one.
      shift: largest random translation over the crop's side; reflection fills the edges, as the
        padding of the source does.
      flip: mirror along the last spatial axis with probability 1/2, before the rotation.
      all_rotations: put every rotation of each image into the batch, as the paper does. Otherwise
        each image gets one random rotation.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str] = "rotation"
    title: ClassVar[str] = "Rotation"
    short: ClassVar[str] = "Rot"
    summary: ClassVar[str] = "Rotated copies of an image. The network predicts the rotation."
    colour: ClassVar[str] = "#D55E00"
    crop_fraction: Portion = 1.0
    square: bool = True
    shift: Annotated[float, Range(at_least=0, below=0.5)] = 1 / 8
    flip: bool = True
    all_rotations: bool = True
    intensity: Intensity = Intensity()

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, v, *crop, c]`, targets `[b, v]` int32; v is the number of classes or 1."""
        b, space = images.shape[0], images.shape[1:-1]
        k_crop, k_class, k_shift, k_flip = jax.random.split(rng, 4)
        size = self._size(space)
        crops = random_crop(k_crop, images, size)
        crops = random_flip(k_flip, crops) if self.flip else crops
        crops = self.intensity(random_shift(k_shift, crops, [int(self.shift * n) for n in size]))
        classes = rotation_classes(size)
        turned = jnp.stack([rotate(crops, r) for r in classes], axis=1)
        labels = jnp.broadcast_to(np.arange(len(classes), dtype=np.int32)[None], (b, len(classes)))
        if not self.all_rotations:
            labels = jax.random.randint(k_class, (b, 1), 0, len(classes))
            index = labels.reshape(b, 1, *(1,) * (turned.ndim - 2))
            turned = jnp.take_along_axis(turned, index, axis=1)
        return Batch(turned, labels)

    def _size(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a crop."""
        size = [max(1, round(self.crop_fraction * n)) for n in space]
        if self.square:
            *_, second, longest = np.argsort(size, kind="stable")
            if size[longest] <= SQUARE * size[second]:
                size[longest] = size[second]
        return tuple(size)

    def head(self) -> nn.Module:
        return RotationHead()

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        return classification_loss(outputs.reshape(-1, outputs.shape[-1]), batch.targets.ravel())
