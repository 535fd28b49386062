"""Distillation: the values of its losses, and that it learns what the teachers know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.tasks import Batch, make_task
from assl_jax.tasks.byol import BYOL
from assl_jax.tasks.distillation import Distillation, Teacher


@pytest.fixture
def rotation(as_stored):
    return make_task("rotation", all_rotations=False, intensity=as_stored)


def test_loss_by_hand(rotation):
    """Two teachers of 2 and 1 features, one image, one view; a uniform guess of the rotation."""
    task = Distillation(task=rotation, widths=(2, 1), weight=3.0, own=0.5)
    batch = Batch(
        jnp.zeros((1, 1, 4, 4, 1)),
        {
            "own": jnp.zeros((1, 1), jnp.int32),
            "teachers": [jnp.array([[[1.0, 2.0]]]), jnp.array([[[-1.0]]])],
        },
    )
    outputs = jnp.zeros((1, 1, 4)), [jnp.array([[[2.0, 5.0]]]), jnp.array([[[1.0]]])]
    loss, metrics = task.loss(outputs, batch)
    distilled = ((1 + 9) / 2 + 4) / 2
    np.testing.assert_allclose(metrics["task_loss"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(metrics["distillation_loss"], distilled, rtol=1e-6)
    np.testing.assert_allclose(loss, 0.5 * np.log(4) + 3 * distilled, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 12, 12, 1), (3, 8, 8, 8, 1)])
def test_the_targets_are_the_teachers_standardised_features(rotation, coordinates, shape):
    class Means:
        """A backbone whose features are the mean and twice the mean of an image, plus a weight."""

        def apply(self, variables, x, train):
            assert not train
            mean = x.mean(tuple(range(1, x.ndim)))
            return {"pooled": jnp.stack([mean, 2 * mean], 1) + variables}

    images = jnp.asarray(coordinates(*shape[:-1]))
    task = Distillation(task=rotation, widths=(2, 2))
    batch = task.make_batch(jax.random.key(0), images)
    assert set(batch.targets) == {"own"}
    teachers = [Teacher(w, jnp.array([0.1, 0.2]), jnp.array([0.5, 4.0])) for w in (0.0, 1.0)]
    taught = task.teach(batch, Means(), average=None, frozen=teachers).targets["teachers"]
    mean = np.asarray(batch.inputs).mean(tuple(range(2, batch.inputs.ndim)))
    for w, features in enumerate(taught):
        assert features.shape == (3, 1, 2)
        np.testing.assert_allclose(features[..., 0], (mean + w - 0.1) / 0.5, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(features[..., 1], (2 * mean + w - 0.2) / 4, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_task_goes_on_unchanged(rotation, make, objective, coordinates, quick_jit):
    """Its inputs, its head and its own loss are those of the task alone."""
    images = coordinates(2, 12, 12)
    alone, task = make(rotation, images), Distillation(task=rotation, widths=(5,))
    batch = make(task, images)
    np.testing.assert_array_equal(batch.inputs, alone.inputs)
    batch = batch._replace(targets={**batch.targets, "teachers": [jnp.ones((2, 1, 5))]})
    variables, loss = objective(task, batch)
    own, own_loss = objective(rotation, alone)
    kernels = variables["head"]["params"]
    assert set(kernels) == {"own", "projector0"}
    same = {"backbone": variables["backbone"], "head": {"params": kernels["own"]}}
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, own)
    value, metrics = quick_jit(loss)(variables, batch)
    np.testing.assert_allclose(metrics["task_loss"], quick_jit(own_loss)(same, alone)[0], rtol=1e-5)
    np.testing.assert_allclose(
        value, metrics["task_loss"] + metrics["distillation_loss"], rtol=1e-5
    )


def test_from_scratch_the_task_gives_the_inputs_alone(quick_jit):
    """BYOL's loss needs a moving average; without its loss there is none."""
    task = Distillation(task=BYOL(), widths=(3,), own=0.0)
    assert task.momentum == 0.0 and Distillation(task=BYOL(), widths=(3,)).momentum == 0.99
    targets = {"own": (), "teachers": [jnp.ones((2, 2, 3))]}
    batch = Batch(jnp.zeros((2, 2, 4, 4, 1)), targets)
    outputs = ((None, jnp.zeros((2, 2, 8))), [jnp.zeros((2, 2, 3))])
    loss, metrics = task.loss(outputs, batch)
    assert loss == 1.0 and set(metrics) == {"distillation_loss"}
