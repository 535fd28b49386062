"""Rematerialisation: the same weights and results, and less memory for the gradient."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.models import make_backbone

SMALL = {"width": 1 / 16, "stem": "small"}
INPUTS = {"resnet10": (3, 8, 8, 3), "vgg11": (2, 4, 16, 16, 1)}


def both(name, **more):
    """The network without and with rematerialisation."""
    return [make_backbone(name, remat=remat, **SMALL | more) for remat in (False, True)]


def loss_of(backbone, variables, inputs):
    """A function of the parameters: a loss to which every feature map adds, and new statistics."""

    def loss(params):
        whole = {**variables, "params": params}
        maps, new = backbone.apply(whole, inputs, train=True, mutable=["batch_stats"])
        return sum((f.astype(jnp.float32) ** 2).mean() for f in maps.values()), new

    return loss


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_outputs_gradients_and_statistics_are_the_same(name, quick_jit, drawn):
    inputs = np.random.default_rng(0).standard_normal(INPUTS[name]).astype(np.float32)
    plain, remat = both(name)
    variables = drawn(plain.init, inputs)

    def run(backbone, variables, inputs):
        value = jax.value_and_grad(loss_of(backbone, variables, inputs), has_aux=True)
        return value(variables["params"]), backbone.apply(variables, inputs)

    wanted, found = (
        jax.device_get(quick_jit(functools.partial(run, b))(variables, inputs))
        for b in (plain, remat)
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, wanted)
    # The statistics move once, although the block is computed twice.
    ((_, new), _), _ = found
    inside = "stage1_block1" if name == "resnet10" else "stage1_bn1"
    old = variables["batch_stats"][inside]
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), new["batch_stats"][inside], old)
    assert min(jax.tree.leaves(moved)) > 1e-4


def kept(backbone, inputs):
    """Bytes kept for the gradient, without the parameters."""
    variables = jax.eval_shape(backbone.init, jax.random.key(0), inputs)

    def pullback(variables, inputs):
        def pooled(params):
            whole = {**variables, "params": params}
            return backbone.apply(whole, inputs, train=True, mutable=["batch_stats"])[0]["pooled"]

        return jax.vjp(pooled, variables["params"])[1]

    def size(tree):
        return sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(tree))

    return size(jax.eval_shape(pullback, variables, inputs)) - size(variables["params"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, share, space",
    [("resnet18", 0.5, (32, 32)), ("resnet18", 0.5, (8, 16, 16)), ("vgg16", 0.4, (32, 32))],
)
def test_less_is_kept_for_the_gradient(name, share, space):
    inputs = jax.ShapeDtypeStruct((8, *space, 1), jnp.float32)
    plain, remat = (kept(backbone, inputs) for backbone in both(name))
    assert 0 < remat < share * plain
