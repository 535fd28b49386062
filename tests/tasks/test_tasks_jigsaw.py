"""Jigsaw: every tile comes from the cell of its image that the label gives."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from assl_jax.tasks.jigsaw import Jigsaw


def find(tile, image):
    """The first voxel of the standardised `tile` in `image` `[*space]`, by a full search."""
    axes = tuple(range(tile.ndim, 2 * tile.ndim))
    windows = sliding_window_view(image.astype(np.float32), tile.shape)
    mean, std = windows.mean(axes, keepdims=True), windows.std(axes, keepdims=True)
    error = np.abs((windows - mean) / std - tile).mean(axes)
    start = np.unravel_index(error.argmin(), error.shape)
    assert error[start] < 1e-2 < 0.1 < np.partition(error.ravel(), 1)[1]
    return start


@pytest.mark.parametrize(
    "grid, space, cell, tile",
    [(3, (30, 24), (10, 8), (8, 6)), (2, (12, 14, 16), (6, 7, 8), (4, 5, 6))],
)
def test_tiles_in_the_order_of_the_label(make, grid, space, cell, tile):
    """The space is a multiple of the cells, so the grid has only one position."""
    rank, b = len(space), 4
    images = np.random.default_rng(0).integers(0, 256, (b, *space, 1), dtype=np.uint8)
    task = Jigsaw(grid=grid, permutations=20, flip=False)
    tiles, labels = map(np.asarray, make(task, images)[:2])
    assert tiles.shape == (b, grid**rank, *tile, 1)
    raster = list(itertools.product(range(grid), repeat=rank))
    jitters = []
    for shown, label, image in zip(tiles, labels, images[..., 0], strict=True):
        permutation = task.label_table(rank)[label]
        in_order = shown[np.argsort(permutation)]  # undo: position i showed cell permutation[i]
        for index, one in zip(raster, in_order, strict=True):
            start = np.asarray(find(one[..., 0], image))
            np.testing.assert_array_equal(start // cell, index)
            jitters.append(start - np.asarray(index) * cell)
    room = np.asarray(cell) - tile
    assert (np.asarray(jitters) >= 0).all() and (np.asarray(jitters) <= room).all()
    for axis in range(rank):  # every position in the cell occurs
        assert set(np.asarray(jitters)[:, axis]) == set(range(room[axis] + 1))


def test_the_grid_itself_moves(make):
    """One pixel of room and no jitter: the grid starts at 0 or 1 along each axis."""
    images = np.random.default_rng(0).integers(0, 256, (24, 13, 13, 1), dtype=np.uint8)
    task = Jigsaw(grid=3, permutations=4, tile_fraction=1.0, flip=False)
    tiles, labels = map(np.asarray, make(task, images)[:2])
    origins = set()
    for shown, label, image in zip(tiles, labels, images[..., 0], strict=True):
        first = shown[np.argsort(task.label_table(2)[label])][0]
        origins.add(tuple(map(int, find(first[..., 0], image))))
    assert origins == set(itertools.product((0, 1), repeat=2))


def test_every_tile_is_standardised_separately(make):
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    images[:, :12] //= 4
    tiles = np.asarray(make(Jigsaw(permutations=4), images).inputs)
    np.testing.assert_allclose(tiles.mean((2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(tiles.std((2, 3)), 1, atol=1e-2)


def test_flips_and_greyscale_change_whole_images(make):
    """A ramp along the last axis falls in flipped images; the channels of grey images are equal."""
    ramp = np.arange(24)[None, None, :, None] * np.array([4, 7, 10])
    images = np.broadcast_to(ramp, (64, 24, 24, 3)).astype(np.uint8)
    tiles = np.asarray(make(Jigsaw(permutations=4), images).inputs)
    falls = np.diff(tiles, axis=3).mean((2, 3, 4)) < 0
    assert (falls == falls[:, :1]).all() and 16 < falls[:, 0].sum() < 48
    noise = np.random.default_rng(0).integers(0, 256, (64, 24, 24, 3)).astype(np.uint8)
    tiles = np.asarray(make(Jigsaw(permutations=4), noise).inputs)
    grey = np.abs(np.diff(tiles, axis=-1)).max((2, 3, 4)) < 1e-3
    assert (grey == grey[:, :1]).all() and 30 < grey[:, 0].sum() < 55  # two thirds of 64
