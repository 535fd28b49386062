"""The data set: its splits, its groups, its statistics and its fingerprints."""

import dataclasses

import numpy as np
import pytest

from assl_jax.data import dataset, load
from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.errors import InputError
from assl_jax.ops.intensity import Intensity

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 2, 3, 1), dtype=np.uint8)


def make(**changes) -> Dataset:
    """Rows 0 to 7 are unlabeled, 6 to 8 labelled, 9 to 11 test images."""
    settings = {
        "name": "made up",
        "images": IMAGES,
        "labels": np.array([-1] * 6 + [0, 1, 0, 1, 0, 1], np.int32),
        "class_names": ("a", "b"),
        "unlabeled": np.arange(8),
        "labelled_sets": (np.array([6, 7, 8]),),
        "test": np.array([9, 10, 11]),
        "intensity": Intensity(low=0.0, high=255.0, mean=(0.5,), std=(0.25,)),
    }
    return Dataset(**settings | changes)


def with_pixel(row):
    images = IMAGES.copy()
    images[row, 1, 1, 0] ^= 1
    return {"images": images}


def with_label(row, label):
    labels = make().labels.copy()
    labels[row] = label
    return {"labels": labels}


def with_one_more(role):
    """One more image at the end, and the index array that names it."""
    changes = {
        "images": np.concatenate([IMAGES, IMAGES[:1]]),
        "labels": np.append(make().labels, 1).astype(np.int32),
    }
    if role == "labelled_sets":
        return changes | {role: (np.array([6, 7, 8, 12]),)}
    return changes | {role: np.append(getattr(make(), role), 12)}


BOTH = {
    "an unlabeled pixel": with_pixel(2),
    "a pixel that is unlabeled and labelled": with_pixel(7),
    "one more unlabeled image": with_one_more("unlabeled"),
    "one unlabeled image less": {"unlabeled": np.arange(1, 8)},
    "the order": {"unlabeled": np.arange(8)[::-1]},
    "the type": {"images": IMAGES.astype(np.int16)},
    "the shape": {"images": IMAGES.reshape(12, 3, 2, 1)},
    "the intensity": {"intensity": Intensity(low=0.0, high=255.0, mean=(0.5,), std=(0.26,))},
    "the origin of an unlabeled image": {"origins": ("x", *"bcdefghijkl")},
}
WHOLE = {
    "a label for an unlabeled image": with_label(3, 1)
    | {"labelled_sets": (np.array([3, 6, 7, 8]),)},
    "another label": with_label(8, 1),
    "a class name": {"class_names": ("a", "c")},
    "a labelled pixel": with_pixel(8),
    "a test pixel": with_pixel(10),
    "one more labelled image": with_one_more("labelled_sets"),
    "one more test image": with_one_more("test"),
    "two labelled sets": {"labelled_sets": (np.array([6, 7]), np.array([8]))},
    "patients": {"patients": np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6])},
    "the origin of a test image": {"origins": (*"abcdefghijk", "x")},
}


def base(changes):
    return make(origins=tuple("abcdefghijkl")) if "origins" in changes else make()


@pytest.mark.parametrize("change", BOTH)
def test_what_changes_both_fingerprints(change):
    changed, before = make(**BOTH[change]), base(BOTH[change])
    assert changed.unlabeled_fingerprint() != before.unlabeled_fingerprint()
    assert changed.fingerprint() != before.fingerprint()


@pytest.mark.parametrize(
    "change, hashed",
    # With 16 bytes, every fourth unlabeled image is hashed, however many other images there are.
    [(c, 2**28) for c in WHOLE] + [(c, 16) for c in WHOLE if "pixel" not in c],
)
def test_what_changes_the_whole_fingerprint_only(monkeypatch, change, hashed):
    monkeypatch.setattr(dataset, "HASHED_BYTES", hashed)
    changed, before = make(**WHOLE[change]), base(WHOLE[change])
    assert changed.unlabeled_fingerprint() == before.unlabeled_fingerprint()
    assert changed.fingerprint() != before.fingerprint()
    same = changed.fingerprint(test=False) == before.fingerprint(test=False)
    assert same == ("test" in change)


def test_the_position_of_the_unlabeled_images_does_not_matter():
    order = np.array([9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    moved = make(
        images=IMAGES[order],
        labels=make().labels[order],
        unlabeled=np.arange(3, 11),
        labelled_sets=(np.array([9, 10, 11]),),
        test=np.array([0, 1, 2]),
    )
    assert moved.unlabeled_fingerprint() == make().unlabeled_fingerprint()
    assert moved.fingerprint(test=False) == make().fingerprint(test=False)
    assert moved.fingerprint() != make().fingerprint()


def test_the_patients_of_test_images_do_not_count_without_them():
    first, other, joined = (
        make(patients=np.array(patients))
        for patients in (
            [0, 0, 1, 1, 2, 2, 4, 4, 5, 7, 8, 9],
            [1, 1, 2, 2, 3, 3, 5, 5, 6, 0, 0, 0],  # of the labelled images, 6 and 7 share one
            [0, 0, 1, 1, 2, 2, 4, 5, 5, 7, 8, 9],  # 7 and 8 share one
        )
    )
    assert first.fingerprint(test=False) == other.fingerprint(test=False)
    assert first.fingerprint(test=False) != joined.fingerprint(test=False)
    assert len({d.fingerprint() for d in (first, other, joined)}) == 3


def test_fingerprints_are_hex_digits_and_computed_once(monkeypatch):
    data = make()
    first = data.fingerprint(), data.unlabeled_fingerprint(), data.fingerprint(test=False)
    assert len(set(first)) == 3
    for text in first:
        assert len(text) == 16 and int(text, 16) > 0
    assert (make().fingerprint(), make().unlabeled_fingerprint()) == first[:2]
    monkeypatch.setattr(dataset, "hashlib", None)
    assert (data.fingerprint(), data.unlabeled_fingerprint()) == first[:2]
    assert data.fingerprint(test=False) == first[2]
    monkeypatch.undo()
    other = dataclasses.replace(data, **with_pixel(0))
    assert other.unlabeled_fingerprint() != first[1]


def test_a_large_set_is_sampled(monkeypatch):
    """About `HASHED_BYTES` of images are read, however many there are."""
    monkeypatch.setattr(dataset, "HASHED_BYTES", 16)  # 48 of the 72 bytes are unlabeled
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, index):
            if isinstance(index, np.integer):
                read.append(int(index))
            return super().__getitem__(index)

    data = make(images=IMAGES.view(Watched))
    read.clear()
    data.unlabeled_fingerprint()
    assert read == [0, 4]
    data.fingerprint()
    assert read == [0, 4, 8, 9]  # every fourth of the labelled ones and fifth of the test images


@pytest.mark.parametrize(
    "name, settings, changed",
    [
        ("digits", {"labels": 50, "side": 8}, {"labels": 100}),
        ("phantom_ct", {"volumes": 24, "shape": (8, 8, 8), "labels": 8, "test": 8}, {"labels": 4}),
    ],
)
def test_sources_with_more_or_fewer_labels(name, settings, changed):
    first, second, third = (load(name, **settings | c) for c in ({}, changed, {"seed": 1}))
    assert first.unlabeled_fingerprint() == second.unlabeled_fingerprint()
    assert len({d.fingerprint() for d in (first, second, third)}) == 3
    assert first.unlabeled_fingerprint() != third.unlabeled_fingerprint()  # other test images


def test_an_image_without_a_known_patient_is_its_own_group():
    assert make().groups.tolist() == list(range(12)) and make().test_patients is None
    patients = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6])
    data = make(patients=patients)
    assert data.groups.tolist() == patients.tolist() and data.test_patients == 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labelled_sets": (np.array([5, 6]),)}, "an image without a label"),
        ({"test": np.array([8, 9])}, "1 test images are also used for training"),
        ({"patients": np.array([*range(11), 8])}, "1 patients are both in the test and in"),
    ],
)
def test_splits_that_overlap(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_statistics_against_floating_point(monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 50)  # several blocks
    images = RNG.integers(-200, 200, (7, 3, 4, 2)).astype(np.int16)
    images[..., 1] = 5
    found = intensity_of(images, low=-100.0, high=150.0)
    unit = (np.clip(images[..., 0].astype(float), -100, 150) + 100) / 250
    assert found.mean == pytest.approx((unit.mean(), 105 / 250), abs=1e-6)
    assert found.std == pytest.approx((unit.std(), 1.0), abs=1e-6)  # no contrast: 1
    assert (found.low, found.high) == (-100.0, 150.0)
