"""Context encoder (Pathak et al. 2016), reconstruction only, in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from assl_jax import losses
from assl_jax.errors import require
from assl_jax.models.heads import Decoder, flatten_views, last_map, unflatten_views
from assl_jax.ops.crop import random_starts
from assl_jax.ops.intensity import Intensity
from assl_jax.ops.mask import box_mask
from assl_jax.tasks.base import Batch, Metrics


class ReconstructionHead(nn.Module):
    """The last stage's feature map decoded to the inputs' shape."""

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
class Inpaint:
    """Paint in a box that was masked out, from what surrounds it.

    Attributes:
      region: "random" places the box anywhere, "centre" in the middle.
      mask_fraction: box side over image side, on each axis.
      width, coarse: of the decoder, see `models.heads.Decoder`.
      intensity: how stored integers become network inputs; the box is filled with the mean.
    """

    name: ClassVar[str] = "inpaint"
    region: str = "random"
    mask_fraction: float = 0.5
    width: int = 16
    coarse: int = 0
    intensity: Intensity = Intensity()

    def __post_init__(self) -> None:
        require(
            self.region in ("random", "centre"),
            f"task inpaint: region={self.region!r} is unknown; use 'random' or 'centre'",
        )
        require(
            0 < self.mask_fraction < 1,
            f"task inpaint: mask_fraction={self.mask_fraction} must be between 0 and 1",
        )
        require(self.coarse >= 0, f"task inpaint: coarse={self.coarse} must not be negative")

    def label_table(self, rank: int) -> None:
        return None

    def make_batch(self, rng: jax.Array, images: Shaped[Array, "b *space c"]) -> Batch:
        """Inputs `[b, 1, *space, c]`; targets: the whole images and the mask, shaped alike."""
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
