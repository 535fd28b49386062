"""Joint training: every step trains all tasks of a pool, each on its share of the batch."""

import dataclasses
from typing import Any, ClassVar

import jax

from assl_jax.objectives.base import Member, Objective


@dataclasses.dataclass(frozen=True)
class Joint(Objective):
    """All members in every step, along the `balanced_mean` of their gradients of the backbone.

    Attributes:
      parts: at least one; part k of n gets the images k, k + n, ... of a batch, see `shares`.
    """

    parts: tuple[Member, ...]
    name: ClassVar[str] = "joint"

    @property
    def members(self) -> tuple[Member, ...]:
        return self.parts


def shares(examples: Any, count: int) -> list[Any]:
    """A batch, divided among `count` members; every array has the batch as its leading axis."""
    if count == 1:
        return [examples]
    return [jax.tree.map(lambda a, k=k: a[k::count], examples) for k in range(count)]
