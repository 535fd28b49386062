"""Fine-tuning of all layers, and how good the result is."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float

from assl_jax.errors import require
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.features import features
from assl_jax.training.feed import Feed
from assl_jax.training.loop import SILENT, Logging, Training, fit
from assl_jax.training.state import TrainState, init_state


@dataclasses.dataclass(frozen=True)
class Target:
    """Images and labels, and the network to be fine-tuned on them.

    Attributes:
      backbone, task: the network and its objective.
      images: of `[n, *space, c]` stored integers.
      labels: `[n]` int32.
      training: of one fine-tuning.
      batch_size: images looked at together once it is trained.
    """

    backbone: nn.Module
    task: Classification
    images: Feed
    labels: np.ndarray
    training: Training
    batch_size: int = 256

    def finetune(
        self,
        variables: dict[str, Any] | None,
        rows: np.ndarray,
        *,
        seed: int,
        logging: Logging = SILENT,
    ) -> TrainState:
        """Train all layers and a new linear head on `rows`.

        Args:
          variables: the pretrained backbone; None trains from scratch.
          seed: of the head (and of the backbone, from scratch), batches and augmentation.
        """
        feed = self.images.with_arrays(self.labels)
        state = init_state(
            jax.random.key(seed),
            self.backbone,
            [self.task],
            self.training.optimiser,
            feed.arrays,
            variables,
        )
        return fit(
            state,
            backbone=self.backbone,
            tasks={self.task.name: self.task},
            feed=feed,
            rows=rows,
            training=self.training,
            seed=seed,
            logging=logging,
        )

    def probabilities(self, state: TrainState, rows: np.ndarray) -> Float[np.ndarray, "n k"]:
        """How likely each class is for every image of `rows`."""
        x = features(
            self.backbone,
            state.variables,
            self.images,
            rows,
            intensity=self.task.intensity,
            batch_size=self.batch_size,
        )
        dense = state.params["heads"][self.task.name]["Dense_0"]
        logits = x @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
        return np.asarray(jax.nn.softmax(logits))


def stratified_folds(
    labels: np.ndarray, folds: int, *, seed: int, patients: np.ndarray | None = None
) -> list[np.ndarray]:
    """Positions of each of `folds` disjoint validation sets, the classes spread evenly.

    Args:
      labels: `[n]` classes.
      folds: how many sets.
      seed: draws them.
      patients: `[n]` whom each image is of. All images of a patient lie in one fold, and what is
        spread evenly are patients, by the class that most of a patient's images have (of equally
        many, the lowest). None: each image is of somebody else.

    Raises:
      InputError: fewer than 2 folds, or a class with fewer members (patients, where some have
        several images) than folds.
    """
    require(folds >= 2, f"target.folds={folds}: cross-validation needs at least 2")
    rng = np.random.default_rng([seed, folds])
    groups = np.arange(len(labels)) if patients is None else patients
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    # Numbered in order of appearance: where nobody has a second image, that is the position.
    heads, patient = np.unique(first[inverse], return_inverse=True)
    classes, kind = np.unique(labels, return_inverse=True)
    images = np.zeros((len(heads), len(classes)), np.int64)
    np.add.at(images, (patient, kind), 1)
    of = images.argmax(1)
    counts = np.bincount(of, minlength=len(classes))
    rare = int(counts.argmin())
    what = "labelled images" if len(heads) == len(labels) else "patients"
    require(
        int(counts[rare]) >= folds,
        f"class {classes[rare]} has {counts[rare]} {what}, {folds}-fold cross-validation needs "
        f"{folds}; lower target.folds, label more, or set search.select_on=test",
    )
    order = np.concatenate([rng.permutation(np.flatnonzero(of == c)) for c in range(len(classes))])
    return [np.flatnonzero(np.isin(patient, order[i::folds])) for i in range(folds)]
