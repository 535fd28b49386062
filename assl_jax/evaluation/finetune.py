"""Fine-tuning of all layers on the target task, its predictions, and cross-validation folds."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from assl_jax.errors import require
from assl_jax.evaluation.classification import Classification, probabilities
from assl_jax.evaluation.features import features
from assl_jax.evaluation.probes import linear_head
from assl_jax.seeds import derived
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training, fit
from assl_jax.training.processes import broadcast
from assl_jax.training.state import TrainState, init_state

HEADS = ("random", "probe")
SHUFFLES = 20  # of the folds, at most


@dataclasses.dataclass(frozen=True)
class Target:
    """Images and labels, and the network that is fine-tuned on them.

    Attributes:
      backbone, task: the network, and its loss.
      images: a feed of `[n, *space, c]` stored integers.
      labels: `[n]` int32.
      training: the settings of one fine-tuning.
      batch_size: images per batch of predictions.
      head: the linear head at the start, one of `HEADS`: "random", or "probe", the linear probe of
        the pretrained features. A random head's first gradients change features that were good; a
        fitted head's do not (LP-FT, Kumar et al. 2022, arXiv 2202.10054). From scratch the head is
        random.
      balance: what is done about unbalanced classes, one of `BALANCE`: "none"; "sampling", which
        repeats the images of smaller classes until all are equally frequent; or "weights", which
        weights the loss of each image, see `class_weights`.
      groups: `[n]` the patient of each image, for the probe.
    """

    backbone: nn.Module
    task: Classification
    images: Feed
    labels: np.ndarray
    training: Training
    batch_size: int = 256
    head: str = "random"
    balance: str = "none"
    groups: np.ndarray | None = None

    def finetune(
        self,
        variables: dict[str, Any] | None,
        rows: np.ndarray,
        session: Session,
        head: dict[str, Any] | None = None,
    ) -> TrainState:
        """Train all layers and a new linear head on `rows`; returns the state after the last step.

        Args:
          variables: the pretrained backbone; None trains from scratch. The arrays stay valid.
          rows: numbers of the training images.
          session: its seed is that of the new weights too.
          head: parameters that the linear head starts with, see `first_head`; None draws them.
        """
        rows, weights = BALANCE[self.balance](rows, self.labels)
        feed = self.images.select(rows, self.labels, *weights)
        optimiser = self.training.optimiser
        state = init_state(
            jax.random.key(session.seed),
            *(self.backbone, self.task, optimiser, feed.arrays, variables),
        )
        if head:
            state.params["heads"][self.task.name] = jax.tree.map(jnp.copy, head)
        return fit(state, self.task, feed, self.training, backbone=self.backbone, session=session)

    def first_head(
        self, variables: dict[str, Any] | None, rows: np.ndarray
    ) -> dict[str, Any] | None:
        """The parameters of the linear head that a linear probe of `rows` finds.

        They do not depend on a seed. None if the head is random at the start.
        """
        if variables is None or self.head == "random":
            return None
        kernel, bias = linear_head(
            self._features(variables, rows),
            self.labels[rows],
            classes=self.task.classes,
            groups=None if self.groups is None else self.groups[rows],
        )
        # Processors differ in the last digits, and all processes must start from the same numbers.
        shared = broadcast({"kernel": kernel.tolist(), "bias": bias.tolist()})
        return {"Dense_0": {name: jnp.asarray(v, jnp.float32) for name, v in shared.items()}}

    def _features(self, variables: dict[str, Any], rows: np.ndarray) -> Float[np.ndarray, "n d"]:
        return features(
            self.backbone,
            variables,
            self.images,
            rows,
            intensity=self.task.intensity,
            batch_size=self.batch_size,
        )

    def probabilities(self, state: TrainState, rows: np.ndarray) -> Float[np.ndarray, "n k"]:
        """Probabilities of the k classes for the n images `rows`, in evaluation mode."""
        x = self._features(state.variables, rows)
        dense = state.params["heads"][self.task.name]["Dense_0"]
        return probabilities(x, np.asarray(dense["kernel"]), np.asarray(dense["bias"]))


def balanced(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`rows` with those of smaller classes repeated until all classes are equally frequent."""
    own = labels[rows]
    classes, counts = np.unique(own, return_counts=True)
    return np.concatenate([np.resize(rows[own == c], counts.max()) for c in classes])


def class_weights(rows: np.ndarray, labels: np.ndarray) -> Float[np.ndarray, " n"]:
    """The weight of every image in the loss, so that all classes in `rows` count the same.

    Source: the "balanced" class weights of scikit-learn. Of m training images of k classes, an
    image of a class with m_c of them has the weight m / (k m_c); the mean over `rows` is 1. Images
    that are not in `rows` have the weight 0.
    """
    classes, own, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    weights = np.zeros(len(labels), np.float32)
    weights[rows] = len(rows) / (len(classes) * counts[own])
    return weights


# By the value of `Target.balance`: the rows to train on, and arrays that follow the labels in a
# batch. The weights are data and not constants, so that all fine-tunings share a compiled step.
Balanced = tuple[np.ndarray, tuple[np.ndarray, ...]]
BALANCE: dict[str, Callable[[np.ndarray, np.ndarray], Balanced]] = {
    "none": lambda rows, labels: (rows, ()),
    "sampling": lambda rows, labels: (balanced(rows, labels), ()),
    "weights": lambda rows, labels: (rows, (class_weights(rows, labels),)),
}


def stratified_folds(
    labels: np.ndarray,
    folds: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> list[np.ndarray]:
    """Positions of each of `folds` disjoint validation sets, with similar shares of the classes.

    Source: scikit-learn's `StratifiedGroupKFold`. All images of a patient lie in one fold. A
    patient with images of several classes is a patient of each of them. Where all patients of a
    class lie in one fold, so that nothing of it is left to train on, other shuffles are tried.

    Args:
      labels: `[n]` classes; `names` are theirs, for the error message.
      folds: number of sets.
      seed: of the shuffle.
      groups: `[n]` the patient of each image; None means that every image has its own.

    Raises:
      InputError: a class with fewer patients than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    people = {c: len(np.unique(groups[labels == c])) for c in np.unique(labels)}
    rare = min(people, key=people.__getitem__)
    what = "labelled images" if len(np.unique(groups)) == len(labels) else "patients"
    name = names[rare] if names else rare
    require(
        people[rare] >= folds,
        f"class {name} has {people[rare]} {what}, but {folds}-fold "
        f"cross-validation needs {folds}; lower target.folds, label more images, or set "
        "search.select_on=test and no target.learning_rates",
    )
    best: list[np.ndarray] = []
    least = folds * len(people)
    for repeat in range(SHUFFLES):
        own = derived(seed, "shuffle", repeat) if repeat else seed
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=own)
        found = [held_out for _, held_out in splitter.split(labels, labels, groups)]
        trained = sum(len(np.unique(np.delete(labels, fold))) for fold in found)
        if (absent := folds * len(people) - trained) < least:
            best, least = found, absent
        if not absent:
            break
    return best
