"""Weights drawn for a backbone, and a finished run on disk without any training."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finished_runs import BACKBONE, fine_tuned, network, predicted, results_of
from networks import network_of

from assl_jax import records
from assl_jax.data import Dataset
from assl_jax.evaluation.export import export_backbone
from assl_jax.files import write_json
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.records import Best, DataSummary, Estimate, Evaluation, Pretrained, StageRecord

INTENSITY = Intensity(low=0.0, high=16.0, mean=(0.4,), std=(0.3,))
CLASSES = ("cat", "dog", "owl")
ROTATION = network_of("rotation")
# The true class has 1/2 where a network is right and 1/4 where it is wrong, once.
RIGHT = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]])
RUNS = {"seed 0": RIGHT, "seed 1": RIGHT[[0, 1, 2, 1]]}


@pytest.fixture(scope="session")
def state_dicts():
    """Names and shapes ("64x3x7x7") of the state_dicts of torchvision 0.29 and MONAI 1.6."""
    return json.loads(Path(__file__).with_name("state_dicts.json").read_text())


@pytest.fixture(scope="session")
def weights(drawn):
    """`weights(backbone, *space, c)`: its variables, drawn."""

    def draw(backbone, *image):
        return drawn(backbone.init, jnp.zeros((1, *image)))

    return draw


def _evaluation(mean):
    accuracy = Estimate(mean=mean, std=0.012, runs=(mean,))
    loss = Estimate(mean=0.25, std=0.01)
    return Evaluation(metrics={"accuracy": accuracy, "log_loss": loss}, confusion=((1.0,),))


def _dataset(space, c):
    return Dataset(
        name="digits",
        images=np.zeros((2, *space, c), np.uint8),
        labels=np.zeros(2, np.int32),
        class_names=CLASSES,
        unlabeled=np.array([0]),
        labelled_sets=(np.array([0]),),
        test=np.array([1]),
        intensity=INTENSITY,
    )


@pytest.fixture
def make_run(tmp_path, weights):
    """`make_run(space, c, **backbone)`: a workdir with a backbone and the network `rotation`.

    `format` says how its images were read from files, and `calibration` is the network's.
    """

    def make(space=(16, 16), c=1, *, format=(), calibration=None, **settings):
        settings = BACKBONE | settings
        module = make_backbone(**settings)
        variables = weights(module, *space, c)
        shape = jax.eval_shape(module.apply, variables, jnp.zeros((1, *space, c)))["pooled"].shape
        rng = np.random.default_rng(3)
        head = {
            "kernel": rng.normal(size=(shape[1], 3)).astype(np.float32) / 8,
            "bias": rng.normal(size=3).astype(np.float32),
        }
        workdir = tmp_path / "run"
        export_backbone(
            workdir / "backbone",
            variables,
            settings=settings,
            intensity=INTENSITY,
            pool=("rotation",),
        )
        stage = workdir / "stages" / "finetune-rotation-1-2"
        fine_tuned(stage, variables, _dataset(space, c), settings=settings, **head)
        result = predicted(stage, [0, 1, 2, 0], RUNS)
        kind = {"kind": "finetune", "network": ROTATION, "label": "rotation", "settings": {}}
        kind |= {"code": "", "commit": ""}
        records.write(stage / records.DONE, StageRecord(**kind, result=result, seconds=1.0))
        pretrained = {**kind, "kind": "pretrain"}
        pretrained["settings"] = {"training": {"steps": 4321, "batch_size": 32}}
        (workdir / "stages" / "pretrain-rotation-1-2").mkdir()
        records.write(
            workdir / "stages" / "pretrain-rotation-1-2" / records.DONE,
            StageRecord(**pretrained, result=Pretrained(), seconds=1.0),
        )
        rotation = network(
            "rotation",
            pretrain="pretrain-rotation-1-2",
            finetune=stage.name,
            backbone=settings["name"],
            calibration=calibration,
        )
        results = results_of(
            [rotation],
            experiment="pretrain",
            space=tuple(space),
            seed=7,
            labels=100,
            test_images=500,
            classes=CLASSES,
            stages="stages",
            scratch=_evaluation(0.5),
            best=Best(network=ROTATION, evaluation=_evaluation(0.875)),
            images=DataSummary(
                name="digits", shape=(*space, c), dtype="uint8", splits={}, format=dict(format)
            ),
        )
        records.write(workdir / records.RESULTS, results)
        trained = {"steps": 2000, "batch_size": 64}
        write_json(workdir / records.CONFIG, {"data": {"name": "digits"}, "pretrain": trained})
        write_json(workdir / records.ENVIRONMENT, {"command": "main.py --config=c.py"})
        return workdir, module, variables, head

    return make
