"""SimCLR (Chen et al. 2020), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import in_range
from assl_jax.models.heads import MLP
from assl_jax.ops.colour import colour_jitter, random_grey
from assl_jax.ops.crop import random_flip
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.resample import random_blur, random_resized_crop
from assl_jax.tasks.base import Batch, Metrics, ProxyTask


class ProjectionHead(nn.Module):
    """Two linear layers with ReLU between them."""

    hidden: int
    width: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b 2 d"]:
        z = features["pooled"]
        return MLP([self.hidden or z.shape[-1], self.width])(z)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimCLR(ProxyTask):
    """Find the other augmented view of an image among all views of the mini-batch.

    The augmentation is a random resized crop, a flip, colour jitter, greyscale and blur. With one
    channel, the jitter changes brightness and contrast only, and greyscale is left out.

    Attributes:
      temperature: divides the similarities of NT-Xent.
      crop_scale: smallest share of the area (volume) that a crop keeps.
      jitter: strength of the brightness, contrast and saturation changes; a quarter of it is the
        strength of the hue change.
      grey: probability of greyscale.
      blur: largest standard deviation of the blur in pixels per 96 pixels of image side; 0 switches
        the blur off.
      flip: mirror along the last spatial axis with probability 1/2.
      hidden: width of the projection's hidden layer; 0 means the width of the features.
      width: of the projection.
      intensity: how stored integers become network inputs.
    """

    name: ClassVar[str] = "simclr"
    title: ClassVar[str] = "SimCLR"
    short: ClassVar[str] = "Sim"
    summary: ClassVar[str] = (
        "Two random views of each image. The network finds the other view of an image among the "
        "views of all images."
    )
    colour: ClassVar[str] = "#E69F00"
    temperature: float = 0.5
    crop_scale: float = 0.2
    jitter: float = 0.4
    grey: float = 0.2
    blur: float = 2.0
    flip: bool = True
    hidden: int = 0
    width: int = 128
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        in_range(self.temperature, "task.simclr.temperature", above=0)
        in_range(self.crop_scale, "task.simclr.crop_scale", above=0, at_most=1)
        in_range(self.jitter, "task.simclr.jitter", at_least=0)
        in_range(self.grey, "task.simclr.grey", at_least=0, at_most=1)
        in_range(self.blur, "task.simclr.blur", at_least=0)
        in_range(self.width, "task.simclr.width", at_least=1)

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
