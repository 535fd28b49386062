"""A study of 60 random images and a network of one convolution, which runs in seconds."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.models import Entry
from assl_jax.models.base import batch_norm, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.objectives.penalty import Penalty
from assl_jax.store import LocalStore
from assl_jax.strategies import comparing, mtassl, pretraining
from assl_jax.strategies.computing import stages_of
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.scheduler import Scheduler
from assl_jax.strategies.settings import (
    DistilSettings,
    PretrainSettings,
    SimilaritySettings,
    TargetSettings,
)
from assl_jax.strategies.study import Study
from assl_jax.tasks import make_task
from assl_jax.training.checkpoint import CheckpointPolicy, load_tree
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh


class Backbone(nn.Module):
    features: int = 6
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(self.features, 3, 2, name="conv")(x)
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x))
        return feature_maps({"stage1": x})


ENTRIES = {name: Entry(name, Backbone) for name in ("tiny", "other", "wide")}


def random_dataset():
    """40 unlabeled images, of which 16 are labelled, and 20 for testing."""
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype=np.uint8)
    labels = np.full(60, -1, np.int32)
    labels[24:] = np.arange(36) % 2
    return Dataset(
        name="random",
        images=images,
        labels=labels,
        class_names=("a", "b"),
        unlabeled=np.arange(40),
        labelled_sets=(np.arange(24, 40),),
        test=np.arange(40, 60),
        intensity=intensity_of(images, low=0.0, high=255.0),
    )


DATASET = random_dataset()


@dataclasses.dataclass
class Lab:
    """A study, its stages in one folder, and what they say."""

    study: Study
    evidence: Evidence

    @property
    def stages(self):
        return self.evidence.stages

    @property
    def folder(self):
        return self.stages.store.root

    def carry_out(self, plan):
        """What a plan finds."""
        return Scheduler(self.stages).carry_out(plan)

    def run(self, *specs):
        """Some finished stages; one alone for a single specification."""
        Scheduler(self.stages).run(specs)
        found = [self.stages.get(spec) for spec in specs]
        return found[0] if len(found) == 1 else found

    def pretrain(self, *networks):
        return self.run(*(pretraining.spec(self.study, network) for network in networks))

    def params(self, network):
        return self.variables(network)["params"]

    def variables(self, network):
        return load_tree(self.pretrain(network).folder / "backbone" / "variables")

    def features(self, *networks, subset="unlabeled"):
        return self.run(*(comparing.features(self.study, n, subset) for n in networks))

    def evaluate(self, *networks, **more):
        """The evaluation of a network, or those of several."""

        def plan():
            yield from self.evidence.evaluated(networks, **more)
            return [self.evidence.evaluate(network) for network in networks]

        found = self.carry_out(plan())
        return found[0] if len(found) == 1 else found

    def asked(self, step, read):
        """`read()` after the stages of a step."""

        def plan():
            yield from step
            return read()

        return self.carry_out(plan())

    def search(self, settings):
        return self.carry_out(mtassl.search(self.evidence, settings))


def make_lab(
    folder,
    *,
    steps=4,
    budget="steps",
    mixing="alternate",
    pretrainings=1,
    seeds=2,
    folds=2,
    learning_rate=1e-3,
    learning_rates=(),
    selects=True,
    similarity=(),
    placement="auto",
    tasks=("src", "rotation"),
    reuse_settings=False,
    **more,
):
    """A study in `folder`, with some of its settings changed."""
    data = more.get("dataset", DATASET)
    optimiser = Optimiser(learning_rate=learning_rate)
    if not isinstance(tasks, dict):
        tasks = {name: make_task(name, intensity=DATASET.intensity) for name in tasks}
    settings = {
        "dataset": data,
        "images": Feed(data.images, make_mesh(jax.devices()[:1]), placement),
        "backbone": Backbone(),
        "backbone_settings": {"name": "tiny"},
        "tasks": tasks,
        "pretrain": PretrainSettings(
            training=Training(steps=steps, batch_size=8),
            seeds=pretrainings,
            budget=budget,
            mixing=mixing,
        ),
        "distil": DistilSettings(),
        "penalty": Penalty(weight=2.0, standardise="features"),
        "target": TargetSettings(
            training=Training(steps=2, batch_size=8, optimiser=optimiser),
            seeds=seeds,
            learning_rates=learning_rates,
            folds=folds,
        ),
        "similarity": SimilaritySettings(**{"n": 24, **dict(similarity)}),
        "seed": 0,
        "cross_validated": selects,
        "checkpoints": CheckpointPolicy(checkpoint_every=2),
        "log_every": 1,
    }
    study = Study(**settings | more)
    stages = stages_of([study], LocalStore(folder / "stages"), reuse_settings=reuse_settings)
    return Lab(study, Evidence(study, stages))
