"""Feature stages, and probes of features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.evaluation.probes import cross_validated_loss
from assl_jax.files import read_array, write_array
from assl_jax.records import Features, Network, Probe
from assl_jax.seeds import derived
from assl_jax.strategies import pretraining
from assl_jax.strategies.scheduler import Stages
from assl_jax.strategies.stage import Stage, StageSpec
from assl_jax.strategies.study import Study
from assl_jax.training.processes import is_primary

FILE = "features.npy"


def features(study: Study, network: Network, subset: str = "unlabeled") -> StageSpec:
    """Features of a fixed set of images, in the stage's `features.npy`.

    Args:
      study: gives the images.
      network: `SCRATCH` for an untrained one. Of two side by side, the second one.
      subset: "unlabeled", "labelled" (all labelled sets, one after the other) or "held_out":
        images of the test set without their labels.
    """
    network = network.teachers[-1] if network.objective == "side_by_side" else network
    compared = study.similarity
    settings: dict[str, Any] = {
        "images": study.inputs["unlabeled"],
        "n": compared.n,
        "layer": compared.layer,
        "reestimate_bn": compared.reestimate_bn,
        "subset": subset,
    }
    if subset != "unlabeled":
        settings[subset] = study.inputs[subset]
    parents = [pretraining.spec(study, network)] if network.has_weights else []
    return study.stage("features", network, settings, parents)


def probe(study: Study, networks: Sequence[Network]) -> StageSpec:
    """A cross-validated linear probe of the labelled images, on features side by side."""
    parents = [features(study, network, "labelled") for network in networks]
    together = Network(objective="side_by_side", teachers=tuple(networks))
    network = together if len(networks) > 1 else networks[0]
    return study.stage("probe", network, {"data": study.inputs["labelled"]}, parents)


def read(stage: Stage) -> np.ndarray:
    """The features `[n, d]` of a finished stage."""
    return read_array(stage.folder / FILE)


def compute_features(study: Study, stages: Stages, spec: StageSpec, folder: Path) -> Features:
    parents = [stages.get(parent) for parent in spec.parents]
    weights = pretraining.load(study, parents[0]) if parents else pretraining.untrained(study)
    x = study.plain_images.features(weights, spec.settings["subset"])
    if is_primary():
        write_array(folder / FILE, x)
    return Features(n=len(x), d=x.shape[1])


def compute_probe(study: Study, stages: Stages, spec: StageSpec, folder: Path) -> Probe:
    """The mean log loss over the labelled sets; None if none of them can be cross-validated."""
    dataset = study.dataset
    x = np.concatenate([read(stages.get(parent)) for parent in spec.parents], axis=1)
    ends = np.cumsum([len(rows) for rows in dataset.labelled_sets])[:-1]
    losses = [
        cross_validated_loss(
            part,
            dataset.labels[rows],
            classes=dataset.num_classes,
            groups=dataset.groups[rows],
            seed=derived(study.seed, "probe"),
        )
        for part, rows in zip(np.split(x, ends), dataset.labelled_sets, strict=True)
    ]
    known = [loss for loss in losses if loss is not None]
    return Probe(loss=float(np.mean(known)) if known else None)
