"""Fine-tuning of all layers, and how good the result is."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from assl_jax.errors import require
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.features import features
from assl_jax.training.loop import SILENT, Logging, Training, fit
from assl_jax.training.state import TrainState, init_state


@dataclasses.dataclass(frozen=True)
class Target:
    """The labelled data on the devices, and the network to be fine-tuned on it."""

    backbone: nn.Module
    task: Classification
    images: jax.Array
    labels: jax.Array
    training: Training
    mesh: Mesh

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
        data = (self.images, self.labels)
        state = init_state(
            jax.random.key(seed),
            self.backbone,
            [self.task],
            self.training.optimiser,
            data,
            variables,
        )
        return fit(
            state,
            backbone=self.backbone,
            tasks={self.task.name: self.task},
            data=data,
            rows=rows,
            training=self.training,
            seed=seed,
            mesh=self.mesh,
            logging=logging,
        )

    def predict(self, state: TrainState, rows: np.ndarray) -> np.ndarray:
        """The most likely class of every image of `rows`."""
        x = features(
            self.backbone,
            state.variables,
            self.images,
            rows,
            intensity=self.task.intensity,
            mesh=self.mesh,
        )
        dense = state.params["heads"][self.task.name]["Dense_0"]
        logits = x @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
        return logits.argmax(-1)

    def accuracy(self, state: TrainState, rows: np.ndarray) -> float:
        """Share of the images of `rows` that are classified correctly."""
        return float((self.predict(state, rows) == np.asarray(self.labels)[rows]).mean())


def stratified_folds(labels: np.ndarray, folds: int, *, seed: int) -> list[np.ndarray]:
    """Positions of each of `folds` disjoint validation sets, the classes spread evenly.

    Raises:
      InputError: fewer than 2 folds, or a class with fewer members than folds.
    """
    require(folds >= 2, f"target.folds={folds}: cross-validation needs at least 2")
    rng = np.random.default_rng([seed, folds])
    counts = {int(c): int((labels == c).sum()) for c in np.unique(labels)}
    rare = min(counts, key=counts.__getitem__)
    require(
        counts[rare] >= folds,
        f"class {rare} has {counts[rare]} labelled images, {folds}-fold cross-validation needs "
        f"{folds}; lower target.folds, label more, or set search.select_on=test",
    )
    order = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in counts])
    return [np.sort(order[i::folds]) for i in range(folds)]
