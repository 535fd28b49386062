"""Scores of several networks on the same images, against values worked out by hand."""

import numpy as np
import pytest

from assl_jax.evaluation.uncertainty import joint_scores, mean_of, paired_gain, resampled

N = 200
RNG = np.random.default_rng(0)
LABELS, GROUPS = RNG.integers(0, 2, N), np.arange(N)


def predictions(right):
    """Probabilities that are right on some images."""
    wanted = np.where(right, LABELS, 1 - LABELS)
    return np.eye(2)[wanted] * 0.8 + 0.1


def of(*runs, metric="accuracy", groups=GROUPS, pretrainings=1):
    return resampled(metric, LABELS, runs, groups, pretrainings=pretrainings)


def right(share, seed):
    return np.random.default_rng(seed).permutation(N) < share * N


def test_means_over_divisions_and_runs_and_the_error_of_a_difference():
    runs = [predictions(right(share, seed)) for seed, share in enumerate((0.8, 0.7, 0.9, 0.6))]
    first, second = ([of(run) for run in pair] for pair in (runs[:2], runs[2:]))
    found = joint_scores([dict(enumerate(first)), dict(enumerate(second))])
    assert found.scores == pytest.approx([0.75, 0.75])
    gain = paired_gain(mean_of(first), mean_of(second))
    c = found.covariance
    assert np.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1]) == pytest.approx(gain.error, rel=1e-2)
    better = joint_scores([{0: of(*runs[:2], metric="log_loss")}] * 2)
    assert (better.scores < 0).all()  # a higher one is better
    assert better.covariance == pytest.approx(np.full((2, 2), better.covariance[0, 0]))


def test_a_hard_division_counts_for_nobody():
    """The second division is 0.2 harder, and only two of three networks are in it."""
    easy = [predictions(right(share, seed)) for seed, share in enumerate((0.9, 0.8, 0.7))]
    hard = [predictions(right(share, seed)) for seed, share in enumerate((0.7, 0.6), 3)]
    both = [{0: of(easy[i]), 1: of(hard[i])} for i in range(2)]
    found = joint_scores([*both, {0: of(easy[2])}])
    assert found.scores - found.scores[0] == pytest.approx([0, -0.1, -0.2])
    assert found.scores[0] == pytest.approx(0.8)  # the mean over both divisions


def test_the_spread_over_pretrainings_counts():
    runs = [predictions(right(share, seed)) for seed, share in enumerate((0.9, 0.7))]
    one, two = (joint_scores([{0: of(*runs, pretrainings=n)}]) for n in (1, 2))
    added = two.covariance - one.covariance
    assert added == pytest.approx(0.02 / 2)  # the variance of 0.9 and 0.7, over 2


def test_patients_are_drawn_whole():
    share = predictions(right(0.8, 0))
    patients = np.repeat(np.arange(N // 10), 10)
    blocks = predictions(np.repeat(right(0.8, 0)[: N // 10], 10))
    alone = joint_scores([{0: of(blocks)}]).covariance
    whole = joint_scores([{0: of(blocks, groups=patients)}]).covariance
    assert whole.item() > 5 * alone.item() > 0
    found = joint_scores([{0: of(share, groups=patients)}])
    assert found.scores == pytest.approx(0.8)
