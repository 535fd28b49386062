"""Estimates of networks, against values worked out by hand and simulations with known truth."""

import numpy as np
import pytest
from scipy.stats import norm

from assl_jax.strategies.selection import posterior

COMMON = 4.0  # variance that all scores share: hard images


def covariance(k, noise):
    return COMMON * np.ones((k, k)) + noise**2 * np.eye(k)


def test_noise_that_all_scores_share_decides_nothing():
    scores = np.array([0.1, 0.5, 0.2, 0.3])
    found = posterior(scores, covariance(4, 1e-4))
    assert found.mean == pytest.approx(scores, abs=1e-3)
    assert found.probabilities == pytest.approx([0, 1, 0, 0], abs=1e-9)
    assert found.error.max() < 1e-3


def test_scores_of_pure_noise_shrink_to_their_mean_and_tell_little():
    scores = np.array([-1.0, 0.0, 1.0]) * 0.1
    found = posterior(scores, covariance(3, 1.0))
    assert np.abs(found.mean).max() < 0.05 and found.best == 2
    assert found.probabilities == pytest.approx([1 / 3] * 3, abs=0.07)


def test_two_networks_by_their_difference_alone():
    """The difference d of two networks is N(0, 2 t^2), and its score N(d, 2 s^2)."""
    score, noise = 0.5, 0.4
    found = posterior(np.array([0.0, score]), covariance(2, noise))
    u = (np.arange(2000) + 0.5) / 2000
    t = noise * u / (1 - u)
    likely = norm.pdf(score, scale=np.sqrt(2 * (noise**2 + t**2)))
    likely /= likely.sum()
    share = t**2 / (noise**2 + t**2)
    mean, std = score * share, noise * np.sqrt(2 * share)
    assert found.mean[1] - found.mean[0] == pytest.approx(likely @ mean, rel=0.03)
    assert found.probabilities[1] == pytest.approx(likely @ norm.cdf(mean / std), abs=0.01)
    gain = likely @ (mean * norm.cdf(mean / std) + std * norm.pdf(mean / std))
    assert found.gain(np.array([False, True]), over=0) == pytest.approx(gain, rel=0.05)


def test_one_network_is_the_best():
    found = posterior(np.array([0.3]), np.array([[0.01]]))
    assert found.mean == [0.3] and found.probabilities == [1] and found.error == [0.1]


@pytest.mark.parametrize("spread", [0.5, 2.0, None])
def test_stated_probabilities_and_estimates_hold_in_simulations(spread):
    """Of the networks that are said to be best with probability p, a share of p is.

    The noise is 1. A spread between networks of None is drawn from the prior in each search.
    """
    rng, k, searches = np.random.default_rng(1), 6, 250
    stated, right, estimated, true, naive = [], [], [], [], []
    for _ in range(searches):
        u = rng.uniform()
        truth = (spread or u / (1 - u)) * rng.normal(size=k)
        scores = truth + rng.normal(scale=np.sqrt(COMMON)) + rng.normal(size=k)
        found = posterior(scores, covariance(k, 1.0))
        stated += found.probabilities.tolist()
        right += (np.arange(k) == truth.argmax()).tolist()
        estimated.append((found.mean - found.mean.mean())[found.best])
        naive.append((scores - scores.mean())[found.best])
        true.append((truth - truth.mean())[found.best])
    stated, right = np.array(stated), np.array(right)
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.01)):
        inside = (stated >= low) & (stated < high)
        if inside.sum() >= 50:
            error = 3 * np.sqrt(0.25 / inside.sum())
            assert stated[inside].mean() == pytest.approx(right[inside].mean(), abs=error)
    # The best score is too good by luck, its estimate is not.
    assert np.mean(np.subtract(estimated, true)) == pytest.approx(0, abs=0.2)
    assert np.mean(np.subtract(naive, true)) > 0.3


def test_the_gain_of_the_best_of_several():
    found = posterior(np.array([0.0, 1.0, 1.1]), covariance(3, 1e-3))
    assert found.gain(np.array([False, True, True]), over=0) == pytest.approx(1.1, abs=0.01)
    assert found.gain(np.array([True, False, False]), over=2) == pytest.approx(0, abs=1e-6)


def test_estimates_lie_between_the_scores_where_worse_networks_are_noisier():
    """As log losses do: a weighted mean with all correlations would be far off."""
    rng = np.random.default_rng(0)
    losses = np.array([0.1, 0.12, 0.15, 0.3])
    images = rng.exponential(size=400)
    each = losses[:, None] * images + 0.01 * rng.normal(size=(4, 400))
    found = posterior(-losses, np.cov(each) / 400)
    assert (found.mean > -0.3).all() and (found.mean < -0.1).all()
    assert (np.diff(found.mean) < 0).all()
