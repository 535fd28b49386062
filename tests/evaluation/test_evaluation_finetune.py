"""Fine-tuning on a set that anything can learn, and the folds that selection looks at."""

import jax
import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.evaluation.classification import Classification
from assl_jax.evaluation.finetune import Target, stratified_folds
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser
from assl_jax.training.sharding import make_mesh, replicate

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
    return Target(backbone, task, *replicate((images, wrong), mesh), training, mesh)


@pytest.fixture(scope="module")
def tuned(target, variables):
    return target.finetune(variables, TRAIN, seed=0)


def test_learns_what_is_separable(target, tuned):
    assert target.accuracy(tuned, TRAIN) == 1.0
    np.testing.assert_array_equal(target.predict(tuned, TEST), LABELS[TEST])


def test_accuracy_is_the_confusion_matrix_diagonal(target, tuned):
    predicted, true = target.predict(tuned, TEST), np.asarray(target.labels)[TEST]
    confusion = np.zeros((3, 3), int)
    for t, p in zip(true, predicted, strict=True):
        confusion[t, p] += 1
    # Four test images a class; one of class 0 is called 1, two of class 1 are called 0.
    assert confusion.tolist() == [[3, 2, 0], [1, 2, 0], [0, 0, 4]]
    assert target.accuracy(tuned, TEST) == np.trace(confusion) / confusion.sum() == 0.75


def test_all_layers_are_trained_and_the_pretrained_ones_survive(target, tuned, variables):
    moved = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()), tuned.params["backbone"], variables["params"]
    )
    assert min(jax.tree.leaves(moved)) > 1e-3
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(variables))
    assert set(tuned.params["heads"]) == {"target"}


def test_prediction_is_the_networks(target, tuned, backbone, intensity):
    """`predict` applies the head to features by itself; the module's own head must agree."""
    pooled = backbone.apply(tuned.variables, intensity(target.images))["pooled"]
    head = target.task.head()
    logits = head.apply(
        {"params": tuned.params["heads"]["target"]}, {"pooled": pooled[:, None]}, None
    )
    np.testing.assert_array_equal(target.predict(tuned, np.arange(30)), logits.argmax(-1))


def test_from_scratch_depends_on_the_seed_alone(target):
    short = Target(**{**vars(target), "training": Training(steps=2, batch_size=16)})
    one, again, other = (short.finetune(None, TRAIN, seed=s).params for s in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    kernel = [p["backbone"]["conv"]["kernel"] for p in (one, other)]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_disjoint_complete_and_stratified(folds):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 4], [5, 17, 30]))
    sets = stratified_folds(labels, folds, seed=0)
    assert len(sets) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate(sets)), np.arange(52))
    for c in (0, 1, 4):
        counts = [int((labels[fold] == c).sum()) for fold in sets]
        assert max(counts) - min(counts) <= 1 and min(counts) >= 1
    sizes = [len(fold) for fold in sets]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_seeded():
    labels = np.repeat([0, 1], 10)
    first, again, other = (stratified_folds(labels, 5, seed=s) for s in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


def test_folds_of_a_rare_class():
    labels = np.repeat([0, 1, 2], [10, 4, 10])
    with pytest.raises(InputError, match="class 1 has 4 .* 5-fold"):
        stratified_folds(labels, 5, seed=0)
    assert len(stratified_folds(labels, 4, seed=0)) == 4


def test_one_fold_leaves_nothing_to_train_on():
    with pytest.raises(InputError, match="folds=1"):
        stratified_folds(np.repeat([0, 1], 10), 1, seed=0)
