"""Seeded draws: even over the classes, and by names."""

import hashlib
import itertools

import numpy as np
import pytest

from assl_jax.data.splits import split_by_name, stratified_subset
from assl_jax.errors import InputError


def test_split_by_name_by_hand():
    """The place of a name is the first 64 bits of SHA-256 of the seed, a line end and the name."""
    labels, names = np.array([0] * 40 + [1] * 40), [f"{i:03}.png" for i in range(80)]
    for seed in (0, 1):
        places = [
            int(hashlib.sha256(f"{seed}\n{name}".encode()).hexdigest()[:16], 16) / 2**64
            for name in names
        ]
        test = split_by_name(labels, names, 0.3, seed=seed)
        assert test.tolist() == [i for i, place in enumerate(places) if place < 0.3]
    drawn = {tuple(split_by_name(labels, names, 0.3, seed=s).tolist()) for s in range(9)}
    assert len(drawn) == 9
    sizes = [len(split_by_name(labels, names, 0.3, seed=s)) for s in range(100)]
    assert abs(np.mean(sizes) / 80 - 0.3) < 0.02


def test_a_name_stays_on_its_side():
    names = [f"{i}.png" for i in range(200)]
    labels = np.arange(200) % 2
    whole = {names[i] for i in split_by_name(labels, names, 0.2, seed=0)}
    some = np.random.default_rng(0).permutation(200)[:120]
    part = {
        names[some[i]] for i in split_by_name(labels[some], [names[i] for i in some], 0.2, seed=0)
    }
    assert part == whole & {names[i] for i in some}


def test_every_class_is_on_both_sides():
    labels = np.array(["a"] * 10 + ["b"] * 5 + ["c"] * 2)
    names = [f"x{i}" for i in range(17)]
    for fraction in (0.01, 0.99):
        for seed in range(10):
            test = split_by_name(labels, names, fraction, seed=seed)
            counts = [int((labels[test] == c).sum()) for c in "abc"]
            assert all(0 < n < whole for n, whole in zip(counts, (10, 5, 2), strict=True))
    with pytest.raises(InputError, match="class 'd' has 1 scan, which cannot be on both sides"):
        split_by_name(np.array(["a", "a", "d"]), ["0", "1", "2"], 0.5, seed=0, what="scan")


def test_no_draw_ever_shares_a_patient():
    rng = np.random.default_rng(1)
    for seed, size in itertools.product(range(5), (30, 60, 90)):
        patients = rng.integers(0, size // 2, size)
        labels = rng.integers(0, 2, size)
        test = split_by_name(labels, patients.astype(str), 0.25, seed=seed)
        others = np.setdiff1d(np.arange(size), test)
        assert len(test) and len(others)
        assert not np.intersect1d(patients[test], patients[others]).size


def test_a_patient_counts_for_the_most_frequent_class():
    # Patients 0 and 1 have mostly class 0, patients 2 and 3 class 1.
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 0, 1, 1])
    patients = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    for seed in range(10):
        test = split_by_name(labels, patients.astype(str), 0.5, seed=seed)
        people = np.unique(patients[test])
        assert len(people) == 2 and people[0] in (0, 1) and people[1] in (2, 3)
    with pytest.raises(InputError, match="class '1' has 1 patient"):
        split_by_name(np.array([0, 0, 1]), ["1", "2", "3"], 0.5, seed=0, what="patient")


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_patients_of_both_classes_are_patients_of_each(fraction):
    labels, patients = np.tile([0, 1], 16), np.repeat(np.arange(16).astype(str), 2)
    for seed in range(20):
        test = split_by_name(labels, patients, fraction, seed=seed)
        assert 0 < len(test) < 32 and len(test) == 2 * len(np.unique(patients[test]))


def test_a_class_that_no_patient_has_most_images_of_is_on_both_sides():
    # Class 2 has one image each of four of ten patients, who have three of class 0 or 1.
    labels = np.array([[k % 2] * 3 + [2 if k < 4 else k % 2] for k in range(10)]).ravel()
    patients = np.repeat([f"p{k}" for k in range(10)], 4)
    for seed in range(200):
        tested = np.isin(np.arange(40), split_by_name(labels, patients, 0.2, seed=seed))
        for side in (tested, ~tested):
            assert set(labels[side]) == {0, 1, 2}
        assert all(len(set(tested[patients == p])) == 1 for p in patients)


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
    with pytest.raises(InputError, match="5 images of class 3, which has 4; .* at most 12"):
        stratified_subset(labels, 15, seed=0)
    with pytest.raises(InputError, match="labels=9 needs 5 images of class bee, which has 2"):
        stratified_subset(np.array([0, 1] * 2), 9, seed=0, names=("bee", "bee"))


def test_the_draws_stay_the_same():
    """A seed gives the same subset as in version 0.2.0."""
    labels = np.arange(12) % 3
    assert stratified_subset(labels, 5, seed=1).tolist() == [0, 1, 8, 9, 10]
