"""A study small enough to run whole, and one that answers from tables."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.evaluation.uncertainty import Gain, estimate
from assl_jax.models import BACKBONES, Entry
from assl_jax.models.base import batch_norm, feature_maps
from assl_jax.models.conv import Conv
from assl_jax.records import Estimate, Evaluation
from assl_jax.strategies.network import SCRATCH
from assl_jax.strategies.settings import PretrainSettings, SimilaritySettings, TargetSettings
from assl_jax.strategies.setup import Setup
from assl_jax.strategies.stages import StageCache
from assl_jax.strategies.study import Study
from assl_jax.tasks import make_task
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


@pytest.fixture
def make_study(tmp_path, monkeypatch):
    """`make_study(**changes)`: a study in one folder, with some of its settings changed."""
    for name in ("tiny", "other", "wide"):
        monkeypatch.setitem(BACKBONES, name, Entry(name, Backbone))
    dataset = random_dataset()

    def make(
        *,
        folder="run",
        seeds=2,
        folds=2,
        learning_rates=(),
        learning_rate=1e-3,
        selects=True,
        steps=4,
        budget="steps",
        mixing="alternate",
        pretrainings=1,
        metric="accuracy",
        placement="auto",
        similarity=(),
        reuse_settings=False,
        rungs=(),
        **more,
    ):
        workdir = tmp_path / folder
        workdir.mkdir(exist_ok=True)
        data = more.get("dataset", dataset)
        setup = {
            "dataset": data,
            "images": Feed(data.images, make_mesh(jax.devices()[:1]), placement),
            "backbone": Backbone(),
            "backbone_settings": {"name": "tiny"},
            "tasks": {t: make_task(t, intensity=dataset.intensity) for t in ("src", "rotation")},
            "similarity": SimilaritySettings(**{"n": 24, **dict(similarity)}),
            "seed": 0,
            "stages": StageCache(workdir / "stages", reuse_settings),
            "checkpoint_every": 2,
            "log_every": 1,
        }
        optimiser = Optimiser(learning_rate=learning_rate)
        target = TargetSettings(
            training=Training(steps=2, batch_size=8, optimiser=optimiser),
            seeds=seeds,
            learning_rates=learning_rates,
            folds=folds,
        )
        return Study(
            Setup(**(setup | more)),
            PretrainSettings(
                training=Training(steps=steps, batch_size=8),
                seeds=pretrainings,
                budget=budget,
                mixing=mixing,
            ),
            target,
            metric,
            selects,
            rungs,
        )

    return make


def evaluation(accuracy, *, selection=None, std=0.01, **metrics):
    """An evaluation with these means; one fold gave the selection."""
    each = {"accuracy": accuracy, **metrics}
    return Evaluation(
        metrics={
            name: Estimate(mean=mean, std=std, runs=(mean - std, mean + std))
            for name, mean in each.items()
        },
        confusion=((1.0,),),
        selection=None if selection is None else Estimate(mean=selection, std=0.0),
    )


def key_of(network):
    """The pool, or "start"; what another network was trained as long as follows after a bar."""
    if network.start:
        return ("start",)
    return (*network.pool, "|", *network.as_long_as) if network.as_long_as else network.pool


class FakeStudy:
    """Answers from tables, and remembers what had to be trained.

    Pools are tuples. `accuracies` are by pool, `similarities` by pairs of pools in either order.
    The selection of a pool is its accuracy unless `selections` has another value. The AUC is the
    opposite of the accuracy, so that it prefers the other task.
    """

    def __init__(self, accuracies, similarities, selections=None):
        self.accuracies, self.pairs = accuracies, similarities
        self.selections = selections or {}
        self.trained, self.compared, self.looked = [], [], []
        self.prepared = []
        self.parts, self.divisions = {}, {}
        self.comparing = self.evaluating = self
        self.error, self.complements = 0.0, {}
        self.setup = types.SimpleNamespace(
            similarity=SimilaritySettings(),
            dataset=types.SimpleNamespace(unlabeled=range(10_000), labelled_sets=((0,),)),
        )

    def evaluate(self, network):
        pool = key_of(network)
        if pool not in self.trained:
            self.trained.append(pool)
        accuracy = self.accuracies[pool]
        selection = self.selections.get(pool, accuracy)
        return evaluation(accuracy, selection=selection, auc=1 - accuracy)

    baselines = (SCRATCH,)

    def evaluate_start(self):
        return msgspec.UNSET

    def evaluate_all(self, networks, on_folds=()):
        self.prepared += [(key_of(network), repeat) for network, repeat in on_folds]
        for network in networks:
            self.evaluate(network)

    def select_all(self, networks):
        """From the table `parts`, by share and task."""
        self.looked.append([(network.share, *network.pool) for network in networks])
        return [estimate([self.parts[network.share, *network.pool]]) for network in networks]

    def selection(self, network, repeats=(0,)):
        """From the table `divisions` by pool and number, or else the one that is always found."""
        pool = key_of(network)
        always = self.selections.get(pool, self.accuracies[pool])
        return estimate([self.divisions.get((pool, repeat), always) for repeat in repeats])

    def gain(self, before, after, *, on_test=False, repeats=(0,)):
        """From the test accuracies, or from the selections; `error` is that of every gain."""
        self.compared.append((key_of(before), key_of(after), *repeats))
        old, new = (
            self.accuracies[pool] if on_test else self.selections.get(pool, self.accuracies[pool])
            for pool in map(key_of, (before, after))
        )
        return Gain(new - old, self.error, 1.96 * self.error)

    def complement(self, pool, other):
        return self.complements.get((pool.pool, other.pool))

    def similarities(self, networks):
        pools = [network.pool for network in networks]

        def between(a, b):
            return 1.0 if a == b else self.pairs.get((a, b)) or self.pairs[b, a]

        return np.asarray([[between(a, b) for b in pools] for a in pools], float)


@pytest.fixture
def make_evaluation():
    return evaluation


@pytest.fixture
def fake_study():
    return FakeStudy


@pytest.fixture
def steps_taken(monkeypatch):
    """One entry per training step: the task's name."""
    from assl_jax.training import loop

    taken = []
    real = loop.make_step

    def counted(backbone, task, *settings, **more):
        step = real(backbone, task, *settings, **more)

        def run(*args):
            taken.append(task.name)
            return step(*args)

        return run

    monkeypatch.setattr(loop, "make_step", counted)
    return taken
