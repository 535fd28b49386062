"""A tiny network and two toy tasks, so that a step compiles in a moment."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import Batch
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Training, fit
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import init_state

MADE = []  # one entry per call of a toy task's make_batch, that is, per trace


class Backbone(nn.Module):
    """One convolution, BatchNorm, ReLU."""

    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(4, 3, 2, name="conv")(x)
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x))
        return {"stage1": x, "pooled": global_average(x)}


class Regression(nn.Module):
    @nn.compact
    def __call__(self, features, batch):
        return nn.Dense(1)(features["pooled"])[:, 0, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness:
    """Predict the mean of the noisy image. An image brighter than `limit` spoils the step."""

    name: ClassVar[str] = "brightness"
    limit: float = 1e9
    spoil: str = "loss"
    intensity: Intensity = Intensity()

    def label_table(self, rank):
        return None

    def make_batch(self, rng, images):
        MADE.append(self.name)
        x = self.intensity(self.view(images))
        x = x + 0.1 * jax.random.uniform(rng, x.shape)
        return Batch(x[:, None], self.target(x))

    def view(self, images):
        return images

    def target(self, x):
        return x.mean((1, 2, 3))

    def head(self):
        return Regression()

    def loss(self, outputs, batch):
        loss = ((outputs - batch.targets) ** 2).mean()
        bad = batch.targets.max() > self.limit
        if self.spoil == "loss":
            loss = jnp.where(bad, jnp.nan, loss)
        else:  # the loss stays finite, its gradient does not: the root of zero
            loss = loss + jnp.sqrt(jnp.where(bad, 0.0 * outputs.sum(), 1.0))
        return loss, {"largest": batch.targets.max()}


class Contrast(Brightness):
    """Predict the spread of the noisy image's upper left part."""

    name: ClassVar[str] = "contrast"

    def view(self, images):
        return images[:, :6, :6]

    def target(self, x):
        return x.std((1, 2, 3))


@pytest.fixture(scope="session")
def toy():
    """The classes and the helper below, as attributes."""
    return Toy


class Toy:
    Brightness, Contrast, made = Brightness, Contrast, MADE
    backbone = Backbone()
    pool = {"brightness": Brightness(), "contrast": Contrast()}
    images = np.random.default_rng(0).integers(0, 200, (40, 8, 8, 1), dtype=np.uint8)
    rows = np.arange(4, 40)

    @classmethod
    def state(cls, tasks=None, *, key=0, optimiser=None, variables=None):
        tasks = list((tasks or cls.pool).values())
        optimiser = optimiser or Optimiser()
        rng = jax.random.key(key)
        return init_state(rng, cls.backbone, tasks, optimiser, cls.images, variables)

    @classmethod
    def fit(
        cls,
        *,
        tasks=None,
        steps=6,
        seed=0,
        images=None,
        devices=1,
        place="device",
        optimiser=None,
        **more,
    ):
        """Train the pool from the state of key 0; `more` goes to `fit`."""
        tasks, optimiser = tasks or cls.pool, optimiser or Optimiser()
        mesh = make_mesh(jax.devices()[:devices])
        more.setdefault("state", cls.state(tasks, optimiser=optimiser))
        return fit(
            backbone=cls.backbone,
            tasks=tasks,
            feed=Feed(cls.images if images is None else images, mesh, place),
            rows=cls.rows,
            training=Training(steps=steps, batch_size=8, optimiser=optimiser),
            seed=seed,
            **more,
        )
