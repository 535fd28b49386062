"""Feature stages, and the similarities and effective ranks computed from features."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from assl_jax.evaluation.probes import cross_validated_loss
from assl_jax.evaluation.spectrum import effective_rank
from assl_jax.files import read_array, write_array
from assl_jax.lcka import lcka_matrix
from assl_jax.records import Features, Probe
from assl_jax.seeds import derived
from assl_jax.strategies.network import Network
from assl_jax.strategies.pretraining import Pretraining
from assl_jax.strategies.setup import Setup
from assl_jax.strategies.stages import Stage
from assl_jax.training.processes import is_primary

FILE = "features.npy"


@dataclasses.dataclass(frozen=True)
class Comparing:
    """Compares the networks of a study by their features of fixed plain images.

    Attributes:
      setup: objects and settings shared by all stages; `setup.similarity` selects the features.
      pretraining: gives the backbones.
    """

    setup: Setup
    pretraining: Pretraining

    def similarities(
        self, networks: Sequence[Network], *, subset: str = "unlabeled"
    ) -> Float[np.ndarray, "k k"]:
        """LCKA between the features of every two networks; see `features`."""
        stacked = [self.read(network, subset) for network in networks]
        return np.asarray(lcka_matrix(stacked, estimator=self.setup.similarity.estimator))

    def effective_rank(self, network: Network, *, subset: str = "held_out") -> float:
        """The effective rank of a network's features; see `features`."""
        return effective_rank(self.read(network, subset))

    def probe_loss(self, networks: Sequence[Network]) -> float | None:
        """Cross-validated log loss of a linear probe on the networks' features side by side.

        The images are the labelled ones; the loss is the mean over the labelled sets. See
        `evaluation.probes.cross_validated_loss`.
        """
        dataset = self.setup.dataset
        parents = [self.features(network, subset="labelled") for network in networks]

        def compute(folder: Path) -> Probe:
            x = np.concatenate([read_array(parent.folder / FILE) for parent in parents], axis=1)
            ends = np.cumsum([len(rows) for rows in dataset.labelled_sets])[:-1]
            losses = [
                cross_validated_loss(
                    part,
                    dataset.labels[rows],
                    classes=dataset.num_classes,
                    groups=dataset.groups[rows],
                    seed=derived(self.setup.seed, "probe"),
                )
                for part, rows in zip(np.split(x, ends), dataset.labelled_sets, strict=True)
            ]
            known = [loss for loss in losses if loss is not None]
            return Probe(loss=float(np.mean(known)) if known else None)

        together = Network(tuple(name for network in networks for name in network.pool))
        settings = {"data": self.setup.inputs["labelled"], "seed": self.setup.seed}
        stage = self.setup.stage(
            "probe", together, settings, compute, code=[Comparing], parents=parents
        )
        assert isinstance(stage.record.result, Probe)
        return stage.record.result.loss

    def complement(self, pool: Network, other: Network) -> float | None:
        """How much a second network's features add to what a probe reads from the better one.

        The smaller of the two probes' losses minus the loss of the probe on both, in nats; above 0
        if the features complement each other. If networks are pretrained more than once, a probe
        reads two pretrainings of the pool, or of the other network, side by side: more features
        alone are then no complement. None if nothing can be cross-validated.
        """
        apart = [self.probe_loss(self.pretraining.repeats(n)[:2]) for n in (pool, other)]
        together = self.probe_loss([pool, other])
        known = [loss for loss in apart if loss is not None]
        return None if together is None or len(known) < 2 else min(known) - together

    def features(self, network: Network, *, subset: str = "unlabeled") -> Stage:
        """Features of a fixed set of images, in the stage's `features.npy`.

        Args:
          network: `SCRATCH` for an untrained one.
          subset: "unlabeled", "labelled" (all labelled sets, one after the other) or "held_out":
            images of the test set without their labels.
        """
        setup, compared = self.setup, self.setup.similarity
        parent = self.pretraining.run(network) if network.has_weights else None
        settings: dict[str, Any] = {
            **setup.identity,
            "images": setup.inputs["unlabeled"],
            "n": compared.n,
            "layer": compared.layer,
            "reestimate_bn": compared.reestimate_bn,
        }
        if subset != "unlabeled":
            settings[subset] = setup.inputs[subset]

        def compute(folder: Path) -> Features:
            variables = self.pretraining.load(parent) if parent else self.pretraining.untrained()
            x = setup.plain_images.features(variables, subset)
            if is_primary():
                write_array(folder / FILE, x)
            return Features(n=len(x), d=x.shape[1])

        return setup.stage(
            "features",
            network,
            settings,
            compute,
            code=[Comparing],
            parents=[parent] if parent else [],
        )

    def read(self, network: Network, subset: str) -> Float[np.ndarray, "n d"]:
        """The features themselves; see `features`."""
        return read_array(self.features(network, subset=subset).folder / FILE)
