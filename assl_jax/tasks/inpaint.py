"""Context encoder (Pathak et al. 2016), reconstruction only, in any number of dimensions."""

import dataclasses
from typing import Annotated, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.models.heads import Decoder, flatten_views, last_map, unflatten_views
from assl_jax.ops.crop import random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.mask import box_mask
from assl_jax.ranges import OneOf, Range, Size, Width
from assl_jax.tasks.base import Batch, Metrics, ProxyTask

REGIONS = ("random", "centre")


class ReconstructionHead(nn.Module):
    """Decode the last stage's feature map to an image with the inputs' shape."""

    width: int
    coarse: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b v *space c"]:
        *_, channels = batch.inputs.shape
        maps = flatten_views(last_map(features))
        decoder = Decoder(channels, self.width, self.coarse)
        images = decoder(maps, batch.inputs.shape[2:-1])
        return unflatten_views(images, batch.inputs.shape[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inpaint(ProxyTask):
    """Reconstruct a masked box from its surroundings.

    Attributes:
      region: "random" masks a box at a random position, "centre" the box in the middle.
      mask_fraction: box side over image side, on each axis.
      width: least number of channels inside the decoder, see `models.heads.Decoder`.
      coarse: how many of the decoder's last doublings only resize; cheaper for volumes.
      intensity: how stored integers become network inputs. The box is filled with the mean of the
        data set.
    """

    name: ClassVar[str] = "inpaint"
    title: ClassVar[str] = "Inpaint"
    short: ClassVar[str] = "Inp"
    summary: ClassVar[str] = "An image with a masked box. The network fills in the box."
    colour: ClassVar[str] = "#CC79A7"
    region: Annotated[str, OneOf(REGIONS)] = "random"
    mask_fraction: Annotated[float, Range(above=0, below=1)] = 0.5
    width: Width = 16
    coarse: Size = 0
    intensity: Intensity = Intensity()

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 1, *space, c]`.

        Targets: "image" `[b, *space, c]`, the whole image; "mask" `[b, *space, 1]` booleans.
        """
        b, space = images.shape[0], images.shape[1:-1]
        size = [max(1, round(self.mask_fraction * n)) for n in space]
        if self.region == "random":
            starts = random_starts(rng, b, space, size)[:, 0]
        else:
            middle = jnp.asarray([(n - s) // 2 for n, s in zip(space, size, strict=True)])
            starts = jnp.broadcast_to(middle[None], (b, len(space)))
        mask = box_mask(starts, size, space)
        whole = self.intensity(images)
        return Batch(jnp.where(mask, 0.0, whole)[:, None], {"image": whole, "mask": mask})

    def head(self) -> nn.Module:
        return ReconstructionHead(width=self.width, coarse=self.coarse)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        painted, mask = outputs[:, 0], batch.targets["mask"].astype(jnp.float32)
        return losses.masked_l2(painted, batch.targets["image"], mask).mean(), {}
