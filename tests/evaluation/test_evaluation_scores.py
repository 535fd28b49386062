"""Scores by hand and by scikit-learn; intervals against resampling row by row."""

import statistics

import msgspec
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from assl_jax import records
from assl_jax.evaluation import uncertainty
from assl_jax.evaluation.scores import METRICS, Metric, confusion, measure, scores
from assl_jax.evaluation.uncertainty import (
    _draw,
    bootstrap,
    estimate,
    paired_difference,
    paired_gain,
    resampled,
    summarise,
)
from assl_jax.records import Estimate, Evaluation

# The score of class 1 is 0.9, 0.5, 0.5 for its images and 0.5, 0.2, 0.6, 0.1 for the others.
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


def softened(labels, p):
    """The probabilities at the best temperature of at least 1."""
    p = np.clip(p, 1e-12, None)
    powers = (p**power for power in np.linspace(0, 1, 10_001))
    return min(
        (q / q.sum(1, keepdims=True) for q in powers),
        key=lambda q: -np.log(q[np.arange(len(q)), labels]).mean(),
    )


def test_scores_of_two_classes_by_hand():
    # Ties go to class 0: predicted 1 are the scores 0.9 and 0.6. Recalls are 1/3 and 3/4. Of the 12
    # pairs, 0.9 wins 4, each 0.5 wins two and ties once. F1 is 2 hits / (images + predictions).
    assert scores(TWO, TWO_SCORES) == pytest.approx(
        {
            "accuracy": 4 / 7,
            "balanced_accuracy": (1 / 3 + 3 / 4) / 2,
            "macro_f1": (2 * 1 / (3 + 2) + 2 * 3 / (4 + 5)) / 2,
            "auc": (4 + 2.5 + 2.5) / 12,
            "log_loss": -np.log(TWO_SCORES[np.arange(7), TWO]).mean(),
            "calibrated_log_loss": -np.log(TWO_SCORES[np.arange(7), TWO]).mean(),  # not too sure
        }
    )
    assert confusion(TWO, TWO_SCORES).tolist() == [[3, 1], [2, 1]]


def test_scores_of_three_classes_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    p = one_hot([0, 0, 1, 1, 0, 2], 3)
    # A curve of one class against the rest has one corner: the area is the mean of recall and
    # specificity.
    auc = np.mean([(2 / 3 + 2 / 3) / 2, (1 / 2 + 3 / 4) / 2, 1.0])
    assert scores(labels, p) == pytest.approx(
        {
            "accuracy": 4 / 6,
            "balanced_accuracy": (2 / 3 + 1 / 2 + 1) / 3,
            "macro_f1": (2 * 2 / (3 + 3) + 2 * 1 / (2 + 2) + 1) / 3,
            "auc": auc,
            "log_loss": 2 * -np.log(1e-12) / 6,  # two certain wrong guesses
            # 4 of 6 are right: the prediction gets 2/3, each other class 1/6.
            "calibrated_log_loss": -(4 * np.log(2 / 3) + 2 * np.log(1 / 6)) / 6,
        }
    )
    assert confusion(labels, p).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("sizes", [[20, 20], [40, 25, 3, 1], [30, 0, 5], [7, 0, 0, 0, 2]])
def test_macro_f1_is_scikit_learns(sizes):
    """Also with predicted classes that do not occur, and with classes that are never hit."""
    k = len(sizes)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(k), sizes))
    for skill in (0.0, 0.4, 5.0):
        p = predictions(1, labels, k, skill=skill)
        expected = f1_score(
            labels, p.argmax(1), labels=np.unique(labels), average="macro", zero_division=0
        )
        assert scores(labels, p)["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert expected == 1.0


@pytest.mark.parametrize("labels, k", [([1, 1, 1], 2), ([0, 0, 2], 3), ([0, 0], 1)])
def test_auc_without_one_of_the_classes_is_left_out(labels, k):
    labels = np.array(labels)
    p = one_hot(np.arange(len(labels)) % k, k)  # predicts classes that no label has
    found = scores(labels, p)
    right = labels == np.arange(len(labels)) % k
    recalls = [right[labels == c].mean() for c in np.unique(labels)]
    assert set(found) == {*METRICS} - {"auc"}
    assert found["accuracy"] == right.mean()
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert bootstrap(labels, [p], np.arange(len(labels))).keys() == found.keys()
    assert summarise(labels, [p], labels).metrics.keys() == found.keys()


def slow_replicate(labels, runs, soft, groups, draw):
    """Scores of the drawn patients' rows, one after the other, by scikit-learn."""
    rows = np.concatenate([np.flatnonzero(groups == patient) for patient in draw])
    y, k = labels[rows], runs[0].shape[1]
    values = []
    for p, q in ((run[rows], other[rows]) for run, other in zip(runs, soft, strict=True)):
        predicted = p.argmax(1)
        losses = [log_loss(y, each, labels=range(k)) for each in (p, q)]
        if (np.bincount(y, minlength=k) == 0).any():
            values.append([(predicted == y).mean(), *[np.nan] * 3, *losses])
            continue
        values.append(
            [
                (predicted == y).mean(),
                balanced_accuracy_score(y, predicted),
                f1_score(y, predicted, average="macro", zero_division=0),
                roc_auc_score(y, p[:, 1] if k == 2 else p, multi_class="ovr"),
                *losses,
            ]
        )
    return np.mean(values, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3])
def test_weighted_replicates_are_resampled_rows(k, monkeypatch):
    monkeypatch.setattr(uncertainty, "REPLICATES", 60)
    monkeypatch.setattr(uncertainty, "LEVEL", 0.8)
    rng = np.random.default_rng(k)
    groups = rng.permutation(np.repeat(np.arange(9) * 5 - 3, rng.integers(1, 6, 9)))
    labels = rng.choice(k, size=len(groups), p=[0.8, 0.2] if k == 2 else [0.6, 0.3, 0.1])
    runs = [predictions(seed, labels, k, skill=0.4) for seed in range(3)]
    names, (unit, draws) = np.unique(groups), _draw(groups)
    assert (draws.sum(1) == len(names)).all() and draws.max() > 2
    found = measure(labels, runs, draws.T[unit])
    soft = [softened(labels, run) for run in runs]
    expected = np.array(
        [slow_replicate(labels, runs, soft, groups, np.repeat(names, w)) for w in draws]
    )
    missing = np.isnan(expected[:, 1:4]).sum(0)
    assert (missing > 0).all() and (missing < 60).all()  # both cases are met
    assert list(found) == list(METRICS)
    for i, (name, values) in enumerate(found.items()):
        exact = (
            1e-4 if name == "calibrated_log_loss" else 1e-12
        )  # the reference tries 10,001 powers
        np.testing.assert_allclose(values, expected[:, i], rtol=0, atol=exact)

    intervals = bootstrap(labels, runs, groups)
    assert list(intervals) == list(found)
    for i, name in enumerate(intervals):
        ends = np.nanpercentile(expected[:, i], [10, 90])
        np.testing.assert_allclose(intervals[name], ends, rtol=0, atol=1e-12)


@pytest.mark.parametrize("digits", [1, 6])
def test_weights_count_images_so_often(digits):
    """Against scikit-learn with sample weights: continuous scores, and many ties."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    p = predictions(0, labels, 3, skill=0.4, digits=digits)
    weights = rng.integers(0, 4, (60, 5))
    found = measure(labels, [p], weights)
    for r, w in enumerate(weights.T):
        area = np.mean([roc_auc_score(labels == c, p[:, c], sample_weight=w) for c in range(3)])
        assert found["auc"][r] == pytest.approx(area, abs=1e-12)
        f1 = f1_score(labels, p.argmax(1), average="macro", sample_weight=w)
        assert found["macro_f1"][r] == pytest.approx(f1, abs=1e-12)
        balanced = balanced_accuracy_score(labels, p.argmax(1), sample_weight=w)
        assert found["balanced_accuracy"][r] == pytest.approx(balanced, abs=1e-12)


def test_a_new_metric_has_scores_and_intervals(monkeypatch):
    """One entry of `METRICS` is all that a metric needs."""

    def errors(labels, probabilities, weights):
        wrong = probabilities.argmax(1) != labels
        return weights[wrong].sum(0) / weights.sum(0)

    monkeypatch.setitem(METRICS, "errors", Metric("errors", errors, higher_is_better=False))
    found = summarise(TWO, [TWO_SCORES], np.arange(7)).metrics
    assert found["errors"].mean == pytest.approx(1 - found["accuracy"].mean)
    assert found["errors"].low == pytest.approx(1 - found["accuracy"].high)


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


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(uncertainty, "REPLICATES", 200)
    rng = np.random.default_rng(0)
    hit = 0
    for _ in range(200):
        labels = rng.integers(2, size=80)
        right = rng.random(80) < 0.7
        p = one_hot(np.where(right, labels, 1 - labels), 2)
        low, high = bootstrap(labels, [p], np.arange(80))["accuracy"]
        hit += low <= 0.7 <= high
    assert 0.89 <= hit / 200 <= 0.98


def test_copies_of_a_patient_are_no_new_evidence():
    labels = np.arange(60) % 2
    p = predictions(0, labels, 2, skill=0.5, digits=3)
    alone = widths(bootstrap(labels, [p], np.arange(60)))
    copies = np.repeat(labels, 4), [np.repeat(p, 4, axis=0)]
    np.testing.assert_allclose(widths(bootstrap(*copies, np.repeat(np.arange(60), 4))), alone)
    np.testing.assert_allclose(alone / widths(bootstrap(*copies, np.arange(240))), 2, rtol=0.2)


def test_an_interval_does_not_depend_on_names_of_patients():
    labels = np.arange(40) % 2
    runs = [predictions(0, labels, 2, skill=0.3)]
    groups = np.repeat(np.arange(20), 2)
    named = np.array([f"p{i:02}" for i in groups])
    assert bootstrap(labels, runs, named) == bootstrap(labels, runs, groups)


def test_a_paired_difference_is_resampled_patient_by_patient():
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(7), rng.integers(1, 5, 7)))
    gained = rng.integers(-2, 3, len(groups)) / 2
    _, draws = _draw(groups)
    means = [
        np.concatenate([np.tile(gained[groups == who], n) for who, n in enumerate(w)]).mean()
        for w in draws
    ]
    found = paired_difference(gained, groups)
    np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), rtol=0, atol=1e-12)


def test_an_estimate_by_hand():
    assert estimate([0.5]) == Estimate(mean=0.5, std=0.0, runs=(0.5,))
    values, interval = [0.25, 0.5, 0.75], (0.1, 0.9)
    expected = Estimate(mean=0.5, std=0.25, runs=(0.25, 0.5, 0.75), low=0.1, high=0.9)
    assert estimate(values, interval) == expected


def test_summary_by_hand(tmp_path):
    labels = np.array([0, 0, 1, 1])
    runs = [one_hot([0, 0, 1, 1], 2), one_hot([0, 1, 1, 0], 2)]
    found = summarise(labels, runs, np.arange(4))
    assert found.confusion == ((1.5, 0.5), (0.5, 1.5)) and found.selection is None
    assert list(found.metrics) == list(METRICS)
    intervals = bootstrap(labels, runs, np.arange(4))
    for name, estimated in found.metrics.items():
        losses = {"log_loss": -np.log(1e-12) / 2, "calibrated_log_loss": np.log(2)}
        values = (0.0, losses[name]) if name in losses else (1.0, 0.5)
        assert estimated.runs == pytest.approx(values)
        assert estimated.mean == pytest.approx(statistics.fmean(values))
        assert estimated.std == pytest.approx(statistics.stdev(values))
        assert (estimated.low, estimated.high) == intervals[name]
    # Every number is a plain one: the record is written, and read back equal.
    records.write(tmp_path / "found.json", found)
    written = (tmp_path / "found.json").read_bytes()
    assert msgspec.json.decode(written, type=Evaluation) == found
    one = summarise(np.array([0, 1, 1]), [one_hot([1, 1, 0], 2)], np.arange(3))
    assert one.accuracy.mean == pytest.approx(1 / 3)
    assert {estimated.std for estimated in one.metrics.values()} == {0.0}


def test_a_paired_gain_is_the_difference_and_its_spread_over_patients():
    """Against a loop over draws; patients of several images, and a metric that falls."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 3)
    labels = rng.integers(0, 3, 60)
    before = [predictions(s, labels, 3, skill=0.2, digits=3) for s in (0, 1)]
    after = [predictions(s, labels, 3, skill=0.5, digits=3) for s in (2, 3)]

    def loss(runs, rows):
        return np.mean([-np.log(p[rows, labels[rows]]).mean() for p in runs])

    def gained(metric, before, after):
        return paired_gain(*(resampled(metric, labels, runs, groups) for runs in (before, after)))

    gain = gained("log_loss", before, after)
    everything = np.arange(60)
    assert gain.mean == pytest.approx(loss(before, everything) - loss(after, everything))
    assert gain.mean > 0
    draws = [
        np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(20, size=20)])
        for _ in range(1000)
    ]
    spread = np.std([loss(before, rows) - loss(after, rows) for rows in draws])
    assert gain.error == pytest.approx(spread, rel=0.15)
    back = gained("log_loss", after, before)
    assert back.mean == pytest.approx(-gain.mean) and back.error == pytest.approx(gain.error)
    hits = [np.mean([(p.argmax(1) == labels).mean() for p in runs]) for runs in (before, after)]
    assert gained("accuracy", before, after).mean == pytest.approx(hits[1] - hits[0])
    assert gained("auc", before, before) == (0.0, 0.0, 0.0)


def test_several_pretrainings_by_hand():
    """Their means are what counts: fine-tunings of one pretraining are not independent."""
    found = estimate([0.5, 0.7, 0.9, 0.9], None, 2)
    assert found.pretrainings == pytest.approx((0.6, 0.9))
    assert found.mean == pytest.approx(0.75)
    assert found.error == pytest.approx(statistics.stdev([0.6, 0.9]) / np.sqrt(2))
    assert estimate([0.5, 0.7]).error == pytest.approx(0.1) and estimate([0.5]).error is None


def test_the_error_of_a_gain_includes_that_over_pretrainings():
    """Every image is alike, so the bootstrap adds nothing: the gains 0.5 and 1 have the error."""
    labels = np.zeros(4, np.int64)
    wrong, right = one_hot([1, 1, 1, 1], 2), one_hot([0, 0, 0, 0], 2)
    before, after = [wrong] * 4, [wrong, right, right, right]

    def gained(pretrainings):
        return paired_gain(
            *(
                resampled("accuracy", labels, runs, labels, pretrainings=pretrainings)
                for runs in (before, after)
            )
        )

    gain = gained(2)
    assert gain.mean == pytest.approx(0.75)
    assert gain.error == pytest.approx(statistics.stdev([0.5, 1.0]) / np.sqrt(2))
    # Two values: the quantile of Student's t with one degree of freedom.
    assert gain.reach == pytest.approx(12.706 * gain.error, rel=1e-4)
    one = gained(1)
    assert one.error == one.reach == 0
