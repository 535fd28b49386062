"""Shuffling: equal to a slow loop over windows, and never farther than a window."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.ops.shuffle import random_shuffle, shuffle_windows

KEY = jax.random.key(0)


def slow_shuffle(images, keys, starts, window):
    """One window after another, sorted by its keys."""
    out = np.array(images)
    counts = [n // w for n, w in zip(keys.shape[1:], window, strict=True)]
    for image, result, key, start in zip(images, out, keys, starts, strict=True):
        for cell in np.ndindex(*counts):
            corner = [i * w for i, w in zip(cell, window, strict=True)]
            local = [np.add(corner, p) for p in np.ndindex(*window)]
            order = np.argsort([key[tuple(p)] for p in local])
            for to, source in zip(local, order, strict=True):
                result[tuple(start + to)] = image[tuple(start + local[source])]
    return out


@pytest.mark.parametrize(
    "space, window, counts, channels",
    [
        ((9, 11), (3, 4), (3, 2), 3),
        ((8, 6), (2, 6), (3, 1), 1),
        ((5, 7, 9), (2, 3, 2), (2, 2, 4), 1),
    ],
)
def test_windows_are_shuffled_as_a_slow_loop_does(quick_jit, space, window, counts, channels):
    rng = np.random.default_rng(0)
    x = np.arange(3 * np.prod(space) * channels).reshape(3, *space, channels).astype(np.float32)
    box = [w * k for w, k in zip(window, counts, strict=True)]
    keys = rng.integers(0, 2**32, (3, *box), dtype=np.uint32)
    room = [n - s for n, s in zip(space, box, strict=True)]
    starts = rng.integers(0, room, (3, len(space)), endpoint=True).astype(np.int32)
    run = quick_jit(lambda x, k, s: shuffle_windows(x, k, s, window))
    y = run(jnp.asarray(x), jnp.asarray(keys), jnp.asarray(starts))
    np.testing.assert_array_equal(y, slow_shuffle(x, keys, starts, window))


def test_a_window_by_hand():
    x = jnp.asarray([[10, 20, 30, 40], [50, 60, 70, 80]], jnp.int16)[None, ..., None]
    starts = jnp.asarray([[0, 1]])

    @jax.jit
    def run(keys):
        return shuffle_windows(x, keys, starts, (2, 2))

    def shuffled(keys):
        return run(jnp.asarray([keys], jnp.uint32) * 1000)[0, ..., 0].tolist()

    assert shuffled([[4, 3], [2, 1]]) == [[10, 70, 60, 40], [50, 30, 20, 80]]
    assert shuffled([[7, 7], [7, 7]]) == x[0, ..., 0].tolist()  # equal keys keep their order


@pytest.mark.parametrize(
    "space, fraction, window", [((30, 23), 1 / 6, (5, 4)), ((12, 5, 9), 1 / 20, (2, 2, 2))]
)
def test_random_shuffle_moves_every_voxel_within_a_window(space, fraction, window):
    grid = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1)
    x = np.broadcast_to(grid, (200, *grid.shape))  # every voxel holds its position
    run = jax.jit(functools.partial(random_shuffle, fraction=fraction, probability=1.0))
    y = np.asarray(run(KEY, jnp.asarray(x)))
    flat = [np.ravel_multi_index(tuple(np.moveaxis(v, -1, 0)), space).ravel() for v in y]
    np.testing.assert_array_equal(np.sort(flat), [np.arange(np.prod(space))] * len(x))
    step = np.abs(y - x)
    np.testing.assert_array_equal(step.reshape(-1, len(space)).max(0), np.subtract(window, 1))
    moved = step.any(-1)
    assert moved.any(0).all()  # the grid starts at any position, so every voxel moves in some image
    assert len(np.unique(moved.reshape(len(x), -1), axis=0)) == len(x)
    # The grid has as many whole windows as fit at every start; 1 of n voxels of a window stays.
    box = [(n - w + 1) // w * w for n, w in zip(space, window, strict=True)]
    share = np.prod(box) / np.prod(space) * (1 - 1 / np.prod(window))
    assert moved.mean() == pytest.approx(share, abs=0.01)


def test_an_image_smaller_than_two_windows_is_still_shuffled():
    x = np.arange(32 * 3 * 2, dtype=np.float32).reshape(32, 3, 2, 1)
    run = jax.jit(functools.partial(random_shuffle, probability=1.0))
    y = np.asarray(run(KEY, jnp.asarray(x)))
    assert (x != y).any((1, 2, 3)).mean() > 0.8
