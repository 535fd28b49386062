"""Two random views of each image: the inputs of SimCLR, VICReg and BYOL."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax.ops.colour import colour_jitter, random_grey
from assl_jax.ops.crop import random_flip
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.resample import random_blur, random_resized_crop
from assl_jax.ranges import NonNegative, Portion, Share
from assl_jax.tasks.base import Batch, ProxyTask

SMALL = 64  # images that are smaller along every axis get half of the jitter


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoViews(ProxyTask):
    """A task on two augmented views of each image.

    The augmentation is a random resized crop, a flip, colour jitter, greyscale and blur, as in
    SimCLR (Chen et al. 2020, App. A). With one channel, the jitter changes brightness and contrast
    only, and greyscale is left out.

    Attributes:
      crop_scale: smallest share of the area (volume) that a crop keeps.
      jitter: strength of the brightness, contrast and saturation changes; a quarter of it is the
        strength of the hue change. Images with fewer than 64 pixels along every axis get half of
        it, as in the source's experiments on CIFAR-10.
      grey: probability of greyscale.
      blur: largest standard deviation of the blur in pixels per 96 pixels of image side; 0 switches
        the blur off.
      flip: mirror along the last spatial axis with probability 1/2.
      intensity: how stored integers become network inputs.
    """

    crop_scale: Portion = 0.2
    jitter: NonNegative = 0.8
    grey: Share = 0.2
    blur: NonNegative = 2.0
    flip: bool = True
    intensity: Intensity = Intensity()

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 2, *space, c]`: two views of every image; no targets."""
        unit = self.intensity.unit(images)
        views = [self._augment(key, unit) for key in jax.random.split(rng)]
        return Batch(self.intensity.standardise(jnp.stack(views, axis=1)), ())

    def _augment(self, rng: jax.Array, images: Float[Array, "b *space c"]) -> Array:
        keys = jax.random.split(rng, 5)
        x = random_resized_crop(keys[0], images, scale=(self.crop_scale, 1.0))
        x = random_flip(keys[1], x) if self.flip else x
        side = max(images.shape[1:-1])
        jitter = self.jitter if side >= SMALL else self.jitter / 2
        x = colour_jitter(
            keys[2],
            x,
            brightness=jitter,
            contrast=jitter,
            saturation=jitter,
            hue=jitter / 4,
        )
        x = random_grey(keys[3], x, probability=self.grey) if x.shape[-1] == 3 else x
        largest = self.blur * side / 96
        return random_blur(keys[4], x, sigma=(0.05 * largest, largest)) if self.blur else x
