"""Rotation: every label belongs to the rotation of its view."""

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.rotate import rotation_classes
from assl_jax.tasks import Batch
from assl_jax.tasks.rotation import Rotation


def is_a_crop(view):
    """Whether a view of a coordinate image is a box that was not rotated."""
    rank = view.ndim - 1
    return all(
        (np.diff(view[..., i], axis=j) == (i == j)).all() for i in range(rank) for j in range(rank)
    )


# Only the crop moves, so a view is a box of its image.
BOX = {"crop_fraction": 7 / 8, "square": False, "shift": 0.0, "flip": False}


@pytest.mark.parametrize(
    "space, size, classes",
    [
        ((16, 16), (14, 14), 4),
        ((16, 24), (14, 21), 2),
        ((8, 8, 8), (7, 7, 7), 10),
        ((8, 16, 16), (7, 14, 14), 6),
        ((8, 16, 24), (7, 14, 21), 4),
    ],
)
def test_views_are_every_turn_of_the_crop_that_keeps_its_shape(
    make, coordinates, as_stored, space, size, classes
):
    images = coordinates(20, *space)
    views, labels = map(np.asarray, make(Rotation(**BOX, intensity=as_stored), images)[:2])
    assert views.shape == (20, classes, *size, len(space))
    np.testing.assert_array_equal(labels, [range(classes)] * 20)
    assert all(is_a_crop(v) for v in views[:, 0])
    for label, ((a, b), quarter) in enumerate(rotation_classes(size)):
        turned = np.rot90(views[:, 0], quarter, (a + 1, b + 1))
        np.testing.assert_array_equal(views[:, label], turned)
        assert is_a_crop(views[0, label]) == (label == 0)
    corners = np.unique(views[(slice(None), 0, *[0] * len(space))], axis=0)
    assert len(corners) > 4 and (corners <= np.subtract(space, size)).all()


@pytest.mark.parametrize("space, classes", [((16, 16), 4), ((8, 8, 8), 10)])
def test_one_rotation_at_random(make, coordinates, as_stored, space, classes):
    task = Rotation(**BOX, all_rotations=False, intensity=as_stored)
    views, labels = map(np.asarray, make(task, coordinates(64, *space))[:2])
    assert views.shape[:2] == labels.shape == (64, 1) and labels.dtype == np.int32
    assert set(labels[:, 0]) == set(range(classes))
    table = rotation_classes(views.shape[2:-1])
    for view, label in zip(views[:, 0], labels[:, 0], strict=True):
        plane, quarter = table[label]
        assert is_a_crop(np.rot90(view, -quarter, plane))


def test_loss_counts_every_view(quick_jit):
    labels = jnp.asarray([[0, 1, 2, 3], [0, 1, 2, 3]])
    logits = 20 * jnp.eye(4)[labels]
    batch = Batch(jnp.zeros((2, 4, 3, 3, 1)), labels)
    loss_of = quick_jit(Rotation().loss)
    loss, metrics = loss_of(logits, batch)
    assert loss < 1e-6 and metrics["accuracy"] == 1
    loss, metrics = loss_of(logits.at[0, 0].set(logits[0, 1]), batch)
    np.testing.assert_allclose(loss, 20 / 8, rtol=1e-5)
    assert metrics["accuracy"] == 7 / 8


@pytest.mark.parametrize(
    "space, size, classes",
    [
        ((16, 24), (16, 16), 4),
        ((6, 20, 14), (6, 14, 14), 6),
        ((18, 8, 12), (12, 8, 12), 6),
        ((20, 8, 12), (20, 8, 12), 4),  # too long
    ],
)
def test_the_two_longest_axes_become_a_square(make, coordinates, as_stored, space, size, classes):
    """So that images with sides of different lengths have quarter turns too."""
    task = Rotation(shift=0.0, flip=False, intensity=as_stored)
    views = np.asarray(make(task, coordinates(3, *space)).inputs)
    assert views.shape == (3, classes, *size, len(space))
    assert all(is_a_crop(view) for view in views[:, 0])


def test_images_are_shifted_and_flipped_before_they_are_turned(make, coordinates, as_stored):
    task = Rotation(intensity=as_stored)  # 16 / 8 pixels to either side
    views = np.asarray(make(task, coordinates(64, 16, 16)).inputs)
    for quarter in range(4):
        np.testing.assert_array_equal(views[:, quarter], np.rot90(views[:, 0], quarter, (1, 2)))
    upright = views[:, 0]
    assert set(upright[:, 8, 0, 0]) == {6.0, 7.0, 8.0, 9.0, 10.0}
    falls = upright[:, 0, 2, 1] > upright[:, 0, 13, 1]
    assert 16 < falls.sum() < 48
    assert not is_a_crop(upright[np.flatnonzero(falls)[0]])
