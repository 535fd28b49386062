"""Distillation: an objective goes on while the backbone also learns finished networks' features."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from assl_jax.models.base import POOLED
from assl_jax.models.heads import MLP, flatten_views, unflatten_views
from assl_jax.objectives.base import Batch, Carry, Member, Metrics, Weights

TEACHERS = "teachers"  # key of them among the frozen networks of a step


class Teacher(NamedTuple):
    """A finished network.

    Attributes:
      variables: of the backbone; it runs in evaluation mode.
      mean, std: of its features of plain images. They bring the features of all teachers to one
        scale.
    """

    variables: Any
    mean: Float[Array, " d"]
    std: Float[Array, " d"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distilled(Member):
    """The inputs and the loss of a member, and teachers' features as further targets.

    A projector for each teacher, a two-layer network on the pooled features, predicts the teacher's
    standardised features of the same inputs. Its loss is the mean squared error, which is 1 for a
    projector that always predicts the mean.

    Attributes:
      part: gives the inputs, and its own loss.
      widths: number of features of each teacher.
      weight: of the mean over the teachers' losses.
      own: weight of the part's own loss; 0 learns from the teachers alone.

    Source: features of several teachers as targets, each through its own projector, as in UNIC
    (Sariyildiz et al. 2024, arXiv 2408.05088) and AM-RADIO (Ranzinger et al. 2023, arXiv
    2312.06709). Beyond them, the loss of the part stays.
    """

    name: ClassVar[str] = "distillation"
    title: ClassVar[str] = "Distillation"
    part: Member
    widths: tuple[int, ...]
    weight: float = 1.0
    own: float = 1.0

    @property
    def origin(self) -> Member:
        return self.part

    @property
    def passes(self) -> int:
        return len(self.widths) + (self.part.passes if self.own else 0)

    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        return self.part.make_batch(rng, images)

    def head(self) -> nn.Module:
        return Projectors(self.part.head(), self.widths)

    def init(self, weights: Weights, maps: Any) -> Carry:
        own = weights._replace(head=weights.head["own"])
        return self.part.init(own, maps) if self.own else ()

    def prepare(self, batch: Batch, backbone: nn.Module, carry: Carry, frozen: Any) -> Batch:
        """Add the standardised features of each of `frozen["teachers"]`, `[b, v, d]`."""
        inputs = flatten_views(batch.inputs)

        def features(teacher: Teacher) -> Array:
            maps: Any = backbone.apply(teacher.variables, inputs, train=False)
            z = (maps[POOLED] - teacher.mean[None]) / teacher.std[None]
            return unflatten_views(z, batch.inputs.shape[0])

        if self.own:
            batch = self.part.prepare(batch, backbone, carry, frozen)
        taught = list(map(features, frozen[TEACHERS]))
        return batch._replace(frozen={**batch.frozen, TEACHERS: taught})

    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The teachers' loss."""
        pairs = zip(outputs[1], batch.frozen[TEACHERS], strict=True)
        error = jnp.stack([jnp.mean((p - t) ** 2) for p, t in pairs]).mean()
        return self.weight * error, {"distillation_loss": error}

    def value(
        self, maps: Any, outputs: Any, batch: Batch, carry: Carry
    ) -> tuple[Float[Array, ""], Carry, Metrics]:
        total, shown = self.loss(outputs, batch)
        if self.own:
            loss, carry, metrics = self.part.value(maps, outputs[0], batch, carry)
            total, shown = total + self.own * loss, {**metrics, **shown, "task_loss": loss}
        return total, carry, shown

    def after_step(self, carry: Carry, weights: Weights) -> Carry:
        own = weights._replace(head=weights.head["own"])
        return self.part.after_step(carry, own) if self.own else carry

    def adopt(self, head: Any, carry: Carry, old_head: Any, old_carry: Carry) -> tuple[Any, Carry]:
        return head | {"own": old_head}, old_carry if self.own else carry


class Projectors(nn.Module):
    """A member's head beside a projector for each teacher.

    Attributes:
      own: the member's head.
      widths: number of features of each teacher.
    """

    own: nn.Module
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, features: Any, batch: Batch) -> tuple[Any, list[Array]]:
        z = features[POOLED].astype(jnp.float32)
        projections = [
            MLP((2 * z.shape[-1], width), name=f"projector{i}")(z)
            for i, width in enumerate(self.widths)
        ]
        return self.own(features, batch), projections
