"""Rubik's cube: every cube is a box of its volume; the labels give the order and the turns."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.tasks import Batch
from assl_jax.tasks.rubiks_cube import RubiksCube

SPACE, CELL, CUBE = (12, 14, 16), (6, 7, 8), (4, 5, 6)
RASTER = list(itertools.product(range(2), repeat=3))


@pytest.fixture(scope="module")
def cubes_batch(make, coordinates, as_stored):
    """A task, its images (coordinates) and a batch of them as NumPy arrays."""
    task, images = RubiksCube(permutations=10, intensity=as_stored), coordinates(64, *SPACE)
    return task, images, jax.tree.map(np.asarray, make(task, images)[:2])


def test_cubes_are_boxes_of_the_volume_in_the_order_and_turn_of_the_label(cubes_batch):
    """The space is a multiple of the cells, so the grid has only one position."""
    task, images, (cubes, targets) = cubes_batch
    assert cubes.shape == (64, 8, *CUBE, 3)
    jitters = []
    for i, permutation in enumerate(task.label_table(3)[targets["permutation"]]):
        for position, cell in enumerate(permutation):
            shown = cubes[i, position]
            first = shown.min((0, 1, 2)).astype(int)  # the box's corner, however it was turned
            box = images[i][tuple(slice(a, a + n) for a, n in zip(first, CUBE, strict=True))]
            about_first, about_last = targets["turns"][i, position]
            if about_first:
                box = np.flip(np.flip(box, 1), 2)
            if about_last:
                box = np.flip(np.flip(box, 0), 1)
            np.testing.assert_array_equal(shown, box)
            jitters.append(first - np.asarray(RASTER[cell]) * CELL)
    room = np.asarray(CELL) - CUBE
    for axis in range(3):  # every position in the cell occurs, and no other
        assert set(np.asarray(jitters)[:, axis]) == set(range(room[axis] + 1))


def test_a_turn_about_an_axis_keeps_the_order_along_it(cubes_batch):
    _, _, (cubes, targets) = cubes_batch
    about_first, about_last = targets["turns"][..., 0], targets["turns"][..., 1]
    rising = np.stack(  # whether a coordinate grows along its own axis, from first to last voxel
        [cubes[:, :, -1, -1, -1, axis] > cubes[:, :, 0, 0, 0, axis] for axis in range(3)]
    )
    np.testing.assert_array_equal(rising[0], ~about_last)
    np.testing.assert_array_equal(rising[1], about_first == about_last)
    np.testing.assert_array_equal(rising[2], ~about_first)


def test_classes_and_turns_are_drawn_independently(cubes_batch):
    _, _, (_, targets) = cubes_batch
    turns = targets["turns"]
    assert turns.shape == (64, 8, 2) and turns.dtype == bool
    assert set(targets["permutation"]) == set(range(10))
    assert np.abs(turns.mean(0) - 0.5).max() < 0.25  # each cube and axis, over 64 volumes
    assert np.abs(turns.mean((1, 2)) - 0.5).max() < 0.5  # no volume has the same bit everywhere
    pairs = np.bincount((turns @ [2, 1]).ravel(), minlength=4)
    assert pairs.min() > 80  # of 512 cubes, 128 expected of each pair


def test_cubes_keep_their_differences_in_intensity(make):
    images = np.full((2, 12, 12, 12, 1), 51, np.uint8)
    images[:, :6] = 204
    cubes = np.asarray(make(RubiksCube(permutations=10), images).inputs)
    values = cubes.reshape(2, 8, -1)
    np.testing.assert_allclose(np.sort(values.mean(-1)), [[-1.2] * 4 + [1.2] * 4] * 2, rtol=1e-5)
    np.testing.assert_allclose(values.std(-1), 0, atol=1e-5)


def test_head_predicts_permutation_and_turns(drawn, quick_jit):
    batch = Batch(jnp.zeros((2, 8, 4, 4, 4, 1)), {})
    z = np.random.default_rng(0).standard_normal((2, 8, 5)).astype(np.float32)
    head = RubiksCube(permutations=10, hidden=7).head()
    variables = drawn(head.init, {"pooled": z}, batch)
    predict = quick_jit(lambda z: head.apply(variables, {"pooled": z}, batch))
    assert jax.tree.map(np.shape, predict(z)) == {"permutation": (2, 10), "turns": (2, 8, 2)}
    swapped = predict(z[:, [1, 0, *range(2, 8)]])
    for name, logits in predict(z).items():  # the order of the cubes counts
        assert np.abs(logits - swapped[name]).max() > 0.01


def test_loss_is_the_weighted_sum(quick_jit):
    permutation = jnp.asarray([2, 0])
    turns = jnp.zeros((2, 8, 2), bool).at[0, 3, 1].set(True)
    batch = Batch(jnp.zeros((2, 8, 4, 4, 4, 1)), {"permutation": permutation, "turns": turns})
    outputs = {  # equal logits for 10 permutations; 3/4 for "not turned" everywhere
        "permutation": jnp.zeros((2, 10)),
        "turns": jnp.full((2, 8, 2), -np.log(3.0), jnp.float32),
    }
    order, turned = np.log(10), (31 * np.log(4 / 3) + np.log(4)) / 32
    for weights in ((0.5, 0.5), (1.0, 0.0), (0.3, 2.0)):
        task = RubiksCube(permutations=10, permutation_weight=weights[0], turn_weight=weights[1])
        loss, metrics = quick_jit(task.loss)(outputs, batch)
        np.testing.assert_allclose(loss, weights[0] * order + weights[1] * turned, rtol=1e-6)
        assert metrics == {"accuracy": 0.5, "turn_accuracy": 31 / 32}
    default = RubiksCube()
    assert (default.permutation_weight, default.turn_weight) == (0.5, 0.5)
