"""Scores by hand and by scikit-learn; intervals against resampling row by row."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from assl_jax.evaluation import scores as module
from assl_jax.evaluation.scores import METRICS, bootstrap, confusion, estimate, scores, summarise

# Class 1 scores 0.9, 0.5, 0.5 where it is right and 0.5, 0.2, 0.6, 0.1 where it is not.
TWO = np.array([1, 1, 1, 0, 0, 0, 0])
ONE_SCORE = np.array([0.9, 0.5, 0.5, 0.5, 0.2, 0.6, 0.1])
TWO_SCORES = np.stack([0 * ONE_SCORE + 0.5, ONE_SCORE], 1)


def predictions(seed, labels, k, *, skill=1.0, digits=1):
    """`[n, k]` probabilities with many ties, the better the larger `skill`."""
    noise = np.random.default_rng(seed).random((len(labels), k))
    x = (noise + skill * np.eye(k)[labels]).round(digits) + 0.1
    return x / x.sum(1, keepdims=True)


def one_hot(classes, k):
    return np.eye(k)[list(classes)]


def test_scores_of_two_classes_by_hand():
    # Ties go to class 0: predicted 1 are the scores 0.9 and 0.6. Recalls are 1/3 and 3/4. Of the 12
    # pairs, 0.9 wins 4, each 0.5 wins two and ties once. Class 0 is predicted 5 times and right 3
    # times, class 1 twice and right once: F1 is 2 * 3 / (4 + 5) and 2 * 1 / (3 + 2).
    assert scores(TWO, TWO_SCORES) == pytest.approx(
        {
            "accuracy": 4 / 7,
            "balanced_accuracy": (1 / 3 + 3 / 4) / 2,
            "macro_f1": (6 / 9 + 2 / 5) / 2,
            "auc": (4 + 2.5 + 2.5) / 12,
        }
    )
    assert confusion(TWO, TWO_SCORES).tolist() == [[3, 1], [2, 1]]


def test_scores_of_three_classes_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    p = one_hot([0, 0, 1, 1, 0, 2], 3)
    # One against the rest: recall and specificity are the two sides of a curve with one corner.
    auc = np.mean([(2 / 3 + 2 / 3) / 2, (1 / 2 + 3 / 4) / 2, 1.0])
    assert scores(labels, p) == pytest.approx(
        {
            "accuracy": 4 / 6,
            "balanced_accuracy": (2 / 3 + 1 / 2 + 1) / 3,
            "macro_f1": (4 / 6 + 2 / 4 + 1) / 3,
            "auc": auc,
        }
    )
    assert confusion(labels, p).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_auc_is_scikit_learns_over_several_classes():
    labels = np.repeat([0, 1, 2, 3], [40, 25, 3, 1])
    p = predictions(0, labels, 4, skill=0.4)
    expected = roc_auc_score(labels, p, multi_class="ovr", average="macro")
    assert scores(labels, p)["auc"] == pytest.approx(expected, abs=1e-12)
    assert 0.55 < expected < 0.95


@pytest.mark.parametrize("labels, k", [([1, 1, 1], 2), ([0, 0, 2], 3), ([0, 0], 1)])
def test_auc_without_one_of_the_classes_is_left_out(labels, k):
    labels = np.array(labels)
    p = one_hot(np.arange(len(labels)) % k, k)  # predicts classes that no label has
    found = scores(labels, p)
    right = labels == np.arange(len(labels)) % k
    recalls = [right[labels == c].mean() for c in np.unique(labels)]
    predicted = p.argmax(1)
    f1 = f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    expected = {"accuracy": right.mean(), "balanced_accuracy": np.mean(recalls), "macro_f1": f1}
    assert found == pytest.approx(expected)
    assert bootstrap(labels, [p], np.arange(len(labels)), replicates=20).keys() == found.keys()
    assert summarise(labels, {"a": p}, labels).metrics.keys() == found.keys()


def slow_replicate(labels, runs, patients, draw):
    """Scores of the drawn patients' rows, one after the other, by scikit-learn."""
    rows = np.concatenate([np.flatnonzero(patients == who) for who in draw])
    y, k = labels[rows], runs[0].shape[1]
    values = []
    for p in (run[rows] for run in runs):
        if (np.bincount(y, minlength=k) == 0).any():
            values.append([(p.argmax(1) == y).mean(), np.nan, np.nan, np.nan])
            continue
        auc = roc_auc_score(y, p[:, 1] if k == 2 else p, multi_class="ovr")
        f1 = f1_score(y, p.argmax(1), average="macro", zero_division=0)
        balanced = balanced_accuracy_score(y, p.argmax(1))
        values.append([(p.argmax(1) == y).mean(), balanced, f1, auc])
    return np.mean(values, axis=0)


@pytest.mark.parametrize("k", [2, 3])
def test_weighted_replicates_are_resampled_rows(k):
    rng = np.random.default_rng(k)
    patients = rng.permutation(np.repeat(np.arange(9) * 5 - 3, rng.integers(1, 6, 9)))
    labels = rng.choice(k, size=len(patients), p=[0.8, 0.2] if k == 2 else [0.6, 0.3, 0.1])
    runs = [predictions(seed, labels, k, skill=0.4) for seed in range(3)]
    names, unit = np.unique(patients, return_inverse=True)
    weights = module._draw(len(names), 150, 0)
    assert (weights.sum(1) == len(names)).all() and weights.max() > 2
    found = module._measure(labels, runs, weights.T[unit])
    expected = np.array(
        [slow_replicate(labels, runs, patients, np.repeat(names, w)) for w in weights]
    )
    missing = np.isnan(expected[:, 2]).sum()
    assert 0 < missing < 150  # both cases are met
    for i, name in enumerate(METRICS):
        np.testing.assert_allclose(found[name], expected[:, i], rtol=0, atol=1e-12)

    intervals = bootstrap(labels, runs, patients, replicates=150, level=0.8)
    for i, name in enumerate(intervals):
        ends = np.nanpercentile(expected[:, i], [10, 90])
        np.testing.assert_allclose(intervals[name], ends, rtol=0, atol=1e-12)


def test_unit_weights_give_the_scores():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 30, 3]))
    runs = [predictions(seed, labels, 3, skill=0.3) for seed in range(2)]
    found = module._measure(labels, runs, np.ones((len(labels), 1), np.int32))
    for name, value in found.items():
        assert value[0] == pytest.approx(np.mean([scores(labels, p)[name] for p in runs]))


def widths(intervals):
    return np.array([high - low for low, high in intervals.values()])


def test_intervals_hold_the_mean_and_narrow_with_more_patients():
    def measure(n):
        labels = np.arange(n) % 3
        runs = [predictions(seed, labels, 3, skill=0.5, digits=3) for seed in range(2)]
        found = bootstrap(labels, runs, np.arange(n))
        for name, (low, high) in found.items():
            assert low < np.mean([scores(labels, p)[name] for p in runs]) < high
        return widths(found)

    few, many = measure(60), measure(960)
    # 16 times as many patients: a quarter of the width.
    np.testing.assert_allclose(few / many, 4, rtol=0.4)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hit = 0
    for _ in range(200):
        labels = rng.integers(2, size=80)
        right = rng.random(80) < 0.7
        p = one_hot(np.where(right, labels, 1 - labels), 2)
        low, high = bootstrap(labels, [p], np.arange(80), replicates=200)["accuracy"]
        hit += low <= 0.7 <= high
    assert 0.89 <= hit / 200 <= 0.98


def test_copies_of_a_patient_are_no_new_evidence():
    labels = np.arange(60) % 2
    p = predictions(0, labels, 2, skill=0.5, digits=3)
    alone = widths(bootstrap(labels, [p], np.arange(60)))
    copies = np.repeat(labels, 4), [np.repeat(p, 4, axis=0)]
    np.testing.assert_allclose(widths(bootstrap(*copies, np.repeat(np.arange(60), 4))), alone)
    np.testing.assert_allclose(alone / widths(bootstrap(*copies, np.arange(240))), 2, rtol=0.2)


def test_an_interval_depends_on_seed_and_level_not_on_names_of_patients():
    labels = np.arange(40) % 2
    runs = [predictions(0, labels, 2, skill=0.3)]
    patients = np.repeat(np.arange(20), 2)
    first = bootstrap(labels, runs, patients)
    assert bootstrap(labels, runs, np.array([f"p{i:02}" for i in patients])) == first
    assert bootstrap(labels, runs, patients, seed=1) != first
    assert (widths(bootstrap(labels, runs, patients, level=0.5)) < widths(first)).all()


def test_summary_by_hand():
    labels = np.array([0, 0, 1, 1])
    runs = {"a": one_hot([0, 0, 1, 1], 2), "b": one_hot([0, 1, 1, 0], 2)}
    found = summarise(labels, runs, np.arange(4))
    assert found.confusion == ((1.5, 0.5), (0.5, 1.5)) and found.selection is None
    intervals = bootstrap(labels, list(runs.values()), np.arange(4))
    assert set(found.metrics) == set(METRICS)
    for name, measured in found.metrics.items():
        assert measured.runs == (1.0, 0.5) and measured.mean == 0.75
        assert measured.std == pytest.approx(0.5 / 2**0.5)
        assert (measured.low, measured.high) == intervals[name]
    one = summarise(np.array([0, 1, 1]), {"a": one_hot([1, 1, 0], 2)}, np.arange(3))
    assert one.accuracy.mean == 1 / 3
    assert {measured.std for measured in one.metrics.values()} == {0.0}


def test_a_metric_without_any_replicate_has_no_interval():
    """Twenty patients of twenty classes: a draw with all of them does not happen."""
    labels = np.arange(20)
    found = summarise(labels, {"a": one_hot(labels, 20)}, labels).metrics
    assert found["auc"] == estimate([1.0])
    assert found["auc"].low is None and found["accuracy"].low == 1.0


def test_direction():
    """The best value and a better one, for metrics of both directions."""
    accuracy = METRICS["accuracy"]
    loss = accuracy._replace(higher_is_better=False)
    assert accuracy.best([0.1, 0.5, 0.5]) == 1 and loss.best([0.3, 0.1, 0.1]) == 1
    assert accuracy.better(0.5, 0.4) and not accuracy.better(0.4, 0.4)
    assert loss.better(0.4, 0.5) and not loss.better(0.4, 0.4)
