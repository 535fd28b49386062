"""A tiny network with two BatchNorm layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models.base import batch_norm, global_average
from assl_jax.models.conv import Conv
from assl_jax.ops.intensity import Intensity
from assl_jax.training.sharding import make_mesh


class Backbone(nn.Module):
    """Convolution, BatchNorm (its output is `stem`), ReLU, and once more."""

    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Conv(3, 3, 2, name="stem_conv")(x)
        stem = batch_norm(train, jnp.float32, self.bn_momentum, "stem_bn")(x)
        x = Conv(4, 3, 1, name="conv")(nn.relu(stem))
        x = nn.relu(batch_norm(train, jnp.float32, self.bn_momentum, "bn")(x))
        return {"stem": stem, "stage1": x, "pooled": global_average(x)}


@pytest.fixture(scope="session")
def backbone():
    return Backbone()


@pytest.fixture(scope="session")
def intensity():
    return Intensity(mean=(0.4,), std=(0.3,))


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (30, 6, 6, 1), dtype=np.uint8)


@pytest.fixture(scope="session")
def variables(backbone):
    """Weights, and running statistics that are not the default ones."""
    fresh = jax.jit(backbone.init)(jax.random.key(0), jnp.zeros((1, 6, 6, 1)))
    return fresh | {"batch_stats": jax.tree.map(lambda a: a + 0.3, fresh["batch_stats"])}


@pytest.fixture(scope="session", params=[1, 8], ids=lambda n: f"{n} devices")
def mesh(request):
    return make_mesh(jax.devices()[: request.param])
