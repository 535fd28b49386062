"""SC-ASSL: src and mcpc on the same tiles (paper, section 2)."""

import dataclasses
from typing import Annotated, Any, ClassVar

import flax.linen as nn
from jaxtyping import Array

from assl_jax.models.base import POOLED
from assl_jax.models.heads import balanced_copies
from assl_jax.ranges import NonNegative, OneOf
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.src import SRC

BALANCE = ("gradient", "equal")


class SCASSLHead(nn.Module):
    """The heads of src and mcpc on the features of one backbone pass."""

    src: nn.Module
    mcpc: nn.Module
    balance: str
    mcpc_weight: float

    def __call__(self, features: dict, batch: Batch) -> dict:
        first = second = features
        if self.balance == "gradient":
            z = features[POOLED]
            to_src, to_mcpc = balanced_copies(z, self.mcpc_weight)
            first, second = features | {POOLED: to_src}, features | {POOLED: to_mcpc}
        return {"src": self.src(first, batch), "mcpc": self.mcpc(second, batch)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SCASSL(MCPC):
    """The sum of the route classification loss and the predictive loss.

    Attributes:
      balance: "gradient" brings the gradient of the predictive loss, at the pooled features, to the
        norm of that of the route loss: on photographs it is about 1 % of it. "equal" adds the
        losses as they are, as in the paper.
      mcpc_weight: factor of the predictive loss or of its balanced gradient, at least 0; 1 in the
        paper.
      form, reduction, temperature, hidden, projection: as in `MCPC`.
      crop_fraction, overlap, jitter, seed, intensity: as in `RouteTiles`.
    """

    name: ClassVar[str] = "sc_assl"
    title: ClassVar[str] = "SC-ASSL"
    short: ClassVar[str] = "SC"
    summary: ClassVar[str] = (
        "Overlapping tiles along a sampling route. The network predicts the route and, from the "
        "tiles before it, the features of the last tile."
    )
    colour: ClassVar[str] = "#009E73"
    balance: Annotated[str, OneOf(BALANCE)] = "gradient"
    mcpc_weight: NonNegative = 1.0

    @property
    def _src(self) -> SRC:
        return SRC(seed=self.seed)

    def head(self) -> nn.Module:
        return SCASSLHead(
            src=self._src.head(),
            mcpc=super().head(),
            balance=self.balance,
            mcpc_weight=self.mcpc_weight,
        )

    def loss(self, outputs: Any, batch: Batch) -> tuple[Array, Metrics]:
        route, metrics = self._src.loss(outputs["src"], batch)
        prediction, _ = super().loss(outputs["mcpc"], batch)
        total = route + self.mcpc_weight * prediction
        return total, metrics | {"src_loss": route, "mcpc_loss": prediction}
