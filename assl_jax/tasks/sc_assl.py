"""SC-ASSL: src and mcpc on the same tiles (paper, section 2)."""

import dataclasses
from typing import Annotated, Any, ClassVar

import flax.linen as nn
from jaxtyping import Array

from assl_jax.objectives.shared import BALANCE, Shared
from assl_jax.ranges import NonNegative, OneOf
from assl_jax.tasks.base import Batch, Metrics
from assl_jax.tasks.mcpc import MCPC
from assl_jax.tasks.src import SRC


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
    def _shared(self) -> Shared:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(MCPC)}
        return Shared(
            first=SRC(seed=self.seed),
            second=MCPC(**own),
            balance=self.balance,
            weight=self.mcpc_weight,
        )

    def head(self) -> nn.Module:
        return self._shared.head()

    def loss(self, outputs: Any, batch: Batch) -> tuple[Array, Metrics]:
        return self._shared.loss(outputs, batch)
