"""SC-ASSL: src and mcpc on the same tiles (paper, section 2)."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array

from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.route_tiles import RouteTiles
from assl_jax.tasks.src import SRC


class BothHeads(nn.Module):
    """The route's logits and the prediction, from one backbone pass."""

    src: nn.Module
    mcpc: nn.Module

    def __call__(self, features: dict, batch: Batch) -> dict:
        return {"src": self.src(features, batch), "mcpc": self.mcpc(features, batch)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SCASSL(RouteTiles):
    """Sum of the route classification and the predictive loss.

    Attributes:
      mcpc_weight: factor of the predictive loss; the paper adds the two.
      form, reduction, hidden: as in `MCPC`.
    """

    name: ClassVar[str] = "sc_assl"
    mcpc_weight: float = 1.0
    form: str = "ratio"
    reduction: str = "mean"
    hidden: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._mcpc  # its settings are checked there

    @property
    def _src(self) -> SRC:
        return SRC(seed=self.seed)

    @property
    def _mcpc(self) -> MCPC:
        return MCPC(form=self.form, reduction=self.reduction, hidden=self.hidden)

    def head(self) -> nn.Module:
        return BothHeads(src=self._src.head(), mcpc=self._mcpc.head())

    def loss(self, outputs: dict, batch: Batch) -> tuple[Array, Metrics]:
        route, metrics = self._src.loss(outputs["src"], batch)
        prediction, _ = self._mcpc.loss(outputs["mcpc"], batch)
        total = route + self.mcpc_weight * prediction
        return total, metrics | {"src_loss": route, "mcpc_loss": prediction}
