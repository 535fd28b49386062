"""A batch in micro-batches: what is the same as with the whole batch, and what is not."""

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.models import SideBySide
from assl_jax.models.base import global_average
from assl_jax.models.conv import Conv
from assl_jax.objectives.penalised import Penalised
from assl_jax.objectives.penalty import Penalty
from assl_jax.ops.intensity import Intensity
from assl_jax.tasks import Batch, make_task
from assl_jax.training.feed import Examples
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh, replicate, split_batch
from assl_jax.training.state import init_state
from assl_jax.training.step import make_step

INTENSITY = Intensity(mean=(0.4,), std=(0.2,))
IMAGES = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
ROTATION = make_task("rotation", intensity=INTENSITY)


class Plain(nn.Module):
    """A network without BatchNorm."""

    features: int = 4
    stride: int = 2

    @nn.compact
    def __call__(self, x, *, train=False):
        self.variable("batch_stats", "none", jnp.zeros, ())
        x = nn.relu(Conv(self.features, 3, self.stride, use_bias=True, name="conv")(x))
        return {"stage1": x, "pooled": global_average(x)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(type(ROTATION)):
    """Rotation without random crops, so that equal images are equal inputs."""

    name: ClassVar[str] = "rotation"
    shift: float = 0.0
    flip: bool = False


class Pairs(type(make_task("simclr"))):
    """SimCLR whose two views are the image itself."""

    def make_batch(self, rng, images):
        return Batch(jnp.stack([self.intensity(images)] * 2, axis=1), ())


def close(a, b, atol=1e-6):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=atol), a, b)


def compiled(backbone, task, images, accumulate, *, devices=1, frozen=None):
    """A compiled step, its first state, and its other arguments."""
    optimiser = Optimiser(learning_rate=1e-2)
    mesh = make_mesh(jax.devices()[:devices])
    state = init_state(jax.random.key(0), backbone, task, optimiser, images)
    state, frozen = replicate((state, frozen), mesh)
    examples = Examples(replicate(images, mesh), split_batch(np.arange(len(images)), mesh))
    step = make_step(backbone, task, optimiser, accumulate)
    arguments = (examples, replicate(jax.random.key(1), mesh), np.float32(1e-2), frozen)
    return step.lower(state, *arguments).compile(), state, arguments


def take(*about, steps=1, **settings):
    """The state and the metrics after some steps on one batch."""
    step, state, arguments = compiled(*about, **settings)
    for _ in range(steps):
        state, metrics = step(state, *arguments)
    (measured,) = jax.device_get(metrics).values()
    return state, measured


def gradients(state):
    """Adam's first moment after one step is a tenth of the gradient; the backbone's comes first."""
    groups = (state.opt_state["backbone"], state.opt_state["heads"])
    return [10 * m for g in groups for (adam, _) in g.values() for m in jax.tree.leaves(adam.mu)]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 4])
def test_without_batch_norm_micro_batches_equal_the_whole(accumulate):
    """Random crops included: they are drawn for the whole batch."""
    whole, wanted = take(Plain(), ROTATION, IMAGES, 1)
    small, found = take(Plain(), ROTATION, IMAGES, accumulate)
    close(gradients(small), gradients(whole))
    assert max(np.abs(g).max() for g in jax.tree.leaves(gradients(whole))) > 1e-2
    assert set(found) == set(wanted) == {"loss", "gradient_norm", "accuracy"}
    close(found, wanted)


@pytest.mark.slow
def test_batch_norm_is_the_same_if_the_statistics_are(toy):
    """Every image occurs twice, once in each of the two micro-batches."""
    images, task = np.repeat(IMAGES[:4], 2, axis=0), Fixed(intensity=INTENSITY)
    whole, wanted = take(toy.backbone, task, images, 1)
    small, found = take(toy.backbone, task, images, 2)
    close(gradients(small), gradients(whole))
    close(found, wanted)
    # The running statistics move twice: by 1 - 0.9^2 of the way and not by 0.1.
    start = init_state(jax.random.key(0), toy.backbone, task, Optimiser(), images).batch_stats
    went = jax.tree.map(lambda a, b: (a - b) / 0.1, whole.batch_stats, start)
    close(small.batch_stats, jax.tree.map(lambda a, b: a + 0.19 * b, start, went), 1e-5)
    # Four micro-batches of two examples differ, because BatchNorm normalises each of them.
    other, _ = take(toy.backbone, task, images, 4)
    pairs = zip(gradients(other), gradients(whole), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4


@pytest.mark.slow
def test_negatives_come_from_the_micro_batch():
    """Untrained SimCLR tells a view's pair from 2b - 2 others: the loss is near log(2b - 1)."""
    task = Pairs(width=8, temperature=1e3, intensity=INTENSITY)
    losses = [take(Plain(), task, IMAGES, a)[1]["loss"] for a in (1, 4)]
    np.testing.assert_allclose(losses, np.log([31, 7]), atol=5e-3)


@pytest.mark.slow
def test_each_micro_batch_continues_with_the_queue_of_the_one_before(toy):
    """Two micro-batches of 8 images: the queue has the second's features, then the first's."""
    penalty = Penalty(weight=0.5, queue=5, standardise="none")  # 20 rows of 4 features
    task = dataclasses.replace(Fixed(intensity=INTENSITY), all_rotations=False)
    objective = Penalised(part=task, penalty=penalty)
    frozen = init_state(jax.random.key(5), toy.backbone, task, Optimiser(), IMAGES).variables
    step, state, arguments = compiled(toy.backbone, objective, IMAGES, 2, frozen={"first": frozen})
    state, metrics = step(state, *arguments)
    queue = state.carry["rotation"].queue
    assert int(queue.filled) == 16
    inputs = task.make_batch(jax.random.fold_in(jax.random.key(1), 0), jnp.asarray(IMAGES)).inputs
    pooled = toy.backbone.apply(frozen, inputs[:, 0])["pooled"]
    rows = np.concatenate([pooled[1::2], pooled[0::2], np.zeros((4, 4))])
    np.testing.assert_allclose(queue.frozen, rows, atol=1e-5)
    assert metrics["rotation"]["penalty"] == 0.0  # the queue was not yet full
    state, metrics = step(state, *arguments)
    measured = jax.device_get(metrics)["rotation"]
    assert int(state.carry["rotation"].queue.filled) == 20
    assert measured["penalty"] != 0.0
    parts = measured["proxy_loss"] + measured["penalty"]
    assert measured["loss"] == pytest.approx(parts, abs=1e-6)


@pytest.mark.slow
def test_eight_devices_equal_one(toy):
    images = np.tile(IMAGES, (2, 1, 1, 1))
    one, wanted = take(toy.backbone, ROTATION, images, 2, steps=3)
    eight, found = take(toy.backbone, ROTATION, images, 2, steps=3, devices=8)
    close((one.params, one.batch_stats, wanted), (eight.params, eight.batch_stats, found), 1e-5)


@pytest.mark.slow
def test_micro_batches_stay_split_over_the_devices(toy):
    """Devices exchange only sums of gradients and statistics."""
    images = np.tile(IMAGES, (2, 1, 1, 1))
    text = compiled(toy.backbone, ROTATION, images, 2, devices=8)[0].as_text()
    assert "all-reduce" in text
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))


@pytest.mark.slow
def test_without_accumulation_the_program_has_no_loop(toy):
    """And it is the function that a call without the setting gives."""
    optimiser = Optimiser(learning_rate=1e-2)
    plain = make_step(toy.backbone, ROTATION, optimiser)
    assert make_step(toy.backbone, ROTATION, optimiser, 1) is plain
    state = init_state(jax.random.key(0), toy.backbone, ROTATION, optimiser, IMAGES)
    arguments = (state, Examples(IMAGES, np.arange(16)), jax.random.key(1), np.float32(1.0))
    assert "scan" not in str(plain.trace(*arguments).jaxpr)
    parted = make_step(toy.backbone, ROTATION, optimiser, 2)
    assert "scan" in str(parted.trace(*arguments).jaxpr)


def temporary(backbone, accumulate=1):
    """Bytes that a step needs in addition to its arguments."""
    images = np.zeros((32, 16, 16, 1), np.uint8)
    step = compiled(backbone, ROTATION, images, accumulate)[0]
    return step.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_micro_batches_need_less_memory():
    backbone = Plain(features=32, stride=1)
    assert temporary(backbone, 4) < 0.4 * temporary(backbone)


class Deep(nn.Module):
    """Blocks of four layers, recomputed for the gradient or not."""

    remat: bool = False

    @nn.compact
    def __call__(self, x, *, train=False):
        self.variable("batch_stats", "none", jnp.zeros, ())

        def block(net, x, name):
            for layer in "abcd":
                x = jnp.tanh(Conv(4, 1, name=name + layer)(x))
            return x

        block = nn.remat(block, static_argnums=2) if self.remat else block
        for name in "1234":
            x = block(self, x, name)
        return {"stage1": x, "pooled": global_average(x)}


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 2])
def test_recomputing_takes_less_memory_on_every_platform(copies):
    """XLA's CPU compiler would undo it."""
    plain, remat = (SideBySide(Deep(remat=r), copies) for r in (False, True))
    if copies == 1:
        plain, remat = plain.backbone, remat.backbone
    assert temporary(remat) < 0.7 * temporary(plain)


@pytest.mark.parametrize(
    "sizes, says",
    [
        ({"accumulate": 0}, "accumulate=0 must be at least 1"),
        ({"accumulate": 3}, "batch_size=8 must be a multiple of accumulate=3"),
        ({"accumulate": 8}, "batch_size=8 must be a multiple of accumulate=8"),
    ],
)
def test_bad_sizes(sizes, says):
    with pytest.raises(InputError, match=says) as error:
        Training(steps=1, batch_size=8, **sizes)
    assert "\n" not in str(error.value)


def test_micro_batches_that_do_not_divide_over_the_devices(toy):
    with pytest.raises(InputError, match=r"\(batch_size / accumulate\)=4 does not .* 8 devices"):
        toy.fit(devices=8, accumulate=2)


@pytest.mark.slow
def test_the_loop_accumulates(toy):
    """With BatchNorm, micro-batches give other weights than the whole batch."""
    whole, small = (toy.fit(toy.brightness, steps=3, accumulate=a) for a in (1, 4))
    assert int(small.step) == 3 and int(small.opt_state["backbone"]["brightness"][0].count) == 3
    kernels = [s.params["backbone"]["conv"]["kernel"] for s in (whole, small)]
    assert 1e-5 < np.abs(kernels[0] - kernels[1]).max() < 0.05
