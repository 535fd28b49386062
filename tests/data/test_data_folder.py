"""Images in folders: layouts, splits and every error."""

import gc

import numpy as np
import pytest
from data_sets import picture, refused, values, whole

from assl_jax.data import load
from assl_jax.data.dataset import intensity_of


@pytest.fixture
def tree(tmp_path):
    """Three folders; each file has its pixel value: unlabeled 10.., train 100.., test 200.."""
    root = tmp_path / "photos"
    for i in range(5):
        picture(root / f"unlabeled/deep/{'ab'[i % 2]}/{i}.png", 10 + i)
    for k, c in enumerate(("cat", "ant")):
        for i in range(4):
            picture(root / f"train/{c}/{i}.png", 100 + 10 * k + i)
        for i in range(2):
            picture(root / f"test/{c}/{i}.PNG", 200 + 10 * k + i)
    return root


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_goes_on_as_before(tree, enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        load("folder", path=str(tree))
        assert gc.isenabled() == enabled
        (tree / "train" / "empty").mkdir()
        refused("folder", path=str(tree))
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_three_folders(tree):
    data = load("folder", path=str(tree))
    assert data.images.shape == (17, 4, 6, 3) and data.images.dtype == np.uint8
    assert data.class_names == ("ant", "cat")
    assert values(data, data.unlabeled) == [10, 11, 12, 13, 14]
    (train,) = data.labelled_sets
    assert values(data, train) == [100, 101, 102, 103, 110, 111, 112, 113]
    assert values(data, data.test) == [200, 201, 210, 211]
    assert (data.labels[data.unlabeled] == -1).all()
    for index in (train, data.test):  # ant's pixel values end in 1x, cat's in 0x
        np.testing.assert_array_equal(
            data.labels[index], data.images[index, 0, 0, 0] // 10 % 10 == 0
        )
    seen = np.arange(10, 15) / 255
    assert data.intensity.mean == pytest.approx([seen.mean()] * 3, abs=1e-6)
    assert data.intensity.std == pytest.approx([seen.std()] * 3, abs=1e-6)


def test_without_unlabeled_the_training_images_are_used(tree):
    for file in (tree / "unlabeled").rglob("*.png"):
        file.unlink()
    for folder in ("deep/a", "deep/b", "deep", "."):
        (tree / "unlabeled" / folder).rmdir()
    data = load("folder", path=str(tree), labels=2)
    assert values(data, data.unlabeled) == [100, 101, 102, 103, 110, 111, 112, 113]
    assert np.bincount(data.labels[data.labelled_sets[0]]).tolist() == [1, 1]


@pytest.mark.parametrize("prefix", ["train", "."])
def test_one_tree_is_split_by_class(tmp_path, prefix):
    for k, (c, n) in enumerate((("a", 10), ("b", 5), ("c", 2))):
        for i in range(n):
            picture(tmp_path / prefix / c / f"{i}.png", 50 * k + i)
    first, again, other = (
        load("folder", path=str(tmp_path), test_fraction=0.4, seed=s) for s in (0, 0, 1)
    )
    for rows in (first.test, first.labelled_sets[0]):
        assert (np.bincount(first.labels[rows], minlength=3) > 0).all()
    assert values(first, first.test) == values(again, again.test) != values(other, other.test)
    everything = values(first, np.concatenate([first.test, first.unlabeled]))
    assert everything == [*range(10), *range(50, 55), 100, 101]
    np.testing.assert_array_equal(first.labels, first.images[:, 0, 0, 0] // 50)


def test_hidden_nested_and_foreign_files(tree):
    picture(tree / "train/ant/more/inside.jpg", 77)
    picture(tree / "train/ant/.hidden.png", 1, size=(9, 9))
    picture(tree / "train/.thumbnails/x.png", 1, size=(9, 9))
    picture(tree / "train/beside.png", 1, size=(9, 9))
    (tree / "train/ant/notes.txt").write_text("no image")
    (tree / "README.md").write_text("no image")
    data = load("folder", path=str(tree))
    assert data.class_names == ("ant", "cat")
    assert values(data, data.labelled_sets[0])[0] == 77
    assert len(data.labelled_sets[0]) == 9


def test_labelled_subset(tree):
    a, b, c = (load("folder", path=str(tree), labels=4, seed=s).labelled_sets[0] for s in (0, 0, 3))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_labelled_images_leave_the_unlabeled_fingerprint_alone(tree):
    first = load("folder", path=str(tree))

    def again(**settings):
        return load("folder", path=str(tree), **settings)

    changed = [again(labels=4)]
    picture(tree / "train/ant/new.png", 140)
    changed.append(again())
    picture(tree / "test/cat/new.png", 141)
    changed.append(again())
    for name in ("train", "test"):
        (tree / name / "cat").rename(tree / name / "dog")
    changed.append(again())
    assert {data.fingerprint(data.unlabeled) for data in changed} == {
        first.fingerprint(first.unlabeled)
    }
    assert len({whole(data) for data in [first, *changed]}) == 5

    before = again()
    picture(tree / "unlabeled/deep/a/0.png", 11)
    pixels = again()
    picture(tree / "unlabeled/new.png", 12)
    added = again()
    assert len({d.fingerprint(d.unlabeled) for d in (before, pixels, added)}) == 3
    assert len({whole(d) for d in (before, pixels, added)}) == 3


def test_skipped_files_are_listed_and_their_neighbours_stay(tree):
    (tree / "train/ant/1.png").write_bytes(b"not an image")
    (tree / "unlabeled/deep/a/0.png").write_bytes(b"")
    message = refused("folder", path=str(tree))
    assert str(tree / "unlabeled/deep/a/0.png") in message and "on_error=skip" in message
    data = load("folder", path=str(tree), on_error="skip")
    assert data.skipped == (
        "unlabeled/deep/a/0.png: not an image",
        "train/ant/1.png: not an image",
    )
    assert len(data.images) == len(data.labels) == 15
    # The statistics come from sums that were made while the files were read.
    assert data.intensity == intensity_of(data.images[data.unlabeled], low=0.0, high=255.0)
    assert values(data, data.unlabeled) == [11, 12, 13, 14]
    assert values(data, data.labelled_sets[0]) == [100, 101, 102, 103, 110, 112, 113]
    assert values(data, data.test) == [200, 201, 210, 211]
    assert data.labels[data.test].tolist() == [0, 0, 1, 1]
