"""The data set: its splits, its groups, its statistics and its fingerprints."""

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


def letters(text):
    """An origin for each image."""
    return np.array([*text])


# What changes, and the fingerprints that change with it.
CHANGES = {
    "an unlabeled pixel": (with_pixel(2), {"unlabeled"}),
    "a pixel that is unlabeled and labelled": (with_pixel(7), {"unlabeled", "labelled", "all"}),
    "a labelled pixel": (with_pixel(8), {"labelled", "all"}),
    "a test pixel": (with_pixel(10), {"all"}),
    "one more unlabeled image": (with_one_more("unlabeled"), {"unlabeled"}),
    "one more labelled image": (with_one_more("labelled_sets"), {"labelled", "all"}),
    "one more test image": (with_one_more("test"), {"all"}),
    "the order": ({"unlabeled": np.arange(8)[::-1]}, {"unlabeled"}),
    "the type": ({"images": IMAGES.astype(np.int16)}, {"unlabeled", "labelled", "all"}),
    "the shape": ({"images": IMAGES.reshape(12, 3, 2, 1)}, {"unlabeled", "labelled", "all"}),
    "the intensity": (
        {"intensity": Intensity(low=0.0, high=255.0, mean=(0.5,), std=(0.26,))},
        {"unlabeled", "labelled", "all"},
    ),
    "the origin of an unlabeled image": ({"origins": letters("xbcdefghijkl")}, {"unlabeled"}),
    "the origin of a test image": ({"origins": letters("abcdefghijkx")}, {"all"}),
    "a label for an unlabeled image": (
        with_label(3, 1) | {"labelled_sets": (np.array([3, 6, 7, 8]),)},
        {"labelled", "all"},
    ),
    "another label": (with_label(8, 1), {"labelled", "all"}),
    "a class name": ({"class_names": ("a", "c")}, {"labelled", "all"}),
    "two labelled sets": (
        {"labelled_sets": (np.array([6, 7]), np.array([8]))},
        {"labelled", "all"},
    ),
    "patients": (
        {"patients": np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6])},
        {"labelled", "all"},
    ),
    "patients of test images": (
        {"patients": np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10])},
        {"all"},
    ),
}


def fingerprints(data):
    return {
        "unlabeled": data.fingerprint(data.unlabeled),
        "labelled": data.fingerprint(*data.labelled_sets, labelled=True),
        "all": data.fingerprint(*data.labelled_sets, data.test, labelled=True),
    }


@pytest.mark.parametrize("changes, expected", CHANGES.values(), ids=CHANGES.keys())
def test_a_fingerprint_changes_with_what_it_is_of(changes, expected):
    before = fingerprints(make(origins=letters("abcdefghijkl")) if "origins" in changes else make())
    after = fingerprints(make(**changes))
    assert {name for name in before if before[name] != after[name]} == expected
    assert all(len(text) == 16 and int(text, 16) > 0 for text in after.values())


def test_digests_stand_for_the_images():
    digests = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    first = fingerprints(make(digests=digests))
    assert fingerprints(make(digests=digests, images=255 - IMAGES)) == first
    digests[3] += 1  # an unlabeled image
    after = fingerprints(make(digests=digests))
    assert [name for name in first if after[name] != first[name]] == ["unlabeled"]


def test_the_position_of_the_images_does_not_matter():
    order = np.array([9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    moved = make(
        images=IMAGES[order],
        labels=make().labels[order],
        unlabeled=np.arange(3, 11),
        labelled_sets=(np.array([9, 10, 11]),),
        test=np.array([0, 1, 2]),
    )
    assert fingerprints(moved) == fingerprints(make())


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
    data.fingerprint(data.unlabeled)
    assert read == [0, 4]  # every fourth


@pytest.mark.parametrize(
    "name, settings, changed",
    [
        ("digits", {"labels": 50, "side": 8}, {"labels": 100}),
        ("phantom_ct", {"volumes": 24, "shape": (8, 8, 8), "labels": 8, "test": 8}, {"labels": 4}),
    ],
)
def test_sources_with_more_or_fewer_labels(name, settings, changed):
    first, second, third = (load(name, **settings | c) for c in ({}, changed, {"seed": 1}))
    one, two, three = map(fingerprints, (first, second, third))
    assert one["unlabeled"] == two["unlabeled"] != three["unlabeled"]  # other test images
    assert len({one["all"], two["all"], three["all"]}) == 3


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
