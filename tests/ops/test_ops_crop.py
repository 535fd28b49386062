"""Boxes, flips and shifts: the right pixels, inside the image, at every position."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.crop import cut, random_flip, random_shift, random_starts

KEY = jax.random.key(0)


def images(*shape):
    """Every pixel different."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


@pytest.mark.parametrize("space, size", [((5, 7), (2, 3)), ((4, 5, 6), (2, 3, 1))])
def test_cut_is_slicing(space, size):
    x = images(2, *space, 3)
    rng = np.random.default_rng(0)
    starts = np.stack(
        [rng.integers(0, n - s + 1, (2, 4)) for n, s in zip(space, size, strict=True)], -1
    )
    boxes = cut(jnp.asarray(x), jnp.asarray(starts), size)
    assert boxes.shape == (2, 4, *size, 3) and boxes.dtype == x.dtype
    for i, j in itertools.product(range(2), range(4)):
        window = tuple(slice(a, a + s) for a, s in zip(starts[i, j], size, strict=True))
        np.testing.assert_array_equal(boxes[i, j], x[i][window])


@pytest.mark.parametrize("space, size", [((5, 4), (3, 3)), ((3, 6, 2), (1, 4, 2))])
def test_random_starts_reach_every_position_inside(space, size):
    starts = random_starts(KEY, 600, space, size)
    assert starts.shape == (600, 1, len(space)) and jnp.issubdtype(starts.dtype, jnp.integer)
    positions = set(map(tuple, np.asarray(starts[:, 0]).tolist()))
    assert positions == set(
        itertools.product(*(range(n - s + 1) for n, s in zip(space, size, strict=True)))
    )


@pytest.mark.parametrize(
    "shape, given, axis",
    [((64, 3, 4, 2), (), 2), ((64, 3, 2, 4, 1), (), 3), ((64, 3, 2, 4, 1), (1,), 1)],
)
def test_flip_mirrors_some_images_and_leaves_the_others(shape, given, axis):
    x = images(*shape)
    y = np.asarray(random_flip(KEY, jnp.asarray(x), *given))
    mirrored = [(a == b).all() for a, b in zip(y, np.flip(x, axis), strict=True)]
    same = [(a == b).all() for a, b in zip(y, x, strict=True)]
    assert all(np.logical_xor(mirrored, same))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize("space", [(4, 5), (3, 4, 5)])
def test_shift_reflects_at_the_edges_and_reaches_every_offset(space):
    pixels, rank = 1, len(space)
    x = images(300, *space, 1)
    y = np.asarray(jax.jit(functools.partial(random_shift, pixels=pixels))(KEY, jnp.asarray(x)))
    padded = np.pad(x, [(0, 0), *[(pixels, pixels)] * rank, (0, 0)], mode="reflect")
    seen = np.zeros(len(x), int)
    for offset in itertools.product(range(2 * pixels + 1), repeat=rank):
        window = tuple(slice(o, o + n) for o, n in zip(offset, space, strict=True))
        hit = (padded[(slice(None), *window)] == y).reshape(len(x), -1).all(1)
        assert hit.any(), f"offset {offset} never drawn"
        seen += hit
    np.testing.assert_array_equal(seen, 1)
