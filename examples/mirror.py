"""A proxy task of your own: was the image mirrored?

    assl-jax run pretrain --config.tasks=mirror:Mirror

(in this folder). It runs on images and on volumes, because it reads the rank from the arrays.
"""

import dataclasses
from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from assl_jax.ops.intensity import Intensity
from assl_jax.ranges import Range
from assl_jax.tasks.base import Batch, ProxyTask, classification_loss


class MirrorHead(nn.Module):
    @nn.compact
    def __call__(self, features, batch):
        return nn.Dense(2)(features["pooled"][:, 0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mirror(ProxyTask):
    """Classify whether an image was mirrored along its last spatial axis."""

    name: ClassVar[str] = "mirror"
    title: ClassVar[str] = "Mirror"
    summary: ClassVar[str] = "An image, mirrored or not. The network predicts which."
    colour: ClassVar[str] = "#117733"
    probability: Annotated[float, Range(above=0, below=1)] = 0.5
    intensity: Intensity = Intensity()

    def make_batch(self, rng, images):
        mirrored = jax.random.bernoulli(rng, self.probability, (images.shape[0],))
        per_image = mirrored.reshape(-1, *(1,) * (images.ndim - 1))
        views = jnp.where(per_image, jnp.flip(images, -2), images)
        return Batch(self.intensity(views)[:, None], mirrored.astype(jnp.int32))

    def head(self):
        return MirrorHead()

    def loss(self, outputs, batch):
        return classification_loss(outputs, batch.targets)
