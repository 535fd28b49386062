"""A study small enough to run whole: random images, a tiny network, two real proxy tasks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.data import Dataset
from assl_jax.data.dataset import intensity_of
from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.strategies.settings import SimilaritySettings, TargetSettings
from assl_jax.strategies.stages import StageCache
from assl_jax.strategies.study import Study
from assl_jax.tasks import make_task
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training
from assl_jax.training.sharding import make_mesh


class Backbone(nn.Module):
    features: int = 6
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(self.features, 3, 2, name="conv")(x)
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x))
        return {"stage1": x, "pooled": global_average(x)}


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
def make_study(tmp_path):
    """`make_study(**changes)`: a study in one folder, with some of its settings changed."""
    dataset = random_dataset()

    def make(
        *,
        folder="run",
        seeds=2,
        folds=2,
        n=24,
        layer="pooled",
        reestimate_bn=True,
        place="auto",
        **more,
    ):
        workdir = tmp_path / folder
        workdir.mkdir(exist_ok=True)
        data = more.get("dataset", dataset)
        settings = {
            "dataset": data,
            "images": Feed(data.images, make_mesh(jax.devices()[:1]), place),
            "backbone": Backbone(),
            "backbone_settings": {"name": "tiny"},
            "tasks": {t: make_task(t, intensity=dataset.intensity) for t in ("src", "rotation")},
            "pretraining": Training(steps=4, batch_size=8),
            "budget": "total",
            "target": TargetSettings(
                training=Training(steps=2, batch_size=8), seeds=seeds, folds=folds
            ),
            "similarity": SimilaritySettings(n=n, layer=layer, reestimate_bn=reestimate_bn),
            "seed": 0,
            "stages": StageCache(workdir / "stages"),
            "checkpoint_every": 2,
            "log_every": 1,
        }
        return Study(**(settings | more))

    return make


@pytest.fixture
def steps_taken(monkeypatch):
    """One entry per training step: the task's name."""
    from assl_jax.training import loop

    taken = []
    real = loop.make_step

    def counted(backbone, task, *settings):
        step = real(backbone, task, *settings)

        def run(*args):
            taken.append(task.name)
            return step(*args)

        return run

    monkeypatch.setattr(loop, "make_step", counted)
    return taken
