"""Rotations: all that keep the shape, all distinct. Masks: the right voxels."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.mask import box_mask, random_boxes
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
    for y in turned:  # the same values in every channel of every image
        np.testing.assert_array_equal(
            np.sort(y.reshape(2, -1, 2), 1), np.sort(x.reshape(2, -1, 2), 1)
        )


def test_a_square_has_the_four_quarter_turns_in_order():
    x = np.arange(18, dtype=np.int32).reshape(1, 3, 3, 2)
    for turns, c in enumerate(rotation_classes((3, 3))):
        np.testing.assert_array_equal(rotate(jnp.asarray(x), c)[0], np.rot90(x[0], turns))


@pytest.mark.parametrize(
    "starts, sizes, space",
    [
        ([[0, 2], [3, 0]], (2, 3), (5, 6)),
        ([[1, 0, 2], [0, 1, 0]], (1, 2, 3), (3, 4, 5)),
        ([[0, 2], [3, 0], [1, 1]], [[2, 3], [1, 6], [0, 4]], (5, 6)),  # the third is empty
    ],
)
def test_box_mask(starts, sizes, space):
    given = sizes if isinstance(sizes, tuple) else jnp.asarray(sizes)  # one for each image
    mask = box_mask(jnp.asarray(starts), given, space)
    want = np.zeros((len(starts), *space, 1), bool)
    for i, (start, size) in enumerate(
        zip(starts, np.broadcast_to(sizes, np.shape(starts)), strict=True)
    ):
        want[i][tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = True
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, want)


@pytest.mark.slow
@pytest.mark.parametrize("space", [(9, 12), (5, 6, 7)])
def test_random_boxes_have_every_size_at_every_position(space):
    b, rank = 800, len(space)
    least = np.tile([2, 1, 3][:rank], (b, 1))
    most = np.tile([4, 3, 3][:rank], (b, 1))
    least[::2] += 1
    most[::2] += 1
    masks = random_boxes(jax.random.key(0), jnp.asarray(least), jnp.asarray(most), space, count=1)
    assert masks.shape == (b, *space, 1)
    corners, sizes = np.zeros((2, b, rank), int)
    for i, mask in enumerate(np.asarray(masks)[..., 0]):
        inside = np.argwhere(mask)
        corners[i], sizes[i] = inside.min(0), np.ptp(inside, axis=0) + 1
        assert len(inside) == sizes[i].prod()  # a full box
    for axis in range(rank):
        for some in (slice(0, None, 2), slice(1, None, 2)):  # each image has its own range
            low, high = least[some][0, axis], most[some][0, axis]
            assert set(sizes[some, axis]) == set(range(low, high + 1))
            assert set(corners[some, axis]) == set(range(space[axis] - low + 1))
    assert ((corners == 0).any(0) & (corners + sizes == space).any(0)).all()


@pytest.mark.slow
def test_another_box_follows_with_its_probability():
    """Boxes of one pixel hardly ever overlap, so the pixels count the boxes."""
    one = jnp.ones((400, 2), jnp.int32)
    boxes = functools.partial(random_boxes, jax.random.key(0), one, one, (60, 60))
    pixels = boxes(count=3, another_probability=0.5).sum((1, 2, 3))
    shares = np.bincount(pixels, minlength=4)[1:] / 400
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.08)
    for probability, count in [(0.0, 1), (1.0, 5)]:
        masks = boxes(another_probability=probability)
        assert np.median(masks.sum((1, 2, 3))) == masks.sum((1, 2, 3)).max() == count
