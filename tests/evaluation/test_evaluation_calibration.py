"""Temperatures against a search over many, and corners of ROC curves against all thresholds."""

import re

import numpy as np
import pytest

from assl_jax.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    MOST_POINTS,
    calibrate,
    decide,
    operating_points,
)
from assl_jax.records import Calibration, OperatingPoint


def softmax(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("k, factor", [(2, 4.0), (5, 2.0), (3, 8.0), (4, 0.3)])
def test_a_network_that_is_off_by_a_factor_gets_that_temperature(k, factor):
    """Labels drawn from the probabilities: the logits times `factor` are off by it."""
    rng = np.random.default_rng(k)
    logits = rng.normal(size=(20_000, k))
    labels = (softmax(logits).cumsum(1) < rng.random((len(logits), 1))).sum(1)
    found = calibrate(labels, softmax(factor * logits).astype(np.float32))
    assert found.temperature == pytest.approx(factor, rel=0.05)

    def loss(t):
        return -np.log(softmax(factor * logits / t)[np.arange(len(labels)), labels]).mean()

    tried = found.temperature * np.linspace(0.9, 1.1, 21)
    assert loss(found.temperature) <= min(map(loss, tried)) + 1e-6


def test_temperatures_by_hand():
    right = np.zeros(8, int)
    p = np.tile(np.array([[0.75, 0.25]], np.float32), (8, 1))
    # All 8 are right, which counts as 9 of 10: logits apart by ln 3 become apart by ln 9.
    assert calibrate(right, p).temperature == pytest.approx(0.5)
    assert calibrate(1 - right, p).temperature == HOTTEST
    # A probability of 0 counts as the smallest number, and not as the end of all.
    certain = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    t = calibrate(np.array([0, 1, 1]), certain).temperature
    # Two of three are right, each with 4/5, and one with 1/5: together 3/5.
    assert t == pytest.approx(-np.log(np.finfo(np.float32).tiny) / np.log(3 / 2))
    # Few images make no network as sure as it takes.
    barely = np.tile(np.array([[0.501, 0.499]], np.float32), (8, 1))
    assert calibrate(right, barely).temperature == COLDEST


def test_operating_points_by_hand():
    positive = np.array([0, 0, 1, 0, 1, 1], bool)
    score = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    found = [(p.threshold, p.sensitivity, p.specificity) for p in operating_points(positive, score)]
    assert found == [
        (pytest.approx(0.25), 1.0, pytest.approx(2 / 3)),
        (pytest.approx(0.6), pytest.approx(2 / 3), 1.0),
    ]
    # The other way round nothing is told apart: all, or none, or the ties between them.
    found = operating_points(~positive, score)
    assert found[0].threshold == 0 and found[0].specificity == 0
    assert found[-1].threshold > 0.9 and found[-1].sensitivity == 0 and found[-1].specificity == 1
    assert operating_points(np.array([True, True]), np.array([0.1, 0.2])) == ()


@pytest.mark.parametrize("seed, n", [(0, 7), (1, 60), (2, 3000)])
def test_operating_points_are_the_best_ones(seed, n):
    """Against every threshold; with ties, and with scores of 0 and 1."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    score = (rng.normal(0.4 + 0.2 * positive, 0.3)).clip(0, 1).round(2 if n == 60 else 9)
    points = operating_points(positive, score)
    assert len(points) <= MOST_POINTS
    every = [
        ((score[positive] >= t).mean(), (score[~positive] < t).mean())
        for t in [*np.unique(score), 2.0]
    ]
    for p in points:
        assert p.sensitivity == pytest.approx((score[positive] >= p.threshold).mean()) or (
            p.threshold == 1
        )
        assert not any(
            (a > p.sensitivity + 1e-9 and b >= p.specificity - 1e-9)
            or (a >= p.sensitivity - 1e-9 and b > p.specificity + 1e-9)
            for a, b in every
        )
    assert points[0].sensitivity == 1 and points[-1].specificity == 1


POINTS = tuple(
    OperatingPoint(threshold=t, sensitivity=a, specificity=b)
    for t, a, b in [(0.1, 1.0, 0.5), (0.4, 0.9, 0.8), (0.6, 0.7, 0.9), (0.99, 0.0, 1.0)]
)
CALIBRATION = Calibration(temperature=2.0, points=POINTS)


@pytest.mark.parametrize(
    "asked, threshold, says",
    [
        ({"sensitivity": 0.8}, 0.4, "dog from a probability of 0.4 on: .*ity 90.0 %, .*80.0 %"),
        ({"sensitivity": 0.95}, 0.1, "dog from a probability of 0.1 on: .*100.0 %, .*50.0 %"),
        ({"specificity": 0.85}, 0.6, "dog from a probability of 0.6 on: .*70.0 %, .*90.0 %"),
        ({"specificity": 1.0}, 0.99, "dog from"),
        # Of the other class: what was specific is sensitive, and its probability counts down.
        ({"sensitivity": 0.8, "positive": "cat"}, 0.4, "cat .*0.6 on: .*80.0 %, .*90.0 %"),
        ({"specificity": 0.95, "positive": "cat"}, 0.1, "cat .*0.9 on: .*50.0 %, .*100.0 %"),
    ],
)
def test_the_point_that_reaches_what_was_asked_for(asked, threshold, says):
    found = decide(CALIBRATION, ("cat", "dog"), **asked)
    assert found.point.threshold == threshold
    assert re.search(says, str(found))


def test_no_point_was_asked_for():
    assert decide(CALIBRATION, ("cat", "dog")) is None
    assert decide(None, ("a", "b", "c")) is None
