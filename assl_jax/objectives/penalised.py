"""Self-ASSL: an objective with a penalty on the similarity to a frozen network."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.objectives.base import Batch, Carry, Member, Metrics, Weights
from assl_jax.objectives.penalty import Penalty, Queue

FIRST = "first"  # key of f_p's variables among the frozen networks of a step


class Penalties(NamedTuple):
    """The carry of a `Penalised` member.

    Attributes:
      queue: see `Penalty`.
      own: the carry of the part.
    """

    queue: Queue | None
    own: Carry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalised(Member):
    """A member whose loss has the `Penalty` added; its name and its head are those of the part.

    Attributes:
      part: gives the inputs, the head and the loss.
      penalty: with a weight above 0.
    """

    part: Member
    penalty: Penalty

    @property
    def name(self) -> str:  # type: ignore[override]  # a class variable elsewhere
        return self.part.name

    @property
    def passes(self) -> int:
        return self.part.passes + 1

    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        return self.part.make_batch(rng, images)

    def head(self) -> nn.Module:
        return self.part.head()

    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        return self.part.loss(outputs, batch)

    def init(self, weights: Weights, maps: Any) -> Penalties:
        d = jax.eval_shape(self._features, maps).shape[-1]
        return Penalties(self.penalty.init_queue(d), self.part.init(weights, maps))

    def _features(self, maps: Any) -> Array:
        return self.penalty.features(jax.tree.map(flatten_views, maps))

    def prepare(self, batch: Batch, backbone: nn.Module, carry: Penalties, frozen: Any) -> Batch:
        """Add the features of the network `frozen["first"]`, `[b, v, d]`."""
        batch = self.part.prepare(batch, backbone, carry.own, frozen)
        maps: Any = backbone.apply(frozen[FIRST], flatten_views(batch.inputs), train=False)
        other = unflatten_views(self.penalty.features(maps), batch.inputs.shape[0])
        return batch._replace(frozen={**batch.frozen, FIRST: other})

    def value(
        self, maps: Any, outputs: Any, batch: Batch, carry: Penalties
    ) -> tuple[Float[Array, ""], Penalties, Metrics]:
        loss, own, metrics = self.part.value(maps, outputs, batch, carry.own)
        other = flatten_views(batch.frozen[FIRST])
        added, similarity, queue = self.penalty(self.penalty.features(maps), other, carry.queue)
        shown = {"proxy_loss": loss, "penalty": added, "similarity": similarity}
        return loss + added, Penalties(queue, own), metrics | shown

    def after_step(self, carry: Penalties, weights: Weights) -> Penalties:
        return carry._replace(own=self.part.after_step(carry.own, weights))

    def adopt(
        self, head: Any, carry: Penalties, old_head: Any, old_carry: Carry
    ) -> tuple[Any, Penalties]:
        return old_head, carry._replace(own=old_carry)

    @property
    def origin(self) -> Member:
        return self.part
