"""A tiny network and two toy tasks; their steps compile fast."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.objectives.alternating import Alternating
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import Batch, ProxyTask
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training, fit
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import init_state

MADE = []  # one entry for each call of make_batch, which is one for each trace


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
class Brightness(ProxyTask):
    """Predict the mean of the noisy image. An image brighter than `limit` spoils the step."""

    name: ClassVar[str] = "brightness"
    title: ClassVar[str] = "Brightness"
    limit: float = 1e9
    spoil: str = "loss"
    intensity: Intensity = Intensity()

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
        else:  # the loss stays finite, but the gradient of the root of zero does not
            loss = loss + jnp.sqrt(jnp.where(bad, 0.0 * outputs.sum(), 1.0))
        return loss, {"largest": batch.targets.max()}


class Contrast(Brightness):
    """Predict the spread of the noisy image's upper left part."""

    name: ClassVar[str] = "contrast"

    def view(self, images):
        return images[:, :6, :6]

    def target(self, x):
        return x.std((1, 2, 3))


class Log:
    """A `Recorder` that keeps the records as flat dictionaries; `watch` receives each of them."""

    def __init__(self, watch=None):
        self.records, self.watch = [], watch

    def __call__(self, *, task, step, values, steps=0, run=""):
        place = {"task": task, "step": step, "steps": steps, "run": run}
        self.records.append(place | values)
        if self.watch:
            self.watch(self.records[-1])


class Toy:
    Brightness, Contrast, Log, made = Brightness, Contrast, Log, MADE
    backbone = Backbone()
    brightness, contrast = Brightness(), Contrast()
    pool = Alternating((brightness, contrast))
    images = np.random.default_rng(0).integers(0, 200, (40, 8, 8, 1), dtype=np.uint8)
    rows = np.arange(4, 40)

    @classmethod
    def state(cls, objective=None, *, key=0, optimiser=None, variables=None):
        objective, optimiser = objective or cls.pool, optimiser or Optimiser()
        rng = jax.random.key(key)
        return init_state(rng, cls.backbone, objective, optimiser, cls.images, variables)

    @classmethod
    def fit(
        cls,
        objective=None,
        *,
        steps=6,
        state=None,
        images=None,
        devices=1,
        placement="device",
        optimiser=None,
        frozen=None,
        **session,
    ):
        """Train the pool, by default from the state of key 0; `session` goes to `Session`."""
        objective, optimiser = objective or cls.pool, optimiser or Optimiser()
        mesh = make_mesh(jax.devices()[:devices])
        return fit(
            state or cls.state(objective, optimiser=optimiser),
            objective,
            Feed(cls.images if images is None else images, mesh, placement).select(cls.rows),
            Training(steps=steps, batch_size=8, optimiser=optimiser),
            backbone=cls.backbone,
            session=Session(**{"seed": 0, **session}),
            frozen=frozen,
        )
