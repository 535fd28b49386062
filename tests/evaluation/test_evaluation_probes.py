"""Linear probe and nearest neighbours: by hand, against slow loops, and what must not matter."""

import math
import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assl_jax.evaluation import probes
from assl_jax.evaluation.probes import (
    cross_validated_loss,
    knn,
    knn_accuracy,
    linear_head,
    linear_probe,
    probe,
)
from assl_jax.evaluation.scores import METRICS, shares


def blobs(seed, each, *, classes=3, d=8, spread=0.1):
    """`each` images of every class around its own corner, classes by turns."""
    y = np.arange(each * classes) % classes
    noise = np.random.default_rng(seed).normal(size=(len(y), d))
    return (np.eye(classes, d)[y] + spread * noise).astype(np.float32), y


BOTH = pytest.mark.parametrize("judge", [linear_probe, knn])


@BOTH
@pytest.mark.parametrize("each", [1, 2, 20])
def test_separable_classes_are_told_apart(judge, each):
    x, y = blobs(0, each, d=3)
    test, truth = blobs(1, 30, d=3)
    p = judge(x, y, test, classes=3)
    assert p.shape == (90, 3) and (p >= 0).all()
    np.testing.assert_allclose(p.sum(1), 1.0)
    # With one image each, all three vote: the nearest must count most.
    np.testing.assert_array_equal(p.argmax(1), truth)


@BOTH
def test_a_class_without_a_training_image_has_no_chance(judge):
    x, y = blobs(0, 20)
    kept = y != 1
    p = judge(x[kept], y[kept], x, classes=4)
    assert p.shape == (60, 4) and (p[:, [1, 3]] == 0).all()
    np.testing.assert_array_equal(p[kept].argmax(1), y[kept])
    alone = judge(x[y == 2], y[y == 2], x, classes=4)
    np.testing.assert_allclose(alone, np.eye(4)[np.full(60, 2)])


@BOTH
def test_features_without_contrast_stay_finite(judge):
    x, y = blobs(0, 10)
    test, truth = blobs(1, 10)
    constant = np.full((30, 1), 0.7)
    assert np.hstack([x, constant]).std(0)[-1] > 0  # the mean of 30 times 0.7 is another number
    p = judge(np.hstack([x, 0 * constant]), y, np.hstack([test, 0 * constant]), classes=3)
    np.testing.assert_allclose(p, judge(x, y, test, classes=3), atol=1e-6)
    more = judge(np.hstack([x, constant]), y, np.hstack([test, constant + 0.1]), classes=3)
    np.testing.assert_array_equal(more.argmax(1), truth)
    nothing = judge(0 * x, y, 0 * test, classes=3)
    np.testing.assert_allclose(nothing, np.broadcast_to(nothing[0], (30, 3)))
    assert np.isfinite(nothing).all()


def test_the_linear_probe_by_hand():
    """Two images: standardised to -1 and 1, the weight minimises w²/2 + 2 C log(1 + exp(-w))."""
    x = np.array([[4.0], [10.0]])
    test = np.array([[4.0], [7.0], [10.0], [70.0]])
    w = 0.0
    for _ in range(20):
        w = 2 * probes.FIXED / (1 + math.exp(w))
    expected = 1 / (1 + np.exp(-w * np.array([-1.0, 0.0, 1.0, 21.0])))
    found = linear_probe(x, np.array([0, 1]), test, classes=2)
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-5)


def test_the_linear_probe_sees_neither_scale_nor_offset_of_a_feature():
    x, y = blobs(0, 15, spread=0.6)
    test, _ = blobs(1, 15, spread=0.6)
    scale, offset = np.geomspace(1e-3, 1e3, 8), np.linspace(-5, 5, 8)
    p = linear_probe(x, y, test, classes=3)
    assert 0.5 < p.max(1).mean() < 0.98  # not saturated
    np.testing.assert_allclose(
        linear_probe(x * scale + offset, y, test * scale + offset, classes=3), p, atol=1e-3
    )


def test_no_patient_is_on_both_sides_of_the_choice():
    """Ten pictures of each patient: to recognise a patient helps only on images of that patient."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(16), 10)
    x = rng.normal(size=(16, 30))[groups] + 0.05 * rng.normal(size=(160, 30))
    y = (np.arange(16) % 2)[groups]
    assert probes._best_strength(x, y, 2, None, 0) == max(probes.STRENGTHS)
    apart = probes._best_strength(x, y, 2, groups, 0)
    assert apart <= max(probes.STRENGTHS) / 1000
    names = np.array([f"p{i:02}" for i in groups])
    assert probes._best_strength(x, y, 2, names, 0) == apart
    # A class with one patient: nothing can be held out, however many pictures there are.
    assert probes._best_strength(x, y, 2, np.where(y == 1, 99, groups), 0) == probes.FIXED


def test_votes_by_hand(monkeypatch):
    monkeypatch.setattr(probes, "TEMPERATURE", 0.5)
    x, y = np.eye(2), np.array([0, 1])
    test = np.array([[5.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    odds = np.exp(np.array([1.0, 0.0, -1.0]) / 0.5)  # of class 0: the difference
    found = knn(x, y, test, classes=2, k=2)
    np.testing.assert_allclose(found[:, 0], odds / (odds + 1))
    nearest = knn(x, y, test, classes=2, k=1)
    np.testing.assert_allclose(nearest, [[1, 0], [1, 0], [0, 1]])  # a tie is the earlier one's


def slow_knn(x, y, test, classes, k, temperature):
    """One pair after the other."""
    rows = []
    for t in test:
        near = []
        for i, v in enumerate(x):
            lengths = math.sqrt(sum(a * a for a in t)) * math.sqrt(sum(a * a for a in v))
            dot = sum(a * b for a, b in zip(t, v, strict=True))
            near.append((-(dot / lengths if lengths else 0.0), i))
        votes = [0.0] * classes
        for similarity, i in sorted(near)[:k]:
            votes[y[i]] += math.exp(-similarity / temperature)
        rows.append([v / sum(votes) for v in votes])
    return np.array(rows)


@pytest.mark.parametrize("k, temperature", [(1, 0.07), (5, 0.07), (9, 1.0), (40, 0.2)])
def test_votes_are_those_of_a_slow_loop(k, temperature, monkeypatch):
    rng = np.random.default_rng(k)
    x, test = rng.normal(size=(40, 6)) + 0.5, rng.normal(size=(23, 6))
    x[3], test[7] = 0, 0
    y = rng.integers(4, size=40)
    expected = slow_knn(x.tolist(), y.tolist(), test.tolist(), 4, k, temperature)
    monkeypatch.setattr(probes, "TEMPERATURE", temperature)
    found = knn(x, y, test, classes=4, k=k)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    monkeypatch.setattr(probes, "CHUNK", 5)  # the last chunk is not full
    np.testing.assert_allclose(knn(x, y, test, classes=4, k=k), found, atol=1e-12)


def test_neighbours_see_directions_alone_and_at_most_all_images():
    x, y = blobs(0, 10, spread=0.8)
    test, _ = blobs(1, 10, spread=0.8)
    all_of_them = knn(x, y, test, classes=3, k=30)
    np.testing.assert_array_equal(knn(x, y, test, classes=3, k=500), all_of_them)
    assert np.abs(knn(x, y, test, classes=3, k=29) - all_of_them).max() > 0
    lengths = np.geomspace(1e-6, 1e6, 30).reshape(-1, 1)
    for scaled in ((x * lengths, test), (x, test * lengths)):
        np.testing.assert_allclose(
            knn(scaled[0], y, scaled[1], classes=3, k=30), all_of_them, atol=1e-5
        )


def judged(labels, groups, sets, test):
    """Every third image of a data set of two classes, and the data set."""
    rows = np.arange(0, 3 * len(labels), 3)
    dataset = types.SimpleNamespace(
        labels=np.repeat(labels, 3),
        groups=np.repeat(groups, 3),
        num_classes=2,
        labelled_sets=tuple(rows[each] for each in sets),
        test=rows[test],
    )
    return rows, dataset


def test_both_probes_over_labelled_sets():
    """The second set has its labels exchanged: every prediction is right, then none."""
    x, y = blobs(0, 20, classes=2)
    x = np.vstack([x, x[:3]])  # three more images without a label
    labels = np.append(y, [-1, -1, -1])
    labels[20:30] = 1 - labels[20:30]
    sets, test = [np.arange(20), np.arange(20, 30)], np.arange(30, 40)
    found = probe(x, *judged(labels, np.arange(43), sets, test))
    assert list(found) == list(probes.PROBES) == ["linear", "knn"]
    for evaluation in found.values():
        assert evaluation.confusion == ((2.5, 2.5), (2.5, 2.5))
        assert list(evaluation.metrics) == list(METRICS)
        for estimate in (evaluation.metrics[name] for name in shares()):
            assert estimate.runs == (1.0, 0.0) and estimate.mean == 0.5
            assert estimate.std == pytest.approx(0.5**0.5)


def test_intervals_and_choices_are_over_patients(monkeypatch):
    """Four pictures of every test patient: as wide an interval as with one of each."""
    x, y = blobs(0, 40, classes=2, spread=0.9)
    groups = np.append(np.arange(40), np.repeat(np.arange(40, 50), 4))
    x[40:], y[40:] = np.repeat(x[40:50], 4, axis=0), np.repeat(y[40:50], 4)
    seen = []
    real = probes.linear_probe
    monkeypatch.setattr(
        probes, "linear_probe", lambda *a, **more: seen.append(more) or real(*a, **more)
    )

    def width(groups):
        about = judged(y, groups, [np.arange(40)], np.arange(40, 80))
        accuracy = probe(x, *about)["knn"].accuracy
        return accuracy.high - accuracy.low

    assert width(groups) > 1.6 * width(np.arange(80))
    np.testing.assert_array_equal(seen[0]["groups"], np.arange(40))


def test_the_cross_validated_loss_is_that_of_the_held_out_images():
    """One C of six wins; features of a second network help where they tell more."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 30)
    one, two = (y + rng.normal(0, s, 60) for s in (0.8, 0.8))
    alone = cross_validated_loss(one[:, None], y, classes=2, seed=1)
    both = cross_validated_loss(np.stack([one, two], 1), y, classes=2, seed=1)
    noise = cross_validated_loss(rng.normal(size=(60, 1)), y, classes=2, seed=1)
    assert both < alone < noise == pytest.approx(np.log(2), abs=0.05)
    slow = []
    for c in probes.STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=10_000))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=1)
        p = cross_val_predict(
            model, one[:, None], y, groups=np.arange(60), cv=folds, method="predict_proba"
        )
        slow.append(log_loss(y, p))
    assert alone == pytest.approx(min(slow), rel=1e-3)
    single = np.array([0, 0, 0, 1])
    assert cross_validated_loss(np.eye(4), single, classes=2) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_head_predicts_what_the_linear_probe_does(classes):
    x, y = blobs(0, 30, classes=classes, spread=0.7)
    x = 5 + 3 * x  # raw features: neither centred nor of unit variance
    x[:, 0] = 7.0  # a constant feature
    test, _ = blobs(1, 20, classes=classes, spread=0.7)
    test = 5 + 3 * test
    kernel, bias = linear_head(x, y, classes=classes)
    assert kernel.shape == (8, classes) and kernel.dtype == bias.dtype == np.float32
    logits = test.astype(np.float64) @ kernel + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    expected = linear_probe(x, y, test, classes=classes)
    np.testing.assert_allclose(p / p.sum(1, keepdims=True), expected, atol=2e-3)
    assert np.ptp(expected) > 0.5  # an uninformed head would fail


def test_a_linear_head_knows_nothing_of_a_class_without_images():
    x, y = blobs(0, 20)
    kernel, bias = linear_head(x[y != 1], y[y != 1], classes=4)
    assert not kernel[:, [1, 3]].any() and not bias[[1, 3]].any()
    assert np.abs(kernel[:, [0, 2]]).max() > 0.1
    assert not linear_head(x[y == 2], y[y == 2], classes=4)[0].any()


def test_knn_accuracy_leaves_out_the_image_and_its_patient(monkeypatch):
    x = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.9, 0.2]], np.float32)
    y = np.array([0, 0, 1, 1, 1])
    # The nearest other image: 1, 0, 3, 2 and 1, so the last one is wrong.
    assert knn_accuracy(x, y, classes=2, k=1) == pytest.approx(4 / 5)
    # Without the own patient's images: 4, 4, 4, 4 and 1, so two are right.
    groups = np.array([7, 7, 8, 8, 9])
    assert knn_accuracy(x, y, classes=2, k=1, groups=groups) == pytest.approx(2 / 5)
    # Class 0 has two images, so one image votes: with more, it would be outvoted for its number.
    monkeypatch.setattr(probes, "TEMPERATURE", 100.0)
    assert knn_accuracy(x, y, classes=2, k=99) == pytest.approx(4 / 5)


def test_a_feature_that_hardly_varies_gets_no_huge_weight():
    x, y = blobs(0, 30)
    faint = np.concatenate([x, 1 + 1e-7 * y[:, None]], axis=1).astype(np.float32)
    kernel, bias = linear_head(faint, y, classes=3)
    assert np.abs(kernel).max() < 100 and np.abs(bias).max() < 100
