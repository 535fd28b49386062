"""Programs for GPUs and TPUs, lowered on this machine, hold plain operations only.

Nothing is compiled or run. Every task is covered.
"""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import export
from small_tasks import small_task

from assl_jax.evaluation import features
from assl_jax.evaluation.classification import Augmentation, Classification
from assl_jax.models import make_backbone
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import TASKS
from assl_jax.training.feed import Examples
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step

pytestmark = pytest.mark.slow

ELSEWHERE = ("cuda", "tpu")
SHAPES = {2: (2, 32, 32, 1), 3: (2, 16, 16, 16, 1)}
CASES = [
    (name, rank)
    for name in ("target", *TASKS)
    for rank in SHAPES
    if name == "target" or rank in TASKS[name].ranks
]
BACKBONE = make_backbone("resnet10", width=1 / 16, stem="half")
KEY = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
shape = jax.eval_shape


def stored(rank):
    return jax.ShapeDtypeStruct(SHAPES[rank], jnp.uint8)


def training_step(name, rank):
    """The step for a platform, as a function, and shapes of its arguments."""
    if name == "target":
        task = Classification(classes=3, augmentation=Augmentation(shift=1, flip=True))
        examples = stored(rank), jax.ShapeDtypeStruct((2,), jnp.int32)
    else:
        task, examples = small_task(name, rank), stored(rank)
    optimiser = Optimiser(clip_norm=1.0)
    with jax.disable_jit():  # a function that is compiled with options cannot be traced
        state = shape(lambda key: init_state(key, BACKBONE, task, optimiser, examples), KEY)
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    step = functools.partial(make_step, BACKBONE, task, optimiser)
    return step, (state, Examples(examples, None), KEY, rate, None)


def convolutions(tree):
    """How many kernels of convolutions a tree of parameters has."""
    return sum(leaf.ndim >= 4 for leaf in jax.tree.leaves(tree))


def check(step, arguments, platform, count):
    text = export.export(step, platforms=(platform,))(*arguments).mlir_module()
    assert text.count("stablehlo.convolution") == count
    assert "optimization_barrier" not in text
    assert "xla_cpu" not in text and "cse_barrier_expander" not in text


@pytest.mark.parametrize("name, rank", CASES)
def test_a_step(name, rank):
    """A convolution has two gradients; the images need none, so the first layer has one.

    A moving average of the network runs forward only.
    """
    step, arguments = training_step(name, rank)
    state = arguments[0]
    count = 3 * convolutions(state.params) - 1
    count += convolutions(state.carry[name])
    for platform in ELSEWHERE:
        check(step(platform=platform), arguments, platform, count)


@pytest.mark.parametrize("rank", SHAPES)
def test_feature_extraction(rank):
    run = features._apply(BACKBONE, Intensity(), "stage4", make_mesh(jax.devices()[:1]))
    x = jax.ShapeDtypeStruct(SHAPES[rank], jnp.float32)
    variables = shape(BACKBONE.init, KEY, x)
    for platform in ELSEWHERE:
        arguments = variables, Examples(stored(rank), None)
        check(run, arguments, platform, convolutions(variables["params"]))
