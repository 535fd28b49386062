"""NumPy archives: shapes, splits, intensities, and every error."""

import pickle

import numpy as np
import pytest
from data_sets import refused, whole

from assl_jax.data import load

TRAIN, TEST = [1, 0, 2, 0, 1, 2, 0], [2, 1, 0]


def images(n, *shape, first=0, dtype=np.uint8):
    """All values of image `i` are `first + i`, except the first, which is one more."""
    x = np.full((n, *shape), 0, dtype) + np.arange(n, dtype=dtype).reshape(n, *(1,) * len(shape))
    x.reshape(n, -1)[:, 0] += 1
    return (x + dtype(first)).astype(dtype)


def content(*shape, dtype=np.uint8):
    shape = shape or (4, 5)
    return {
        "train_images": images(7, *shape, first=10, dtype=dtype),
        "train_labels": np.array(TRAIN, np.uint8)[:, None],
        "test_images": images(3, *shape, first=90, dtype=dtype),
        "test_labels": np.array(TEST, np.uint8)[:, None],
    }


def save(folder, arrays):
    np.savez(folder / "set.npz", **arrays)
    return str(folder / "set.npz")


@pytest.mark.parametrize(
    "stored, read",
    [
        ((4, 5), (4, 5, 1)),
        ((4, 5, 1), (4, 5, 1)),
        ((4, 5, 3), (4, 5, 3)),
        ((4, 5, 2), (4, 5, 2, 1)),
        ((3, 4, 5), (3, 4, 5, 1)),
        ((3, 4, 5, 1), (3, 4, 5, 1)),
        ((2, 3, 4, 2), (2, 3, 4, 2)),
    ],
)
def test_images_and_volumes(tmp_path, stored, read):
    arrays = content(*stored)
    short = {(4, 5, 2), (3, 4, 5)}  # a short axis may hold channels
    axis = "none" if stored in short else "auto"
    data = load("npz", path=save(tmp_path, arrays), channels_axis=axis)
    assert data.images.shape == (10, *read) and data.images.dtype == np.uint8
    assert (data.space, data.channels) == (read[:-1], read[-1])
    both = [arrays["train_images"].ravel(), arrays["test_images"].ravel()]
    np.testing.assert_array_equal(data.images.ravel(), np.concatenate(both))
    assert data.labels.tolist() == TRAIN + TEST and data.class_names == ("0", "1", "2")
    (chosen,) = data.labelled_sets
    assert chosen.tolist() == data.unlabeled.tolist() == list(range(7))
    assert data.test.tolist() == [7, 8, 9] and data.keys[6:8] == ("train/6", "test/0")


def test_proxy_tasks_see_validation_and_unlabeled_images_too(tmp_path):
    arrays = content()
    plain = load("npz", path=save(tmp_path, arrays))
    arrays["val_images"] = images(2, 4, 5, first=40)
    arrays["val_labels"] = np.array("unused")
    arrays["unlabeled_images"] = images(4, 4, 5, first=60)
    data = load("npz", path=save(tmp_path, arrays), labels=3)

    def values(rows):
        return data.images[rows, -1, -1, 0].tolist()

    seen = [60, 61, 62, 63, 40, 41, *range(10, 17)]
    assert values(data.unlabeled) == seen and values(data.test) == [90, 91, 92]
    assert data.labels[data.unlabeled].tolist() == [-1] * 6 + TRAIN
    assert data.labels[data.test].tolist() == TEST
    (chosen,) = data.labelled_sets
    assert sorted(data.labels[chosen]) == [0, 1, 2] and set(values(chosen)) <= set(range(10, 17))
    # The statistics are of all images that proxy tasks see.
    pixels = data.images[data.unlabeled] / 255
    assert data.intensity.mean == pytest.approx([pixels.mean()], abs=1e-6)
    assert data.intensity.std == pytest.approx([pixels.std()], abs=1e-6)
    assert data.intensity.mean[0] > plain.intensity.mean[0] + 0.05


def test_the_seed_draws_the_labelled_images(tmp_path):
    path = save(tmp_path, content())
    drawn = {
        tuple(load("npz", path=path, labels=3, seed=s).labelled_sets[0].tolist()) for s in range(20)
    }
    assert 1 < len(drawn) <= 3 * 2 * 2
    assert load("npz", path=path, labels=3).labelled_sets[0].tolist() in map(list, drawn)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int64, np.dtype(">i4")])
def test_other_integers_have_the_training_images_window(tmp_path, dtype):
    arrays = {k: v.astype(dtype) for k, v in content().items()}
    low, lower = (1, 0) if dtype == np.uint16 else (-20, -90)
    arrays["train_images"] -= 10 - low  # 7 values and the next one
    arrays["test_images"][0] = lower  # a value outside these
    data = load("npz", path=save(tmp_path, arrays))
    assert data.images.dtype == np.int16
    assert (data.intensity.low, data.intensity.high) == (low, low + 7)
    np.testing.assert_array_equal(data.images[:7, ..., 0], arrays["train_images"])
    np.testing.assert_array_equal(data.images[7:, ..., 0], arrays["test_images"])


def test_the_window_of_8_bits_is_fixed_and_masks_fill_it(tmp_path):
    data = load("npz", path=save(tmp_path, content()))
    assert (data.intensity.low, data.intensity.high) == (0, 255)
    arrays = content()
    for split in ("train", "test"):
        arrays[f"{split}_images"] = arrays[f"{split}_images"] % 2 == 0
    masks = load("npz", path=save(tmp_path, arrays))
    assert masks.images.dtype == np.uint8 and masks.intensity.high == 255
    np.testing.assert_array_equal(masks.images[:7, ..., 0] == 255, arrays["train_images"])
    np.testing.assert_array_equal(masks.images[:7, ..., 0] == 0, ~arrays["train_images"])


def test_the_fingerprint_is_the_contents(tmp_path):
    arrays = content()
    first = load("npz", path=save(tmp_path, arrays))
    np.savez_compressed(tmp_path / "again.npz", **arrays)
    assert whole(load("npz", path=str(tmp_path / "again.npz"))) == whole(first)
    arrays["test_images"][1, 2, 3] += 1
    changed = load("npz", path=save(tmp_path, arrays))
    # The fingerprint of a large set looks at some images only; the checksums cover all.
    assert (changed.origins[:7] == first.origins[:7]).all()
    assert not set(changed.origins[7:]) & set(first.origins)
    assert whole(changed) != whole(first)


def test_the_unlabeled_fingerprint_is_that_of_the_images_that_proxy_tasks_see(tmp_path):
    arrays = content() | {"unlabeled_images": images(4, 4, 5, first=60)}
    first = load("npz", path=save(tmp_path, arrays))

    def again(changes, **settings):
        return load("npz", path=save(tmp_path, arrays | changes), **settings)

    more = {
        "test_images": np.concatenate([arrays["test_images"]] * 2),
        "test_labels": np.concatenate([arrays["test_labels"]] * 2),
    }
    other = {"train_labels": arrays["train_labels"][::-1]}
    for data in (again({}, labels=3), again(more), again(other)):
        assert data.fingerprint(data.unlabeled) == first.fingerprint(first.unlabeled)
        assert whole(data) != whole(first)
    for key in ("unlabeled_images", "train_images"):
        data = again({key: arrays[key] + np.uint8(1)})
        assert data.fingerprint(data.unlabeled) != first.fingerprint(first.unlabeled)
        assert whole(data) != whole(first)


@pytest.mark.parametrize("point", [0x110000, 0xD800, 0xDFFF])
@pytest.mark.parametrize("order", "<>")
def test_texts_that_are_not_unicode(tmp_path, point, order):
    """Python crashes, or cannot write them."""
    names = np.frombuffer(np.array([65, point], f"{order}u4").tobytes(), f"{order}U1")
    path = save(tmp_path, content() | {"class_names": names})
    assert "class_names.npy has a text that is not Unicode" in refused("npz", path)


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def test_nothing_is_unpickled(tmp_path):
    trace = tmp_path / "trace"
    objects = np.empty(7, object)
    objects[:] = [Trap(trace)] * 7
    path = save(tmp_path, content() | {"train_labels": objects})
    assert "Python objects, which are never unpickled" in refused("npz", path)
    pickled = tmp_path / "pickled.npz"
    pickled.write_bytes(pickle.dumps(Trap(trace)))
    assert "not an npz file" in refused("npz", pickled)
    assert not trace.exists()


AXES = {  # stored, data.channels_axis, read
    ((3, 8, 9), "first"): (8, 9, 3),
    ((8, 9, 4), "last"): (8, 9, 4),
    ((1, 8, 9), "none"): (1, 8, 9, 1),
    ((1, 8, 9, 7), "first"): (8, 9, 7, 1),
    ((8, 9), "none"): (8, 9, 1),
    ((32, 32, 6), "last"): (32, 32, 6),
}


@pytest.mark.parametrize("stored, axis", AXES)
def test_the_channels_axis_is_asked_for_and_set(tmp_path, stored, axis):
    arrays = content(*stored)
    path = save(tmp_path, arrays)
    if len(stored) > 2:
        assert "which axis holds the channels? Set data.channels_axis" in refused("npz", path)
    data = load("npz", path=path, channels_axis=axis)
    assert data.images.shape[1:] == AXES[stored, axis]
    assert (data.space, data.channels) == (AXES[stored, axis][:-1], AXES[stored, axis][-1])
    x = arrays["train_images"]
    if axis == "first":
        np.testing.assert_array_equal(np.moveaxis(data.images[:7], -1, 1), x)


@pytest.mark.parametrize("top, window", [(1.0, (0, 1)), (4095, (0, 4095)), (70000, (0, 70000))])
def test_a_window_maps_other_values_to_bytes(tmp_path, top, window):
    levels = np.linspace(0, 1, 20).reshape(4, 5)
    dtype = float if top == 1.0 else np.uint32
    arrays = content()
    for split, n in (("train", 7), ("test", 3)):
        arrays[f"{split}_images"] = np.stack([(levels * top).astype(dtype)] * n)
    data = load("npz", path=save(tmp_path, arrays), window=window)
    assert data.images.dtype == np.uint8 and data.intensity.high == 255
    expected = np.rint(arrays["train_images"][0] / top * 255)
    np.testing.assert_array_equal(data.images[0, ..., 0], expected)


def test_missing_labels_names_and_empty_arrays(tmp_path):
    arrays = content()
    expected = load("npz", path=save(tmp_path, arrays))
    arrays["val_images"] = arrays["test_images"][:0]
    arrays["class_names"] = np.array(["ant", "bee", "cat"])
    arrays["train_labels"] = arrays["train_labels"].astype(float)
    data = load("npz", path=save(tmp_path, arrays))
    assert data.class_names == ("ant", "bee", "cat")
    assert data.notes == ("val_images is empty and was left out",)
    np.testing.assert_array_equal(data.labels, expected.labels)

    arrays["train_labels"][[1, 3]] = [[np.nan], [-1]]
    arrays["train_labels"] = np.concatenate([arrays["train_labels"], [[0.0]]])
    arrays["train_images"] = np.concatenate([arrays["train_images"], arrays["train_images"][:1]])
    data = load("npz", path=save(tmp_path, arrays))
    assert data.labels[:8].tolist() == [1, -1, 2, -1, 1, 2, 0, 0]
    assert data.unlabeled.tolist() == list(range(8))
    assert data.labelled_sets[0].tolist() == [0, 2, 4, 5, 6, 7]

    texts = np.array(["left lung", "bee", "right"])
    arrays = content() | {"train_labels": texts[TRAIN], "test_labels": texts[TEST]}
    data = load("npz", path=save(tmp_path, arrays))
    assert data.class_names == ("bee", "left lung", "right")
    assert [data.class_names[k] for k in data.labels] == [*texts[TRAIN], *texts[TEST]]
    assert len(data.notes) == 1 and "'left lung', 'right' speak of sides" in data.notes[0]


def test_unlabeled_images_alone(tmp_path):
    data = load("npz", path=save(tmp_path, {"unlabeled_images": images(5, 4, 5)}))
    assert (len(data.unlabeled), data.labelled_sets, len(data.test)) == (5, (), 0)
    assert data.class_names == () and (data.labels == -1).all()
    assert data.fingerprint(*data.labelled_sets) != data.fingerprint(data.unlabeled)
