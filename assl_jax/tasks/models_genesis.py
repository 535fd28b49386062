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
from assl_jax.ops.chance import chance
from assl_jax.ops.crop import random_flip
from assl_jax.ops.curve import random_curve
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.mask import random_boxes
from assl_jax.ops.shuffle import random_shuffle
from assl_jax.ranges import Portion, Repeats, Share, Size, Width
from assl_jax.tasks.base import Batch, Metrics, ProxyTask
from assl_jax.tasks.inpaint import ReconstructionHead


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelsGenesis(ProxyTask):
    """Restore an image after local shuffling, an intensity curve and noise in boxes.

    The changes are drawn separately for each image and applied in this order:
    1. mirror the image; the target is mirrored too;
    2. shuffle the voxels inside small windows;
    3. pass the intensities through a random monotone curve;
    4. replace voxels by noise inside a few boxes (in-painting) or outside them (out-painting).

    Attributes:
      flip: probability of mirroring along an axis, for each axis. The published code mirrors along
        a given axis with probability 0.15.
      shuffle: probability of local shuffling.
      window_fraction: side of a shuffled window over image side, on each axis, at least 2 voxels.
        The mean of the published sides is 1/20.
      curve: probability of a random intensity curve.
      inverted: share of falling curves, which turn dark into bright.
      paint: probability of in-painting or out-painting.
      inpaint: share of in-painting among the painted images.
      boxes: largest number of boxes in an image.
      another: probability of another box after each box.
      inpaint_sides: smallest and largest side of an in-painting box over image side, on each axis.
      outpaint_sides: the same for out-painting, which keeps the voxels inside the boxes.
      width: least number of channels inside the decoder, see `models.heads.Decoder`.
      coarse: how many of the decoder's last doublings only resize; cheaper for volumes.
      intensity: how stored integers become network inputs.

    Deviations: see `random_shuffle`. In-painting always paints at least one box. Boxes may touch
    the border.
    """

    name: ClassVar[str] = "models_genesis"
    title: ClassVar[str] = "Models Genesis"
    short: ClassVar[str] = "MG"
    summary: ClassVar[str] = (
        "A distorted copy of an image: shuffled voxels, changed intensities, noise in or around "
        "boxes. The network restores the image."
    )
    colour: ClassVar[str] = "#993300"
    flip: Share = 0.15
    shuffle: Share = 0.5
    window_fraction: Portion = 1 / 20
    curve: Share = 0.9
    inverted: Share = 0.5
    paint: Share = 0.9
    inpaint: Share = 0.2
    boxes: Repeats = 5
    another: Share = 0.95
    inpaint_sides: tuple[float, float] = (1 / 6, 1 / 3)
    outpaint_sides: tuple[float, float] = (3 / 7, 4 / 7)
    width: Width = 16
    coarse: Size = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("inpaint_sides", "outpaint_sides"):
            sides = getattr(self, setting)
            require(
                len(sides) == 2 and 0 < sides[0] <= sides[1] <= 1,
                f"task.models_genesis.{setting}={sides} must be two fractions of the image side, "
                "above 0 and at most 1, the smaller first",
            )

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 1, *space, c]`; targets: "image" `[b, *space, c]`, mirrored as the inputs."""
        rank = images.ndim - 2
        k_shuffle, k_curve, k_noisy, k_noise, *k_flip = jax.random.split(rng, 4 + rank)
        for axis, key in enumerate(k_flip, 1):
            images = random_flip(key, images, axis, probability=self.flip)
        whole = self.intensity.unit(images)
        x = random_shuffle(
            k_shuffle, whole, fraction=self.window_fraction, probability=self.shuffle
        )
        x = random_curve(k_curve, x, probability=self.curve, inverted=self.inverted)
        noisy = self._noisy(k_noisy, images)
        x = jnp.where(noisy, jax.random.uniform(k_noise, x.shape), x)
        standardise = self.intensity.standardise
        return Batch(standardise(x)[:, None], {"image": standardise(whole)})

    def _noisy(self, rng: jax.Array, images: Array) -> Bool[Array, "b *space 1"]:
        """The voxels to replace by noise: inside the boxes for in-painting, outside otherwise."""
        b, space = images.shape[0], images.shape[1:-1]
        k_paint, k_inpaint, k_boxes = jax.random.split(rng, 3)
        paint = chance(k_paint, self.paint, (b, 1))
        inpaint = chance(k_inpaint, self.inpaint, (b, 1))

        def sides(end: int) -> Array:
            inner, outer = (
                np.asarray([[max(1, round(fraction[end] * n)) for n in space]])
                for fraction in (self.inpaint_sides, self.outpaint_sides)
            )
            return jnp.where(inpaint, inner, outer)

        boxes = random_boxes(
            k_boxes,
            sides(0),
            sides(1),
            space,
            count=self.boxes,
            another_probability=self.another,
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
