"""Fine-tuning on a set that anything can learn, and the folds that selection looks at."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils.class_weight import compute_sample_weight

from assl_jax.errors import InputError
from assl_jax.evaluation import finetune
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.finetune import Target, balanced, class_weights, stratified_folds
from assl_jax.evaluation.probes import linear_probe
from assl_jax.evaluation.scores import confusion, scores
from assl_jax.training.feed import Feed
from assl_jax.training.loop import Session, Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh

LABELS = np.arange(30, dtype=np.int32) % 3
TRAIN, TEST = np.arange(18), np.arange(29, 17, -1)


@pytest.fixture(scope="module")
def target(backbone, intensity):
    """Three classes: dark, grey and bright images; a few test labels are wrong on purpose."""
    mesh = make_mesh(jax.devices()[:1])
    noise = np.random.default_rng(0).integers(0, 40, (30, 6, 6, 1))
    images = (20 + 90 * LABELS[:, None, None, None] + noise).astype(np.uint8)
    wrong = LABELS.copy()
    wrong[[18, 19, 22]] = [1, 0, 0]  # classes 0, 1, 1
    training = Training(
        steps=60, batch_size=16, optimiser=Optimiser(learning_rate=0.03, schedule="constant")
    )
    task = Classification(classes=3, intensity=intensity)
    return Target(backbone, task, Feed(images, mesh), wrong, training)


@pytest.fixture(scope="module")
def tuned(target, variables):
    return target.finetune(variables, TRAIN, Session(seed=0))


def test_learns_what_is_separable(target, tuned):
    for rows in (TRAIN, TEST):
        np.testing.assert_array_equal(target.probabilities(tuned, rows).argmax(1), LABELS[rows])


def test_wrong_labels_show_in_the_confusion_matrix(target, tuned):
    predicted, true = target.probabilities(tuned, TEST), target.labels[TEST]
    # Four test images a class; one of class 0 is called 1, two of class 1 are called 0.
    assert confusion(true, predicted).tolist() == [[3, 2, 0], [1, 2, 0], [0, 0, 4]]
    assert scores(true, predicted)["accuracy"] == 0.75


def test_all_layers_are_trained_and_the_pretrained_ones_survive(target, tuned, variables):
    moved = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()), tuned.params["backbone"], variables["params"]
    )
    assert min(jax.tree.leaves(moved)) > 1e-3
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(variables))
    assert set(tuned.params["heads"]) == {"target"}


def test_probabilities_are_the_networks(target, tuned, backbone, intensity):
    """`probabilities` applies the head to the features; the head module must agree."""
    pooled = backbone.apply(tuned.variables, intensity(target.images.arrays))["pooled"]
    head = target.task.head()
    logits = head.apply(
        {"params": tuned.params["heads"]["target"]}, {"pooled": pooled[:, None]}, None
    )
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(target.probabilities(tuned, np.arange(30)), expected, atol=1e-5)


def test_from_scratch_depends_on_the_seed_alone(target):
    short = Target(**{**vars(target), "training": Training(steps=2, batch_size=16)})
    one, again, other = (short.finetune(None, TRAIN, Session(seed=s)).params for s in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    kernel = [p["backbone"]["conv"]["kernel"] for p in (one, other)]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


def test_a_probed_head_starts_as_the_linear_probe(target, variables, monkeypatch):
    monkeypatch.setattr(finetune, "fit", lambda state, *about, **given: state)
    probed = dataclasses.replace(target, head="probe", groups=np.arange(30))

    def start(target, variables):
        head = target.first_head(variables, TRAIN)
        return target.finetune(variables, TRAIN, Session(seed=0), head=head)

    starts = [start(t, variables) for t in (probed, target)]
    x = target._features(variables, np.arange(30))
    expected = linear_probe(x[TRAIN], LABELS[TRAIN], x, classes=3)
    fitted, random = (target.probabilities(s, np.arange(30)) for s in starts)
    np.testing.assert_allclose(fitted, expected, atol=2e-3)
    assert np.abs(random - expected).max() > 0.1
    jax.tree.map(np.testing.assert_array_equal, *(s.params["backbone"] for s in starts))
    # From scratch there are no features to probe.
    scratch = [start(t, None).params for t in (probed, target)]
    jax.tree.map(np.testing.assert_array_equal, *scratch)


def test_balanced_sampling_repeats_smaller_classes_evenly():
    labels = np.array([0] * 7 + [1] * 2 + [2] * 3 + [9] * 5)
    rows = balanced(np.arange(12), labels)
    assert np.bincount(labels[rows]).tolist() == [7, 7, 7]
    assert sorted(np.bincount(rows)) == [1] * 7 + [2, 2] + [3, 3, 4]


def test_class_weights_by_hand():
    labels = np.array([2, 0, 0, -1, 0, 2, 1])
    # Of four images, three are of class 0 and one of class 2; the others are not trained on.
    weights = class_weights(np.array([5, 1, 2, 4]), labels)
    np.testing.assert_allclose(weights, [0, 2 / 3, 2 / 3, 0, 2 / 3, 2, 0], rtol=1e-6)
    assert weights.dtype == np.float32


def test_class_weights_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels, rows = rng.choice([0, 1, 4], 60, p=[0.7, 0.2, 0.1]), rng.permutation(60)[:40]
    weights = class_weights(rows, labels)[rows]
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", labels[rows]), rtol=1e-6)
    assert weights.mean() == pytest.approx(1)


def test_balance_changes_the_rows_or_the_weights(target, variables, monkeypatch):
    fed = []
    monkeypatch.setattr(finetune, "fit", lambda state, task, feed, *_, **__: fed.append(feed))
    rows = np.concatenate([TRAIN[LABELS[TRAIN] == 0], [1, 2]])
    for balance in ("none", "sampling", "weights"):
        dataclasses.replace(target, balance=balance).finetune(variables, rows, Session(seed=0))
    plain, sampled, weighted = (np.bincount(LABELS[feed.rows]).tolist() for feed in fed)
    assert plain == weighted == [6, 1, 1] and sampled == [6, 6, 6]
    images, labels, weights = next(fed[-1].batches([rows])).take()
    np.testing.assert_array_equal(labels, target.labels[rows])
    np.testing.assert_allclose(weights, [8 / 18] * 6 + [8 / 3] * 2, rtol=1e-6)
    assert images.shape == (8, 6, 6, 1)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_disjoint_complete_and_stratified(folds):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 4], [5, 17, 30]))
    sets = stratified_folds(labels, folds, seed=0)
    assert len(sets) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate(sets)), np.arange(52))
    for c in (0, 1, 4):
        counts = [int((labels[fold] == c).sum()) for fold in sets]
        assert max(counts) - min(counts) <= 1 and min(counts) >= 1
    assert all((np.diff(fold) > 0).all() for fold in sets)  # sorted


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_are_scikit_learns(grouped):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(30), 2))
    labels = (np.arange(30) % 3)[groups]
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=7)
    expected = splitter.split(labels, labels, groups if grouped else np.arange(60))
    found = stratified_folds(labels, 4, seed=7, groups=groups if grouped else None)
    for fold, (_, held_out) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(fold, held_out)


def test_folds_of_a_rare_class():
    labels = np.repeat([0, 1, 2], [10, 4, 10])
    with pytest.raises(InputError, match="class 1 has 4 .* 5-fold"):
        stratified_folds(labels, 5, seed=0)
    assert len(stratified_folds(labels, 4, seed=0)) == 4


def test_folds_keep_patients_together_and_spread_the_images_of_a_class():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 2, 5], [7, 11, 20])  # of 38 patients
    groups = rng.permutation(np.repeat(np.arange(38), rng.integers(1, 5, 38)))
    labels = classes[groups]
    sets = stratified_folds(labels, 5, seed=0, groups=groups * 10 - 50)
    np.testing.assert_array_equal(np.sort(np.concatenate(sets)), np.arange(len(labels)))
    sides = [set(groups[fold]) for fold in sets]
    assert sum(len(side) for side in sides) == 38  # no patient is in two folds
    for c in (0, 2, 5):
        counts = [int((labels[fold] == c).sum()) for fold in sets]
        assert max(counts) - min(counts) <= 1
        assert all(any(classes[patient] == c for patient in side) for side in sides)
    # Without groups, folds share patients, so the assertion above can fail.
    torn = [set(groups[fold]) for fold in stratified_folds(labels, 5, seed=0)]
    assert sum(len(side) for side in torn) > 38


def test_a_patient_of_several_classes_counts_for_each():
    # Patients 0 to 3 have an image of class 1, and patients 4 and 5 have no other.
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5])
    labels = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1])
    sides = [set(groups[fold]) for fold in stratified_folds(labels, 2, seed=0, groups=groups)]
    assert sides[0] | sides[1] == set(range(6)) and not sides[0] & sides[1]
    assert len(stratified_folds(labels, 4, seed=0, groups=groups)) == 4
    with pytest.raises(InputError, match="class 0 has 4 patients, but 5-fold"):
        stratified_folds(labels, 5, seed=0, groups=groups)
    with pytest.raises(InputError, match="class 1 has 1 patients, but 2-fold"):
        stratified_folds(np.array([0, 1, 0, 0, 0, 0]), 2, seed=0, groups=[0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_of_patients_who_all_have_both_classes(folds):
    labels, groups = np.tile([0, 1], 16), np.repeat(np.arange(16), 2)
    for seed in range(10):
        sets = stratified_folds(labels, folds, seed=seed, groups=groups)
        np.testing.assert_array_equal(np.sort(np.concatenate(sets)), np.arange(32))
        assert sum(len(set(groups[fold])) for fold in sets) == 16
        sizes = [np.bincount(labels[fold]).tolist() for fold in sets]
        assert max(map(max, sizes)) - min(map(min, sizes)) <= 1


def test_a_class_is_not_absent_from_training():
    # scikit-learn's first shuffle puts both patients of class 1 into one fold.
    groups = np.array([0, 0, 0, 0, 1, 2, 2])
    labels = np.array([0, 1, 0, 2, 1, 0, 2])
    first = StratifiedGroupKFold(2, shuffle=True, random_state=0)
    trained = [set(labels[train]) for train, _ in first.split(labels, labels, groups)]
    assert {0, 2} in trained
    sets = stratified_folds(labels, 2, seed=0, groups=groups)
    assert all(set(np.delete(labels, fold)) == {0, 1, 2} for fold in sets)
    # No division of these three patients leaves every class on both sides.
    groups, labels = np.repeat([0, 1, 2], 2), np.array([0, 1, 1, 2, 2, 0])
    assert len(stratified_folds(labels, 2, seed=0, groups=groups)) == 2


@pytest.mark.parametrize("groups", [None, np.arange(12), np.arange(12) * 5 - 7])
def test_folds_of_patients_with_one_image_each_are_those_of_images(groups):
    labels = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0])
    # Written down from a run: the settings of a finished stage stand for these very folds.
    expected = [[1, 5, 6, 10], [2, 3, 7, 11], [0, 4, 8, 9]]
    sets = stratified_folds(labels, 3, seed=0, groups=groups)
    assert [fold.tolist() for fold in sets] == expected
    with pytest.raises(InputError, match="class 0 has 6 labelled images"):
        stratified_folds(labels, 7, seed=0, groups=groups)
