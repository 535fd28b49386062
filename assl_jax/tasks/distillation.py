"""Distillation: a proxy task goes on while the backbone also learns finished networks' features."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from assl_jax.models.base import POOLED
from assl_jax.models.heads import MLP, flatten_views, unflatten_views
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks.base import Average, Batch, Metrics, ProxyTask


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
class Distillation(ProxyTask):
    """The inputs and the loss of another task, and teachers' features as further targets.

    A projector for each teacher, a two-layer network on the pooled features, predicts the teacher's
    standardised features of the same inputs. Its loss is the mean squared error, which is 1 for a
    projector that always predicts the mean.

    Attributes:
      task: gives the inputs, and its own loss.
      widths: number of features of each teacher.
      weight: of the mean over the teachers' losses.
      own: weight of the task's own loss; 0 learns from the teachers alone.

    Source: features of several teachers as targets, each through its own projector, as in UNIC
    (Sariyildiz et al. 2024, arXiv 2408.05088) and AM-RADIO (Ranzinger et al. 2023, arXiv
    2312.06709). Beyond them, the loss of the task stays.
    """

    name: ClassVar[str] = "distillation"
    title: ClassVar[str] = "Distillation"
    task: ProxyTask
    widths: tuple[int, ...]
    weight: float = 1.0
    own: float = 1.0

    @property
    def intensity(self) -> Intensity:
        return self.task.intensity

    def make_batch(self, rng: jax.Array, images: Any) -> Batch:
        batch = self.task.make_batch(rng, images)
        return batch._replace(targets={"own": batch.targets})

    @property
    def momentum(self) -> float:
        return self.task.momentum if self.own else 0.0

    def teach(
        self, batch: Batch, backbone: nn.Module, *, average: Average | None, frozen: Any
    ) -> Batch:
        """The batch with the standardised features of each teacher, `[b, v, d]`, as targets.

        Args:
          batch, backbone, average: as in `ProxyTask.teach`.
          frozen: a sequence of `Teacher`.
        """
        inputs = flatten_views(batch.inputs)

        def features(teacher: Teacher) -> Array:
            maps: Any = backbone.apply(teacher.variables, inputs, train=False)
            z = (maps[POOLED] - teacher.mean[None]) / teacher.std[None]
            return unflatten_views(z, batch.inputs.shape[0])

        own = batch._replace(targets=batch.targets["own"])
        if self.own:
            if average:
                average = average._replace(head=average.head["own"])
            own = self.task.teach(own, backbone, average=average, frozen=None)
        return batch._replace(targets={"own": own.targets, "teachers": list(map(features, frozen))})

    def head(self) -> nn.Module:
        return Projectors(self.task.head(), self.widths)

    def loss(self, outputs: Any, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        own, projections = outputs
        pairs = zip(projections, batch.targets["teachers"], strict=True)
        errors = jnp.stack([jnp.mean((p - t) ** 2) for p, t in pairs])
        total, shown = self.weight * errors.mean(), {"distillation_loss": errors.mean()}
        if self.own:
            loss, metrics = self.task.loss(own, batch._replace(targets=batch.targets["own"]))
            total, shown = total + self.own * loss, {**metrics, **shown, "task_loss": loss}
        return total, shown

    def label_table(self, rank: int) -> np.ndarray | None:
        return self.task.label_table(rank)


class Projectors(nn.Module):
    """The task's head beside a projector for each teacher.

    Attributes:
      own: the task's head.
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
        return self.own(features, batch._replace(targets=batch.targets["own"])), projections
