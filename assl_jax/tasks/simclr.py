"""SimCLR (Chen et al. 2020), in any number of dimensions."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.models.heads import MLP
from assl_jax.ranges import Positive, Size, Width
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.two_views import TwoViews


class ProjectionHead(nn.Module):
    """Two linear layers with ReLU between them."""

    hidden: int
    width: int

    @nn.compact
    def __call__(self, features: dict, batch: Batch) -> Float[Array, "b 2 d"]:
        z = features["pooled"]
        return MLP([self.hidden or z.shape[-1], self.width])(z)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimCLR(TwoViews):
    """Find the other augmented view of an image among all views of the mini-batch.

    Attributes:
      temperature: divides the similarities of NT-Xent.
      hidden: width of the projection's hidden layer; 0 means the width of the features.
      width: of the projection.
      crop_scale, jitter, grey, blur, flip, intensity: as in `TwoViews`.
    """

    name: ClassVar[str] = "simclr"
    title: ClassVar[str] = "SimCLR"
    short: ClassVar[str] = "Sim"
    summary: ClassVar[str] = (
        "Two random views of each image. The network finds the other view of an image among the "
        "views of all images."
    )
    colour: ClassVar[str] = "#E69F00"
    temperature: Positive = 0.5
    hidden: Size = 0
    width: Width = 128

    def head(self) -> nn.Module:
        return ProjectionHead(hidden=self.hidden, width=self.width)

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        per_view = losses.nt_xent(outputs[:, 0], outputs[:, 1], temperature=self.temperature)
        return per_view.mean(), {}
