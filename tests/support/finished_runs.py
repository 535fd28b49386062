"""Parts of finished runs, made without any training."""

import numpy as np
from networks import network_of

from assl_jax.evaluation import stored
from assl_jax.evaluation.export import export_model
from assl_jax.files import write_array
from assl_jax.records import NetworkRecord, Predicted, Results

BACKBONE = {"name": "resnet10", "width": 1 / 16, "stem": "half"}


def network(label, **fields):
    """The record of the network `scratch`, `rotation`, `rotation.self_assl`, ..."""
    own = network_of(label)
    found = {
        "label": label,
        "network": own,
        "backbone": BACKBONE["name"],
        "pretrain": f"pretrain-{label}" if own.trained else None,
        "finetune": f"finetune-{label}",
    }
    return NetworkRecord(**found | fields)


def results_of(networks, **fields):
    """`results.json` of a search on small images."""
    found = {
        "experiment": "mtassl",
        "data": "digits",
        "space": (8, 8),
        "seed": 0,
        "select_on": "cv",
        "metric": "accuracy",
        "labels": 8,
        "test_images": 8,
        "classes": ("a", "b"),
        "stages": "../stages",
        "networks": tuple(networks),
    }
    return Results(**found | fields)


def fine_tuned(stage, variables, dataset, *, kernel, bias, settings=BACKBONE, number=0):
    """Write a fine-tuned network with this head into a stage."""
    head = {"kernel": np.asarray(kernel, np.float32), "bias": np.asarray(bias, np.float32)}
    params = {"backbone": variables["params"], "heads": {"target": {"Dense_0": head}}}
    tree = {"params": params, "batch_stats": variables["batch_stats"]}
    export_model(stage / "model", tree, settings=settings, dataset=dataset, number=number)


def predicted(stage, labels, runs):
    """Write what fine-tuned networks predicted of the test images; returns what `done.json` says.

    `runs` are probabilities `[n, k]` by name.
    """
    (stage / stored.FOLDER).mkdir(parents=True, exist_ok=True)
    stored.write_truth(stage, np.asarray(labels), np.arange(len(labels)))
    for name, probabilities in runs.items():
        write_array(stage / stored.FOLDER / stored.file_of(name), np.asarray(probabilities))
    return Predicted(runs=tuple(runs))
