"""cpc: the right patches, predictions that depend only on earlier patches, and the loss."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from assl_jax.tasks import Batch, tiles
from assl_jax.tasks.cpc import CPC

RANKS = pytest.mark.parametrize("rank", [2, 3])
NO_BATCH = Batch(jnp.zeros((1, 1, 4, 4, 1)), ())


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "space, grid, sides, overlap",
    [
        ((26, 34), 3, (10, 14), 1 / 2),
        ((26, 34), 5, (6, 8), 1 / 2),
        ((14, 20, 26), 3, (4, 8, 10), 1 / 2),
        ((64, 64), 3, (20, 20), 1 / 4),
        ((32, 40, 32), 3, (8, 12, 8), 1 / 4),
    ],
)
def test_patches_overlap_and_tile_a_crop(
    make, coordinates, as_stored, monkeypatch, space, grid, sides, overlap
):
    monkeypatch.setattr(tiles, "OVERLAP", Fraction(overlap))
    task, b, rank = CPC(grid=grid, intensity=as_stored), 64, len(space)
    patches = np.asarray(make(task, coordinates(b, *space)).inputs)
    assert patches.shape == (b, grid**rank, *sides, rank)
    # A patch is the box of its side at its first pixel.
    first = patches[(slice(None), slice(None), *[0] * rank)]
    box = coordinates(1, *sides)[0]
    np.testing.assert_array_equal(patches, first[:, :, *[None] * rank] + box)
    corner, stride = first[:, 0], (1 - overlap) * np.asarray(sides)
    for view, cell in enumerate(itertools.product(range(grid), repeat=rank)):
        np.testing.assert_array_equal(first[:, view], corner + cell * stride)
    ends = first[:, -1] + sides
    assert (corner >= 0).all() and (ends <= np.asarray(space)).all()
    np.testing.assert_array_equal(ends - corner, [(grid - 1) * stride + sides] * b)
    assert len(np.unique(corner, axis=0)) > 10


@RANKS
@pytest.mark.parametrize("grid, steps", [(3, 2), (4, 3)])
def test_a_prediction_depends_on_earlier_patches_of_its_line(drawn, quick_jit, rank, grid, steps):
    b, columns, d = 2, grid ** (rank - 1), 5
    z = normal(0, b, grid**rank, d)
    head = CPC(grid=grid, steps=steps, hidden=6).head()
    variables = drawn(head.init, {"pooled": z}, NO_BATCH)
    predict = quick_jit(lambda z: head.apply(variables, {"pooled": z}, NO_BATCH))
    before, lines = jax.tree.map(np.asarray, predict(z))
    assert [p.shape for p in before] == [(b * columns, grid - k, d) for k in range(1, steps + 1)]
    for image, t, column in itertools.product(range(b), range(grid), range(columns)):
        line, view = image * columns + column, t * columns + column
        np.testing.assert_array_equal(lines[line, t], z[image, view])
        moved = z.copy()
        moved[image, view] += 1
        for was, now in zip(before, predict(moved)[0], strict=True):
            changed = (was != np.asarray(now)).any(-1)
            want = np.zeros_like(changed)
            want[line, t:] = True  # the contexts from patch t on
            np.testing.assert_array_equal(changed, want)


@pytest.mark.parametrize("b, rank, grid, steps", [(2, 2, 3, 2), (1, 3, 3, 1), (2, 2, 4, 3)])
def test_loss_by_loops(quick_jit, b, rank, grid, steps):
    """The keys of a prediction k steps ahead are all patches k steps ahead of a context."""
    n, d = b * grid ** (rank - 1), 6
    lines = normal(1, n, grid, d)
    predictions = [2 * normal(1 + k, n, grid - k, d) for k in range(1, steps + 1)]
    losses, shares = [], []
    for k, prediction in enumerate(predictions, 1):
        keys = [(line, t) for line in range(n) for t in range(k, grid)]
        own, hits = [], []
        for line, t in itertools.product(range(n), range(grid - k)):
            scores = {key: prediction[line, t] @ lines[key] / np.sqrt(d) for key in keys}
            own.append(np.log(np.exp(list(scores.values())).sum()) - scores[line, t + k])
            hits.append(max(scores, key=scores.get) == (line, t + k))
        losses.append(np.mean(own))
        shares.append(np.mean(hits))
    task = CPC(grid=grid, steps=steps)
    loss, metrics = quick_jit(task.loss)((predictions, lines), NO_BATCH)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(shares), rtol=1e-5)


@RANKS
def test_the_right_patch_and_no_other_is_rewarded(quick_jit, rank):
    """Predict the features ahead, those of the neighbouring line, and those one patch too near."""
    lines = 4 * normal(2, 2 * 3 ** (rank - 1), 3, 64)
    loss_of = quick_jit(CPC().loss)
    loss, metrics = loss_of(([lines[:, 1:], lines[:, 2:]], lines), NO_BATCH)
    assert loss < 1e-3 and metrics["accuracy"] == 1
    neighbours = np.roll(lines, 1, axis=0)
    for wrong in ([neighbours[:, 1:], neighbours[:, 2:]], [lines[:, :2], lines[:, :1]]):
        loss, metrics = loss_of((wrong, lines), NO_BATCH)
        assert loss > 10 and metrics["accuracy"] < 0.1


@RANKS
def test_an_uninformative_prediction_costs_the_logarithm_of_the_keys(quick_jit, rank):
    n = 2 * 3 ** (rank - 1)
    predictions = [np.zeros((n, 3 - k, 4), np.float32) for k in (1, 2)]
    loss, metrics = quick_jit(CPC().loss)((predictions, normal(3, n, 3, 4)), NO_BATCH)
    np.testing.assert_allclose(loss, (np.log(2 * n) + np.log(n)) / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"], (1 / (2 * n) + 1 / n) / 2, rtol=1e-6)
