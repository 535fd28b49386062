"""The images and the task of each step."""

import numpy as np
import pytest

from assl_jax.training.loop import batch_indices, schedule

ROWS = np.asarray([3, 5, 8, 13, 21, 34, 55, 89, 144, 233])


def epoch(number, *, rows=ROWS, batch=3, seed=0):
    per_epoch = len(rows) // batch
    steps = range(number * per_epoch, (number + 1) * per_epoch)
    return np.concatenate([batch_indices(rows, batch, step, seed) for step in steps])


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 10])
def test_no_image_twice_in_an_epoch(batch):
    for number in range(3):
        seen = epoch(number, batch=batch)
        assert len(seen) == len(ROWS) // batch * batch == len(set(seen.tolist()))
        assert set(seen.tolist()) <= set(ROWS.tolist())


def test_every_epoch_leaves_out_another_remainder():
    left_out = [set(ROWS.tolist()) - set(epoch(number).tolist()) for number in range(40)]
    assert all(len(left) == 1 for left in left_out)
    assert set.union(*left_out) == set(ROWS.tolist())


def test_order_changes_with_epoch_and_seed_alone():
    assert epoch(0).tolist() != epoch(1).tolist()
    assert epoch(0).tolist() != epoch(0, seed=1).tolist()
    np.testing.assert_array_equal(epoch(1), epoch(1))
    # The batch of any step can be computed without those before it, as resuming needs.
    np.testing.assert_array_equal(batch_indices(ROWS, 3, 4, 0), epoch(1)[3:6])


@pytest.mark.parametrize("batch", [11, 16, 25])
def test_a_small_set_is_spread_evenly_over_the_batch(batch):
    for step in range(3):
        chosen = batch_indices(ROWS, batch, step, 0)
        assert chosen.dtype == np.int32 and len(chosen) == batch
        counts = [int((chosen == row).sum()) for row in ROWS]
        assert sum(counts) == batch and max(counts) - min(counts) <= 1
    # The row that is drawn once more changes from step to step.
    extra = [set(batch_indices(ROWS, 11, step, 0).tolist()) for step in range(20)]
    most = [
        max(ROWS.tolist(), key=batch_indices(ROWS, 11, step, 0).tolist().count)
        for step in range(20)
    ]
    assert all(len(rows) == 10 for rows in extra) and len(set(most)) > 3


def test_schedule_is_uniform_and_seeded():
    drawn = schedule(3, 3000, 0)
    counts = np.bincount(drawn)
    # Standard deviation of a binomial count of 3000 draws at 1/3: 25.8.
    assert len(counts) == 3 and np.abs(counts - 1000).max() < 4 * 26
    np.testing.assert_array_equal(drawn, schedule(3, 3000, 0))
    assert (drawn != schedule(3, 3000, 1)).mean() == pytest.approx(2 / 3, abs=0.05)
    # Drawn, not taken in turns: a task follows itself as often as another.
    assert (drawn[1:] == drawn[:-1]).mean() == pytest.approx(1 / 3, abs=0.05)
    assert schedule(1, 50, 0).tolist() == [0] * 50


def test_a_longer_schedule_begins_like_a_shorter_one():
    np.testing.assert_array_equal(schedule(2, 100, 7)[:40], schedule(2, 40, 7))
