"""Modified contrastive predictive coding (paper, section 2.2): local context."""

import dataclasses
from typing import Annotated, ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.models.heads import NextFeature, NormalisedMLP
from assl_jax.ranges import OneOf, Positive, Size
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.route_tiles import RouteTiles


class PredictionHead(nn.Module):
    """Predict the last tile's features from the tiles before it (Eq. 2)."""

    hidden: int
    projection: int

    @nn.compact
    def __call__(
        self, features: dict, batch: Batch
    ) -> tuple[Float[Array, "b d"], Float[Array, "b m d"]]:
        """The prediction `[b, d]`, and the (projected) features `[b, m, d]` of all tiles."""
        z = features["pooled"]
        if self.projection:
            z = NormalisedMLP([z.shape[-1], self.projection], name="projection")(z)
        return NextFeature(self.hidden)(z[:, :-1]), z


@dataclasses.dataclass(frozen=True, kw_only=True)
class MCPC(RouteTiles):
    """Predict the last tile's features from the tiles before it on the route (Eq. 2, 3).

    Attributes:
      form: "ratio" is the corrected Eq. 3; "info_nce" is a softmax over the same cross-entropies.
      reduction: "mean" or "sum" over the negatives, for the form "ratio". The paper prints a sum,
        which grows with the mini-batch.
      temperature: divides the cross-entropies of the form "info_nce".
      hidden: width of the GRU; 0 means the width of what it reads.
      projection: width of a projection between the features and the sigmoid, with one normalised
        hidden layer; 0 for none, as in the paper.
      crop_fraction, overlap, jitter, seed, intensity: as in `RouteTiles`.
    """

    name: ClassVar[str] = "mcpc"
    title: ClassVar[str] = "MCPC"
    short: ClassVar[str] = "MC"
    summary: ClassVar[str] = (
        "Overlapping tiles along a sampling route. The network predicts the features of the last "
        "tile from the tiles before it."
    )
    colour: ClassVar[str] = "#56B4E9"
    form: Annotated[str, OneOf(losses.MCPC_FORMS)] = "ratio"
    reduction: Annotated[str, OneOf(losses.MCPC_REDUCTIONS)] = "mean"
    temperature: Positive = 0.1
    hidden: Size = 0
    projection: Size = 0

    def head(self) -> nn.Module:
        return PredictionHead(hidden=self.hidden, projection=self.projection)

    def loss(self, outputs: tuple[Array, Array], batch: Batch) -> tuple[Array, Metrics]:
        prediction, tiles = outputs
        per_image = losses.mcpc_loss(
            prediction,
            tiles,
            form=self.form,
            reduction=self.reduction,
            temperature=self.temperature,
        )
        return per_image.mean(), {}
