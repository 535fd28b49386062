"""The target task: labels stay with their images, augmentation is a setting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.evaluation.classification import Classification, Labelled
from assl_jax.tasks import Batch, ProxyTask


def run(task, x, labels):
    return jax.jit(task.make_batch)(jax.random.key(0), (jnp.asarray(x), jnp.asarray(labels)))


@pytest.mark.parametrize("shape", [(30, 6, 5, 2), (30, 4, 5, 6, 3)])
def test_batch_without_augmentation_is_the_images(coordinates, as_stored, shape):
    x = coordinates(*shape[:-1]) + np.arange(30).reshape(-1, *[1] * (len(shape) - 1))
    task = Classification(classes=30, intensity=as_stored)
    batch = run(task, x, np.arange(30))
    np.testing.assert_array_equal(batch.inputs[:, 0], x)
    np.testing.assert_array_equal(batch.targets.labels, np.arange(30))
    assert isinstance(task, ProxyTask) and task.label_table(2) is None
    assert hash(task) == hash(Classification(classes=30, intensity=as_stored))


def test_flip_and_shift(coordinates, as_stored):
    x = coordinates(300, 8, 8)
    flipped = run(Classification(classes=2, flip=True, intensity=as_stored), x, np.zeros(300, int))
    left = np.asarray(flipped.inputs[:, 0, 0, 0, 1])
    assert set(left) == {0, 7}
    shifted = run(Classification(classes=2, shift=2, intensity=as_stored), x, np.zeros(300, int))
    middle = np.asarray(shifted.inputs[:, 0, 4, 4])
    assert {tuple(m) for m in middle - 4} == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}


def test_head_and_loss(drawn):
    batch = Batch(jnp.zeros((3, 1, 4, 4, 1)), Labelled(jnp.asarray([0, 1, 2])))
    task = Classification(classes=3)
    features = {"pooled": jnp.eye(3)[:, None]}
    head = task.head()
    assert drawn(head.init, features, batch)["params"]["Dense_0"]["kernel"].shape == (3, 3)
    params = {"Dense_0": {"kernel": 2 * jnp.eye(3), "bias": jnp.zeros(3)}}
    logits = head.apply({"params": params}, features, batch)
    loss, metrics = task.loss(logits, batch)
    np.testing.assert_allclose(loss, np.log(1 + 2 * np.exp(-2)), rtol=1e-5)
    assert metrics["accuracy"] == 1
    unlabeled = Batch(batch.inputs, Labelled(jnp.asarray([0, 1, -1])))
    assert np.isnan(task.loss(logits, unlabeled)[0])  # -1 must never count as a class
