"""The target task: augmentation, labels and loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.evaluation.classification import Augmentation, Classification
from assl_jax.ops.intensity import Intensity

# Inputs are the stored integers.
STORED = Intensity(low=-1024.0, high=1024.0, mean=(0.5,), std=(1 / 2048,))
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 4, 5, 1), dtype=np.uint8)
LABELS = np.arange(64, dtype=np.int32) % 3


def made(images=IMAGES, intensity=STORED, **augmentation):
    task = Classification(classes=3, augmentation=Augmentation(**augmentation), intensity=intensity)
    batch = task.make_batch(jax.random.key(0), (jnp.asarray(images), jnp.asarray(LABELS)))
    np.testing.assert_array_equal(batch.targets.labels, LABELS)
    assert batch.targets.weights is None
    assert batch.inputs.shape == (64, 1, *images.shape[1:])
    return np.asarray(batch.inputs[:, 0])


def test_without_augmentation_only_the_intensity_changes():
    np.testing.assert_array_equal(made(), IMAGES)
    x = made(intensity=Intensity(mean=(0.5,), std=(0.2,)))
    np.testing.assert_allclose(x, (IMAGES / 255 - 0.5) / 0.2, atol=1e-5)


def test_flip_mirrors_about_half_of_the_images():
    x = made(flip=True)
    same = (x == IMAGES).all((1, 2, 3))
    mirrored = (x == IMAGES[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 <= mirrored.sum() <= 48  # 4 standard deviations of a fair coin


def test_shift_moves_by_up_to_so_many_pixels_and_reflects_at_the_edge():
    x = made(shift=2)
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    moves = {(i, j): padded[:, i : i + 4, j : j + 5] for i in range(5) for j in range(5)}
    found = [[move for move, moved in moves.items() if (moved[n] == x[n]).all()] for n in range(64)]
    assert all(len(fits) == 1 for fits in found)
    rows, columns = np.asarray(found)[:, 0].T
    assert set(rows) == set(columns) == {0, 1, 2, 3, 4}
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.5  # each axis by itself


def test_volumes():
    volumes = np.random.default_rng(1).integers(-1000, 1000, (64, 3, 4, 5, 1), dtype=np.int16)
    x = made(volumes, flip=True)
    assert ((x == volumes) | (x == volumes[:, :, :, ::-1])).all((1, 2, 3, 4)).all()
    assert made(volumes, shift=1).shape[1:] == (3, 4, 5, 1)


def two(labels, *weights):
    """A batch of two images."""
    fields = jnp.asarray(IMAGES[:2]), jnp.asarray(labels, jnp.int32), *map(jnp.asarray, weights)
    return Classification(classes=2).make_batch(jax.random.key(0), fields)


@pytest.mark.parametrize("weights", [(), ([0.5, 1.5],)])
def test_loss_and_its_gradient_by_hand(weights):
    logits = jnp.log(jnp.asarray([[0.75, 0.25], [0.4, 0.6]]))
    gradient_of = jax.value_and_grad(Classification(classes=2).loss, has_aux=True)
    (loss, metrics), gradient = gradient_of(logits, two([0, 0], *weights))
    first, second = weights[0] if weights else (1, 1)
    expected = -(first * np.log(0.75) + second * np.log(0.4)) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    # Half of the weight times the probabilities minus the true ones.
    slopes = [[-0.125 * first, 0.125 * first], [-0.3 * second, 0.3 * second]]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5)
    assert float(metrics["accuracy"]) == 0.5  # no weight changes it


def test_an_unlabelled_image_cannot_pass_for_a_class():
    assert np.isnan(Classification(classes=2).loss(jnp.zeros((2, 2)), two([0, -1]))[0])
