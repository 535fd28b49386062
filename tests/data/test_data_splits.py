"""Seeded draws: even over the classes, and by patients."""

import itertools

import numpy as np
import pytest

from assl_jax.data.splits import split_by_class, split_by_patient, stratified_subset
from assl_jax.errors import InputError


def test_split_by_patient_by_hand():
    # Ten patients of class 5, four of class 7, with one to three volumes each.
    patients = np.repeat(np.arange(14) * 3, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1, 2, 3, 1])
    labels = np.where(patients < 30, 5, 7)
    shuffle = np.random.default_rng(0).permutation(len(labels))
    labels, patients = labels[shuffle], patients[shuffle]
    drawn = set()
    for seed in range(20):
        test = split_by_patient(labels, patients, 0.3, seed=seed)
        assert (np.diff(test) > 0).all()
        people = np.unique(patients[test])
        # All volumes of the test patients: 0.3 * 10 = 3 patients and 0.3 * 4 = 1.2, rounded.
        np.testing.assert_array_equal(test, np.flatnonzero(np.isin(patients, people)))
        assert [(people < 30).sum(), (people >= 30).sum()] == [3, 1]
        np.testing.assert_array_equal(test, split_by_patient(labels, patients, 0.3, seed=seed))
        drawn |= set(people.tolist())
    assert len(drawn) == 14  # every patient is drawn for some seed


def test_a_patient_counts_for_the_most_frequent_class():
    # Patients 0 and 1 have mostly class 0, patients 2 and 3 class 1.
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 0, 1, 1])
    patients = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    for seed in range(10):
        people = np.unique(patients[split_by_patient(labels, patients, 0.5, seed=seed)])
        assert len(people) == 2 and people[0] in (0, 1) and people[1] in (2, 3)
    for fraction in (0.001, 0.999):  # at least one patient of each class on each side
        people = np.unique(patients[split_by_patient(labels, patients, fraction, seed=0)])
        assert len(people) == 2
    with pytest.raises(InputError, match="class '1' has 1 patient"):
        split_by_patient(np.array([0, 0, 1]), np.array([1, 2, 3]), 0.5, seed=0)


def test_no_draw_ever_shares_a_patient():
    rng = np.random.default_rng(1)
    for seed, size in itertools.product(range(5), (30, 60, 90)):
        patients = rng.integers(0, size // 2, size)
        labels = rng.integers(0, 2, size)
        test = split_by_patient(labels, patients, 0.25, seed=seed)
        others = np.setdiff1d(np.arange(size), test)
        assert len(test) and len(others)
        assert not np.intersect1d(patients[test], patients[others]).size


def test_split_by_class_by_hand():
    labels = np.array(["a"] * 10 + ["b"] * 5 + ["c"] * 2)
    drawn = set()
    for fraction, counts in ((0.4, [4, 2, 1]), (0.01, [1, 1, 1]), (0.99, [9, 4, 1])):
        for seed in range(20):
            test = split_by_class(labels, fraction, seed=seed)
            assert (np.diff(test) > 0).all()
            assert [int((labels[test] == c).sum()) for c in "abc"] == counts
            np.testing.assert_array_equal(test, split_by_class(labels, fraction, seed=seed))
            drawn |= set(test.tolist())
    assert len(drawn) == 17  # every image is drawn for some seed
    with pytest.raises(InputError, match="class 'd' has 1 scan, which cannot be on both sides"):
        split_by_class(np.array(["a", "a", "d"]), 0.5, seed=0, what="scan")


def test_patients_with_one_image_each_are_split_like_images():
    labels = np.random.default_rng(2).integers(0, 3, 40)
    for seed in range(5):
        np.testing.assert_array_equal(
            split_by_patient(labels, np.arange(40), 0.3, seed=seed),
            split_by_class(labels, 0.3, seed=seed),
        )


def test_a_stratified_subset_is_even():
    labels = np.repeat([3, 7, 9], [4, 10, 6])
    drawn, larger = set(), set()
    for seed in range(30):
        chosen = stratified_subset(labels, 10, seed=seed)
        counts = [int((labels[chosen] == c).sum()) for c in (3, 7, 9)]
        assert (np.diff(chosen) > 0).all() and sorted(counts) == [3, 3, 4]
        np.testing.assert_array_equal(chosen, stratified_subset(labels, 10, seed=seed))
        drawn |= set(chosen.tolist())
        larger.add(counts.index(4))
    assert len(drawn) == 20 and larger == {0, 1, 2}
    with pytest.raises(InputError, match="labels=15 needs 5 images of class 3, which has 4"):
        stratified_subset(labels, 15, seed=0)


def test_the_draws_stay_the_same():
    """A seed gives the same split as in version 0.2.0."""
    labels, patients = np.arange(12) % 3, np.arange(12) // 2
    assert stratified_subset(labels, 5, seed=1).tolist() == [0, 1, 8, 9, 10]
    assert split_by_class(labels, 0.3, seed=1).tolist() == [0, 10, 11]
    assert split_by_patient(np.arange(12) // 6, patients, 0.4, seed=1).tolist() == [0, 1, 10, 11]
