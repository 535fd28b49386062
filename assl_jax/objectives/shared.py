"""Shared training: one batch and one pass over the backbone for two tasks."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
from jaxtyping import Array

from assl_jax.models.base import POOLED
from assl_jax.models.heads import balanced_copies
from assl_jax.objectives.base import Batch, Member, Metrics

BALANCE = ("gradient", "equal")


class SharedHead(nn.Module):
    """The heads of two tasks on the features of one pass, as submodules of their names.

    Attributes:
      first, second: each with its name.
      balance, weight: as in `Shared`.
    """

    preserve_adopted_names: ClassVar[bool] = True  # Flax would call them `first` and `second`
    first: nn.Module
    second: nn.Module
    balance: str
    weight: float

    def __call__(self, features: dict, batch: Batch) -> Mapping[str, Any]:
        one = two = features
        if self.balance == "gradient":
            copies = balanced_copies(features[POOLED], self.weight)
            one, two = (features | {POOLED: z} for z in copies)
        heads = ((self.first, one), (self.second, two))
        return {str(head.name): head(z, batch) for head, z in heads}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shared:
    """The sum of the losses of two tasks on the same batch.

    Attributes:
      first, second: the tasks; the batch is one that both understand.
      balance: "gradient" brings the gradient of the second loss, at the pooled features, to the
        norm of that of the first. "equal" adds the losses as they are.
      weight: factor of the second loss or of its balanced gradient.
    """

    first: Member
    second: Member
    balance: str
    weight: float

    def head(self) -> nn.Module:
        """Both heads, on one pass."""
        return SharedHead(
            first=self.first.head().clone(name=self.first.name),
            second=self.second.head().clone(name=self.second.name),
            balance=self.balance,
            weight=self.weight,
        )

    def loss(self, outputs: Any, batch: Batch) -> tuple[Array, Metrics]:
        """The sum, and the losses of both."""
        one, metrics = self.first.loss(outputs[self.first.name], batch)
        two, more = self.second.loss(outputs[self.second.name], batch)
        each = {f"{self.first.name}_loss": one, f"{self.second.name}_loss": two}
        return one + self.weight * two, metrics | more | each
