"""Models Genesis (Zhou et al. 2019), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.ops.crop import random_flip
from assl_jax.ops.curve import random_curve
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.mask import random_boxes
from assl_jax.ops.shuffle import random_shuffle
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.inpaint import ReconstructionHead


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelsGenesis:
    """Restore an image that was shuffled locally, passed through a curve and painted over.

    Every change is drawn for each image by itself and applied in this order: mirror (the image to
    restore, too), shuffle inside small windows, random monotone intensity curve, noise inside
    (in-painting) or outside (out-painting) a few boxes.

    Attributes:
      flip: probability of mirroring along an axis, for each axis; 0.15 is how often the published
        code mirrors along a given one.
      shuffle: probability of local shuffling.
      window_fraction: side of a shuffled window over image side, on each axis, at least 2 voxels;
        1/20 is the mean of the published sides.
      curve: probability of a random intensity curve.
      inverted: share of the curves that turn dark into bright.
      paint: probability of in- or out-painting.
      inpaint: share of in-painting among the two.
      boxes: most boxes in an image.
      another: probability of another box after one.
      inpaint_sides: least and greatest side of a box over image side, on each axis.
      outpaint_sides: the same for out-painting, whose boxes show what is kept.
      width, coarse: of the decoder, see `models.heads.Decoder`.
      intensity: how stored integers become network inputs.

    Deviations: see `random_shuffle`; in-painting always paints at least one box, and boxes may
    touch the border.
    """

    name: ClassVar[str] = "models_genesis"
    flip: float = 0.15
    shuffle: float = 0.5
    window_fraction: float = 1 / 20
    curve: float = 0.9
    inverted: float = 0.5
    paint: float = 0.9
    inpaint: float = 0.2
    boxes: int = 5
    another: float = 0.95
    inpaint_sides: tuple[float, float] = (1 / 6, 1 / 3)
    outpaint_sides: tuple[float, float] = (3 / 7, 4 / 7)
    width: int = 16
    coarse: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        for name in ("flip", "shuffle", "curve", "inverted", "paint", "inpaint", "another"):
            value = getattr(self, name)
            require(
                0 <= value <= 1,
                f"task models_genesis: {name}={value} is a probability and must lie in 0 to 1",
            )
        require(
            0 < self.window_fraction <= 1,
            f"task models_genesis: window_fraction={self.window_fraction} must be above 0 and at "
            "most 1",
        )
        require(self.boxes >= 1, f"task models_genesis: boxes={self.boxes} must be at least 1")
        for name in ("inpaint_sides", "outpaint_sides"):
            sides = getattr(self, name)
            require(
                len(sides) == 2 and 0 < sides[0] <= sides[1] <= 1,
                f"task models_genesis: {name}={sides} must be two fractions of the image side, "
                "above 0 and at most 1, the lesser first",
            )
        require(self.coarse >= 0, f"task models_genesis: coarse={self.coarse} must not be negative")

    def label_table(self, rank: int) -> None:
        return None

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 1, *space, c]`; targets: the images as they were, mirrored as the inputs."""
        rank = images.ndim - 2
        k_shuffle, k_curve, k_hidden, k_noise, *k_flip = jax.random.split(rng, 4 + rank)
        for axis, key in enumerate(k_flip, 1):
            images = random_flip(key, images, axis, probability=self.flip)
        whole = self.intensity.unit(images)
        x = random_shuffle(
            k_shuffle, whole, fraction=self.window_fraction, probability=self.shuffle
        )
        x = random_curve(k_curve, x, probability=self.curve, inverted=self.inverted)
        hidden = self._hidden(k_hidden, images)
        x = jnp.where(hidden, jax.random.uniform(k_noise, x.shape), x)
        standardise = self.intensity.standardise
        return Batch(standardise(x)[:, None], {"image": standardise(whole)})

    def _hidden(self, rng: jax.Array, images: Array) -> Bool[Array, "b *space 1"]:
        """Where there is noise: inside the boxes for in-painting, outside them for out-painting."""
        b, space = images.shape[0], images.shape[1:-1]
        k_paint, k_inpaint, k_boxes = jax.random.split(rng, 3)
        paint = jax.random.bernoulli(k_paint, self.paint, (b, 1))
        inpaint = jax.random.bernoulli(k_inpaint, self.inpaint, (b, 1))

        def sides(end: int) -> Array:
            inner, outer = (
                np.asarray([[max(1, round(fraction[end] * n)) for n in space]])
                for fraction in (self.inpaint_sides, self.outpaint_sides)
            )
            return jnp.where(inpaint, inner, outer)

        boxes = random_boxes(
            k_boxes, sides(0), sides(1), space, count=self.boxes, again=self.another
        )
        wide = (b, *(1,) * (images.ndim - 1))
        return paint.reshape(wide) & (boxes == inpaint.reshape(wide))

    def head(self) -> nn.Module:
        return ReconstructionHead(width=self.width, coarse=self.coarse)

    def loss(self, outputs: Float[Array, "b 1 *space c"], batch: Batch) -> tuple[Array, Metrics]:
        """Mean squared error over all voxels."""
        image = batch.targets["image"]
        everywhere = jnp.ones((*image.shape[:-1], 1))
        return losses.masked_l2(outputs[:, 0], image, everywhere).mean(), {}
