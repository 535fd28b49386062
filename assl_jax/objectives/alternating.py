"""Alternating training: each step trains one objective of a pool."""

import dataclasses
from typing import ClassVar

from assl_jax.objectives.base import Member, Objective


@dataclasses.dataclass(frozen=True)
class Alternating(Objective):
    """One objective a step, drawn uniformly (Doersch & Zisserman 2017).

    Attributes:
      parts: at least one, with different names.
    """

    parts: tuple[Objective, ...]
    name: ClassVar[str] = "alternate"

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(member for part in self.parts for member in part.members)

    @property
    def turns(self) -> tuple[Objective, ...]:
        return self.parts
