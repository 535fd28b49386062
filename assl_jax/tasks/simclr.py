"""SimCLR (Chen et al. 2020), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.models.heads import MLP
from assl_jax.ops.colour import colour_jitter, random_grey
from assl_jax.ops.crop import random_flip
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.resample import random_blur, random_resized_crop
from assl_jax.tasks.base import Batch, Metrics


class ProjectionHead(nn.Module):
    """Two linear layers with ReLU between them."""

    hidden: int
    width: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b 2 d"]:
        z = features["pooled"]
        return MLP([self.hidden or z.shape[-1], self.width])(z)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimCLR:
    """Recognise another augmented view of the same image among all views of the mini-batch.

    Augmentation: random resized crop, flip, colour jitter, grey and blur for RGB; for one channel
    the jitter is one of brightness and contrast, and grey changes nothing.

    Attributes:
      temperature: of NT-Xent.
      crop_scale: least share of the area (volume) that a crop keeps.
      jitter: strength of brightness, contrast and saturation changes; hue gets a quarter of it.
      grey: probability of dropping the colour.
      blur: largest standard deviation of the blur in pixels per 96 pixels of image side.
      flip: mirror along the last spatial axis with probability 1/2.
      hidden: width of the projection's hidden layer; 0 takes the features' own.
      width: of the projection.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str] = "simclr"
    temperature: float = 0.5
    crop_scale: float = 0.2
    jitter: float = 0.4
    grey: float = 0.2
    blur: float = 2.0
    flip: bool = True
    hidden: int = 0
    width: int = 128
    intensity: Intensity = Intensity()

    def label_table(self, rank: int) -> None:
        return None

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 2, *space, c]`: two views of every image; no targets."""
        unit = self.intensity.unit(images)
        views = [self._augment(key, unit) for key in jax.random.split(rng)]
        return Batch(self.intensity.standardise(jnp.stack(views, axis=1)), ())

    def _augment(self, rng: jax.Array, images: Float[Array, "b *space c"]) -> Array:
        keys = jax.random.split(rng, 5)
        x = random_resized_crop(keys[0], images, scale=(self.crop_scale, 1.0))
        x = random_flip(keys[1], x) if self.flip else x
        x = colour_jitter(
            keys[2],
            x,
            brightness=self.jitter,
            contrast=self.jitter,
            saturation=self.jitter,
            hue=self.jitter / 4,
        )
        x = random_grey(keys[3], x, probability=self.grey) if x.shape[-1] == 3 else x
        largest = self.blur * max(images.shape[1:-1]) / 96
        return random_blur(keys[4], x, sigma=(0.05 * largest, largest)) if self.blur else x

    def head(self) -> nn.Module:
        return ProjectionHead(hidden=self.hidden, width=self.width)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        per_view = losses.nt_xent(outputs[:, 0], outputs[:, 1], temperature=self.temperature)
        return per_view.mean(), {}
