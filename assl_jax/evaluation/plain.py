"""Fixed sets of plain images; networks are compared by their features of these images."""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import numpy as np
from jaxtyping import Float, Int, Shaped

from assl_jax.errors import lookup
from assl_jax.evaluation.features import Variables, features, reestimate_batch_stats
from assl_jax.evaluation.probes import knn_accuracy
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.lcka import lcka_matrix
from assl_jax.ops.intensity import Intensity
from assl_jax.training.feed import Feed
from assl_jax.training.state import TrainState

OBSERVED = 1024  # images on which a second run is compared with the first
WATCHED = 256  # images of each kind on which a training is watched


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainImages:
    """Images without augmentation, and a backbone in evaluation mode.

    Attributes:
      backbone, images, intensity, layer, batch_size: see `features`.
      rows: row numbers of fixed subsets: "unlabeled", "held_out" and "labelled".
      reestimate: whether `fit` re-estimates the running statistics; if not, it changes nothing.
    """

    backbone: nn.Module
    images: Feed
    rows: dict[str, Int[np.ndarray, " n"]]
    intensity: Intensity
    layer: str = "pooled"
    batch_size: int = 256
    reestimate: bool = True

    def fit(self, variables: Variables, *, most: int | None = None) -> Variables:
        """`variables` with running statistics of the unlabeled images, `most` of them at most."""
        if not self.reestimate:
            return variables
        return reestimate_batch_stats(
            self.backbone,
            variables,
            self.images,
            self.rows["unlabeled"][:most],
            intensity=self.intensity,
            batch_size=self.batch_size,
        )

    def features(
        self, variables: Variables, subset: str, *, most: int | None = None
    ) -> Float[np.ndarray, "n d"]:
        """Features `[n, d]` of the images of `subset`, of `most` images at most."""
        return features(
            self.backbone,
            variables,
            self.images,
            lookup(self.rows, subset, "subset")[:most],
            intensity=self.intensity,
            layer=self.layer,
            batch_size=self.batch_size,
        )

    def watch(
        self, labels: Int[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"], classes: int
    ) -> Callable[[TrainState], dict[str, float]]:
        """A function for `Logging.observe` that shows early whether a pretraining goes well.

        It gives the "knn_accuracy" on labelled images, with their classes and patients, and the
        "effective_rank" of the features of held-out images, near 1 for a collapsed network.
        """
        labelled = self.rows["labelled"]
        chosen = np.random.default_rng(0).permutation(len(labelled))[:WATCHED]
        rows = {**self.rows, "watched": labelled[np.sort(chosen)]}
        images, own = dataclasses.replace(self, rows=rows), rows["watched"]

        def observe(state: TrainState) -> dict[str, float]:
            fitted = images.fit(state.variables, most=WATCHED)
            held_out = images.features(fitted, "held_out", most=WATCHED)
            measured = {"effective_rank": effective_rank(held_out)}
            if len(np.unique(groups[own])) > 1:
                x = images.features(fitted, "watched")
                measured["knn_accuracy"] = knn_accuracy(
                    x, labels[own], classes=classes, groups=groups[own]
                )
            return measured

        return observe

    def observer(
        self, frozen: Variables, untrained: Variables, estimator: str
    ) -> Callable[[TrainState], dict[str, float]]:
        """A function for `Logging.observe` that measures f' on held-out images during Self-ASSL.

        It gives "similarity_to_frozen", "similarity_to_untrained", which are networks of these
        variables, and "effective_rank". For the estimator see `lcka_matrix`.
        """

        def held_out_features(variables: Variables) -> Float[np.ndarray, "n d"]:
            fitted = self.fit(variables, most=OBSERVED)
            return self.features(fitted, "held_out", most=OBSERVED)

        others: Sequence[np.ndarray] = [held_out_features(frozen), held_out_features(untrained)]

        def observe(state: TrainState) -> dict[str, float]:
            x = held_out_features(state.variables)
            similar = lcka_matrix([x, *others], estimator=estimator)[0, 1:]
            return {
                "similarity_to_frozen": float(similar[0]),
                "similarity_to_untrained": float(similar[1]),
                "effective_rank": effective_rank(x),
            }

        return observe
