"""A tiny network and two toy tasks; their steps compile fast."""

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.objectives.alternating import Alternating
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import Batch, ProxyTask
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training, batch_indices, fit
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
    def state(cls, objective=None, *, key=0, images=None, optimiser=None, variables=None):
        objective, optimiser = objective or cls.pool, optimiser or Optimiser()
        images = cls.images if images is None else images
        rng = jax.random.key(key)
        return init_state(rng, cls.backbone, objective, optimiser, images, variables)

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
        accumulate=1,
        frozen=None,
        **session,
    ):
        """Train the pool, by default from the state of key 0; `session` goes to `Session`."""
        objective, optimiser = objective or cls.pool, optimiser or Optimiser()
        images = cls.images if images is None else images
        mesh = make_mesh(jax.devices()[:devices])
        return fit(
            state or cls.state(objective, optimiser=optimiser, images=images),
            objective,
            Feed(images, mesh, placement).select(cls.rows),
            Training(steps=steps, batch_size=8, optimiser=optimiser, accumulate=accumulate),
            backbone=cls.backbone,
            session=Session(**{"seed": 0, **session}),
            frozen=frozen,
        )

    @classmethod
    def plain_steps(cls, objective, optimiser, steps, jit):
        """Parameters and statistics after steps of optax's own AdamW; gradients alone are compiled.

        Each member has its share of the batch, and the gradients are brought to their mean norm.
        """
        state, members = cls.state(objective, optimiser=optimiser), objective.members
        params, stats = state.params, state.batch_stats
        kernels = jax.tree.map(lambda p: p.ndim > 1, params)
        chain = optax.chain(
            optax.clip_by_global_norm(optimiser.clip_norm or np.inf),
            optax.adamw(optimiser.learning_rate, weight_decay=optimiser.weight_decay, mask=kernels),
        )
        moments = chain.init(params)

        def loss_of(params, stats, batch, task):
            variables = {"params": params["backbone"], "batch_stats": stats}
            maps, new = cls.backbone.apply(
                variables, batch.inputs[:, 0], train=True, mutable=["batch_stats"]
            )
            features = {"pooled": maps["pooled"][:, None]}
            outputs = task.head().apply({"params": params["heads"][task.name]}, features, batch)
            return task.loss(outputs, batch)[0], new["batch_stats"]

        losses = [functools.partial(loss_of, task=task) for task in members]
        gradients = [jit(jax.grad(loss, has_aux=True)) for loss in losses]
        for step in range(steps):
            images = jnp.asarray(cls.images)[batch_indices(cls.rows, 8, step, 0)]
            key = jax.random.fold_in(jax.random.key(0), step)
            grads = {}
            for k, (task, gradient) in enumerate(zip(members, gradients, strict=True)):
                batch = task.make_batch(key, images[k :: len(members)])
                grads[task.name], stats = gradient(params, stats, batch)
            norms = [float(optax.tree.norm(each["backbone"])) for each in grads.values()]
            shares = [np.mean(norms) / norm / len(norms) for norm in norms]
            total = {
                "backbone": jax.tree.map(
                    lambda *g, shares=shares: sum(s * x for s, x in zip(shares, g, strict=True)),
                    *(each["backbone"] for each in grads.values()),
                ),
                "heads": {name: each["heads"][name] for name, each in grads.items()},
            }
            updates, moments = chain.update(total, moments, params)
            params = optax.apply_updates(params, updates)
        return params, stats
