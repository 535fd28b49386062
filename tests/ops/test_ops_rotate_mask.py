"""Rotations: as many as keep the shape, no two alike. Masks: the right voxels."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.mask import box_mask
from assl_jax.ops.rotate import IDENTITY, rotate, rotation_classes


@pytest.mark.parametrize(
    "space, count",
    [
        ((4, 4), 4),
        ((3, 5), 2),
        ((3, 3, 3), 10),
        ((2, 3, 3), 6),
        ((3, 2, 3), 6),
        ((3, 3, 2), 6),
        ((2, 3, 4), 4),
    ],
)
def test_classes_are_distinct_and_keep_the_shape(space, count):
    classes = rotation_classes(space)
    assert len(classes) == count and classes[0] == IDENTITY
    x = np.random.default_rng(0).integers(0, 9999, (2, *space, 2)).astype(np.int32)
    turned = [np.asarray(rotate(jnp.asarray(x), c)) for c in classes]
    assert all(y.shape == x.shape for y in turned)
    np.testing.assert_array_equal(turned[0], x)
    for a, b in itertools.combinations(turned, 2):
        assert (a != b).any()
    for y in turned:  # nothing lost, and channels and images stay apart
        np.testing.assert_array_equal(
            np.sort(y.reshape(2, -1, 2), 1), np.sort(x.reshape(2, -1, 2), 1)
        )


def test_a_square_has_the_four_quarter_turns_in_order():
    x = np.arange(18, dtype=np.int32).reshape(1, 3, 3, 2)
    for turns, c in enumerate(rotation_classes((3, 3))):
        np.testing.assert_array_equal(rotate(jnp.asarray(x), c)[0], np.rot90(x[0], turns))


@pytest.mark.parametrize(
    "starts, size, space",
    [([[0, 2], [3, 0]], (2, 3), (5, 6)), ([[1, 0, 2], [0, 1, 0]], (1, 2, 3), (3, 4, 5))],
)
def test_box_mask(starts, size, space):
    mask = box_mask(jnp.asarray(starts), size, space)
    want = np.zeros((2, *space, 1), bool)
    for i, start in enumerate(starts):
        want[i][tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = True
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, want)
