"""What is said about the images before training."""

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
from finished_runs import results_of

from assl_jax import records
from assl_jax.data import Dataset, load
from assl_jax.data.summary import summarise
from assl_jax.ops.intensity import Intensity
from assl_jax.records import Results, Split


@pytest.fixture
def dataset():
    """40 unlabeled images, of which 20 are labelled, and 20 for testing; 2 classes."""
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1), dtype=np.uint8)
    labels = np.full(60, -1, np.int32)
    labels[20:] = np.arange(40) % 2
    return Dataset(
        name="random",
        images=images,
        labels=labels,
        class_names=("cat", "dog"),
        unlabeled=np.arange(40),
        labelled_sets=(np.arange(20, 40),),
        test=np.arange(40, 60),
        intensity=Intensity(),
    )


def test_counts(dataset):
    found = summarise(dataset)
    assert (found.name, found.shape, found.dtype) == ("random", (6, 6, 1), "uint8")
    assert found.splits == {
        "unlabeled": Split(images=40),
        "labelled": Split(images=20, classes={"cat": 10, "dog": 10}),
        "test": Split(images=20, classes={"cat": 10, "dog": 10}),
    }
    assert found.odd == ()


def test_how_files_were_read_is_written_and_read_back_equal(dataset, tmp_path):
    """Otherwise the results of a finished run would look changed."""
    how = {"window": (0.0, 200.0), "side": 6, "foreground_above": None, "shape": ()}
    found = summarise(dataclasses.replace(dataset, format=how))
    records.write(tmp_path / "a.json", results_of((), images=found))
    back = records.read(tmp_path / "a.json", Results)
    assert back.images == found
    assert records.as_settings(back.images.format) == how


def test_patients_and_several_labelled_sets(dataset):
    found = summarise(
        dataclasses.replace(
            dataset,
            patients=np.arange(60) // 2,
            labelled_sets=(np.arange(20, 30), np.arange(26, 36)),
        )
    )
    assert list(found.splits) == ["unlabeled", "labelled, in 2 sets of about 10", "test"]
    assert [split.patients for split in found.splits.values()] == [20, 8, 10]
    assert [split.images for split in found.splits.values()] == [40, 16, 20]


def odd(dataset, **changes):
    return summarise(dataclasses.replace(dataset, **changes)).odd


def test_copies(dataset):
    images = dataset.images.copy()
    images[41] = images[3]  # a test image that pretraining sees
    images[23] = images[20]  # a cat and a dog
    images[5] = images[4]
    told = (
        "1 test image is identical to images that are trained on; remove them from one side, or "
        "the test accuracy is too high",
        "1 image occurs with different labels, such as cat and dog",
        "3 images are copies of others",
    )
    assert odd(dataset, images=images) == told
    # Digests tell it without a look at the images.
    unlike = np.random.default_rng(1).integers(0, 256, (60, 16), dtype=np.uint8)
    assert not odd(dataset, images=images, digests=unlike)
    unlike[[41, 23, 5]] = unlike[[3, 20, 4]]
    assert odd(dataset, digests=unlike) == told


def test_values(dataset):
    images = dataset.images.copy()
    images[7] = 9
    images[8] = 9 + images[8] % 5
    assert odd(dataset, images=images) == (
        "2 images are nearly constant; look for blank files, or for a window that is too wide",
    )
    (sentence,) = odd(dataset, images=dataset.images // 64 * 64)
    assert sentence.startswith("the images have only 4 different values between 0 and 255")
    (sentence,) = odd(dataset, intensity=Intensity(low=100, high=110))
    assert sentence.startswith("the images have only 11 different values between 100 and 110")


def slow_findings(dataset, rows):
    """Flat images and groups of equal ones, by looking at every value."""
    flat = sum(int(image.max()) - int(image.min()) < 0.02 * 255 for image in dataset.images[rows])
    same = defaultdict(list)
    for row in rows:
        same[dataset.images[row].tobytes()].append(row)
    return flat, sum(len(each) - 1 for each in same.values())


@pytest.mark.parametrize("space", [(50, 64), (3, 40, 41)])
def test_samples_find_what_whole_images_hold(dataset, space):
    """Images that differ, or have contrast, in a single value that no sample holds."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, *space, 1), dtype=np.uint8)
    images[10:20] = images[30:40]
    images[12:16, *(0 for _ in space)] += 1  # no copies
    images[20:24] = 100 + images[20:24] % 4  # flat
    images[22:24, *(-1 for _ in space)] = 0  # not flat
    changed = dataclasses.replace(dataset, images=images)
    flat, copies = slow_findings(changed, range(60))
    assert (flat, copies) == (2, 6)
    found = odd(dataset, images=images)
    assert found[0].startswith("2 images are nearly constant")
    assert found[-1] == "6 images are copies of others"
    (sentence,) = (s for s in odd(dataset, images=images // 128) if "different values" in s)
    assert sentence.startswith("the images have only 2 different values")
    images = images // 128
    images[5, 0] = np.resize(np.arange(2, 40), images[5, 0].shape)  # in one row of one image
    assert not any("different values" in s for s in odd(dataset, images=images))


def test_whole_images_are_read_only_where_samples_agree(dataset):
    class Counted(np.ndarray):
        read = 0

        def __getitem__(self, index):
            found = np.asarray(self)[index]
            Counted.read += np.size(found)
            return found

    images = np.random.default_rng(1).integers(0, 256, (60, 64, 64, 1), dtype=np.uint8)
    images[3] = images[41]
    assert any("1 image is a copy" in s for s in odd(dataset, images=images.view(Counted)))
    assert Counted.read < images.size / 8


def test_classes_of_very_different_size(dataset):
    labels = dataset.labels.copy()
    labels[20:40] = [1] + [0] * 19
    (sentence,) = odd(dataset, labels=labels)
    assert sentence.startswith("the labelled images are unbalanced: 19 of 'cat', 1 of 'dog'")


def test_the_embedded_images_are_not_odd():
    assert summarise(load("digits")).odd == ()
