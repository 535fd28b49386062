"""Modified contrastive predictive coding (paper, section 2.2): local context."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from assl_jax import losses
from assl_jax.errors import lookup
from assl_jax.models.heads import NextFeature
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.route_tiles import RouteTiles

FORMS, REDUCTIONS = ("ratio", "info_nce"), ("mean", "sum")


class PredictionHead(nn.Module):
    """The last tile's feature predicted from the others (Eq. 2), beside all tile features."""

    hidden: int

    @nn.compact
    def __call__(
        self, features: dict, batch: Batch
    ) -> tuple[Float[Array, "b d"], Float[Array, "b m d"]]:
        z = features["pooled"]
        return NextFeature(self.hidden)(z[:, :-1]), z


@dataclasses.dataclass(frozen=True, kw_only=True)
class MCPC(RouteTiles):
    """Predict the last tile's features from those before it on the route (Eq. 2, 3).

    Attributes:
      form: "ratio" is the corrected Eq. 3, "info_nce" a softmax over the same cross-entropies.
      reduction: "mean" or "sum" over the negatives (the paper prints a sum, which grows with the
        mini-batch).
      hidden: width of the GRU; 0 takes the features' own.
    """

    name: ClassVar[str] = "mcpc"
    form: str = "ratio"
    reduction: str = "mean"
    hidden: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting, known in {"form": FORMS, "reduction": REDUCTIONS}.items():
            lookup(dict.fromkeys(known), getattr(self, setting), f"setting {setting} of mcpc")

    def head(self) -> nn.Module:
        return PredictionHead(hidden=self.hidden)

    def loss(self, outputs: tuple[Array, Array], batch: Batch) -> tuple[Array, Metrics]:
        prediction, tiles = outputs
        per_image = losses.mcpc_loss(prediction, tiles, form=self.form, reduction=self.reduction)
        return per_image.mean(), {}
