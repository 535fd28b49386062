"""A student: one network that learns from fine-tuned ones on the unlabeled images.

Source: SimCLRv2, Chen et al. 2020 (arXiv 2006.10029), section 3.3.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.finetune import Target
from assl_jax.objectives.base import Batch, Metrics
from assl_jax.ranges import NonNegative, Range, Repeats, check
from assl_jax.tasks.base import accuracy
from assl_jax.training.loop import Session, Training, fit
from assl_jax.training.state import TrainState, init_state


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """Whether a search ends with a student, and who teaches it.

    Attributes:
      share: of the steps of a pretraining, whose batches and optimiser it has; 0 trains none.
      networks: at most so many networks teach it, those that are most probably the best.
      least: the smallest probability of being the best with which a network teaches.

    Raises:
      InputError: a number out of range.
    """

    share: NonNegative = 0.0
    networks: Repeats = 3
    least: Annotated[float, Range(at_least=0, at_most=1)] = 0.1

    def __post_init__(self) -> None:
        check(self, "student.")


class Taught(Classification):
    """Learning probabilities: the cross-entropy to those of the teachers."""

    def loss(self, outputs: jax.Array, batch: Batch) -> tuple[Array, Metrics]:
        taught = batch.targets.labels
        loss = optax.softmax_cross_entropy(outputs, taught).mean()
        return loss, {"accuracy": accuracy(outputs, taught.argmax(-1))}


def teach(
    target: Target,
    training: Training,
    first: TrainState,
    rows: Int[np.ndarray, " m"],
    taught: Float[np.ndarray, "n k"],
    session: Session,
) -> TrainState:
    """Train a student that begins as one of its fine-tuned teachers.

    Args:
      target: the images and the task of the fine-tunings.
      training: of the student.
      first: the state of the teacher; its arrays stay valid.
      rows: numbers of the images that it learns from.
      taught: the probabilities of the classes for all n images; other rows are not read.
      session: see `Session`.

    Returns:
      The state after the last step, as a fine-tuning gives it.
    """
    task = Taught(**{f.name: getattr(target.task, f.name) for f in dataclasses.fields(target.task)})
    feed = target.images.select(rows, taught)
    begin: Any = jax.tree.map(jnp.copy, first.variables)
    state = init_state(
        jax.random.key(session.seed),
        *(target.backbone, task, training.optimiser, feed.arrays, begin),
    )
    state.params["heads"][task.name] = jax.tree.map(jnp.copy, first.params["heads"][task.name])
    return fit(state, task, feed, training, backbone=target.backbone, session=session)
