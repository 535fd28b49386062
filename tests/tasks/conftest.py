"""Compiled tasks, a network of one convolution, and images of coordinates."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.base import feature_maps
from assl_jax.models.conv import Conv
from assl_jax.models.heads import flatten_views, unflatten_views
from assl_jax.objectives.base import Weights
from assl_jax.ops.intensity import Intensity


class OneConvolution(nn.Module):
    """A cheap backbone: one convolution gives all feature maps that the heads read."""

    @nn.compact
    def __call__(self, x, *, train=True):
        x = nn.relu(Conv(8, 3, 4)(x))
        return feature_maps({"stage1": x, "stage2": x})


@pytest.fixture(scope="session")
def make(quick_jit):
    """`make(task, images, key=0)`: the batch, from a compiled `make_batch`."""

    @functools.cache
    def compiled(task):
        return quick_jit(task.make_batch)

    def run(task, images, key=0):
        return compiled(task)(jax.random.key(key), jnp.asarray(images))

    return run


@pytest.fixture(scope="session")
def objective(drawn):
    """`objective(task, batch, backbone)`: variables and their loss function, head included."""

    def build(task, batch, backbone=None):
        backbone, head = backbone or OneConvolution(), task.head()

        def features(variables, inputs):
            run = functools.partial(backbone.apply, variables, flatten_views(inputs), train=True)
            maps = run(mutable=["batch_stats"])[0]
            return jax.tree.map(lambda f: unflatten_views(f, inputs.shape[0]), maps)

        variables = {"backbone": drawn(backbone.init, flatten_views(batch.inputs))}
        shapes = jax.eval_shape(features, variables["backbone"], batch.inputs)
        variables["head"] = drawn(head.init, shapes, batch)
        carry = task.init(Weights(variables["backbone"], variables["head"]["params"]), shapes)

        def loss(variables, batch):
            batch = task.prepare(batch, backbone, carry, None)
            outputs = head.apply(
                variables["head"], features(variables["backbone"], batch.inputs), batch
            )
            return task.loss(outputs, batch)

        return variables, loss

    return build


@pytest.fixture(scope="session")
def coordinates():
    """`coordinates(b, *space)`: images whose channels are the coordinates of the pixel."""

    def images(b, *space):
        grid = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1)
        return np.broadcast_to(grid, (b, *grid.shape)).astype(np.int16)

    return images


@pytest.fixture(scope="session")
def as_stored():
    """An intensity whose network inputs equal the stored integers, up to 1024."""
    return Intensity(low=0.0, high=1024.0, mean=(0.0,), std=(1 / 1024,))
