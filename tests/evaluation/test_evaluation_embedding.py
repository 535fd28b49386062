"""The map and the neighbours of features."""

import types

import numpy as np
import pytest

from assl_jax.evaluation.embedding import FEWEST, MAPPED, embed, in_turn, nearest, plane
from assl_jax.ops.intensity import Intensity


@pytest.fixture(scope="module")
def clusters():
    """Features `[40, 6]` in two groups far apart, and the group of each."""
    rng = np.random.default_rng(0)
    side = np.arange(40) % 2
    return (rng.normal(size=(40, 6)) + 20 * side[:, None]).astype(np.float32), side


@pytest.mark.slow
def test_a_map_keeps_groups_apart_and_is_the_same_each_time(clusters):
    x, side = clusters
    points = plane(x, seed=3)
    assert points.shape == (40, 2) and np.array_equal(points, plane(x, seed=3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (side[distances.argmin(1)] == side).all()


@pytest.mark.parametrize("x", [np.zeros((9, 4)), np.arange(9.0)[:, None], np.eye(9)])
def test_degenerate_features_have_a_finite_map(x):
    assert np.isfinite(plane(x)).all()


def test_nearest_by_hand():
    angles = np.radians([0, 10, 25, 180, 190, 205])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    groups = np.arange(6)
    assert nearest(x, np.array([0, 5]), groups, 2).tolist() == [[1, 2], [4, 3]]
    # Image 1 is of the same patient as image 0, which leaves image 2.
    assert nearest(x, np.array([0]), np.array([0, 0, 2, 3, 4, 5]), 1).tolist() == [[2]]
    assert nearest(x, np.array([0]), np.zeros(6), 3).shape == (1, 0)
    assert nearest(x, np.array([0, 1]), groups, 9).shape == (2, 5)


def test_classes_take_turns():
    assert in_turn(np.array([1, 1, 0, 2, 0])).tolist() == [2, 0, 3, 4, 1]


@pytest.mark.parametrize("space", [(4, 4), (2, 4, 4)])
def test_pictures_and_classes_belong_together(clusters, space):
    x, side = clusters
    images = np.broadcast_to(np.arange(50).reshape(-1, *[1] * len(space), 1), (50, *space, 1))
    dataset = types.SimpleNamespace(
        images=images,
        labels=np.r_[np.full(10, -1), side],
        groups=np.arange(50),
        intensity=Intensity(low=0, high=100, mean=(0.0,), std=(1.0,)),
    )
    rows = np.arange(10, 50)
    found = embed(x, rows, dataset, queries=4, neighbours=3)
    assert found.points.shape == (40, 2) and found.classes.tolist() == side.tolist()
    assert found.images.shape == (4, 4, *space, 1)
    shown = (100 * found.images.reshape(4, 4, -1)[..., 0]).round().astype(int)  # row numbers
    assert shown[:, 0].tolist() == [10, 11, 12, 13]
    assert (dataset.labels[shown] == found.named).all()
    assert (found.named == found.named[:, :1]).all()  # the groups are far apart


def test_too_few_or_broken_features_have_no_map(clusters):
    x, _ = clusters
    assert embed(x[: FEWEST - 1], np.arange(FEWEST - 1), None) is None
    assert embed(np.full((20, 2), np.nan), np.arange(20), None) is None
    assert MAPPED >= 100
