"""STL-10 from small files written in the official format, and from TFDS without TensorFlow."""

import gzip
import io
import sys

import numpy as np
import pytest
from data_sets import archive, refused, whole

from assl_jax.data import load

NAMES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
COUNTS = {"unlabeled": 5, "train": 6, "test": 4}
LABELS = {"train": [1, 10, 3, 3, 7, 2], "test": [5, 10, 1, 2]}  # counted from 1, as in the files
FOLDS = "0 2 4 \n5 1 \n3 \n"


def picture(split: str, i: int) -> np.ndarray:
    """A photograph without any symmetry: `[row, column, channel]`."""
    rng = np.random.default_rng([list(COUNTS).index(split), i])
    return rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)


def official_bytes(image: np.ndarray) -> bytes:
    """All of red, then green, then blue; each column by column."""
    planes = [
        bytes(image[row, column, channel] for column in range(96) for row in range(96))
        for channel in range(3)
    ]
    return b"".join(planes)


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    files = {
        f"{split}_X.bin": b"".join(official_bytes(picture(split, i)) for i in range(n))
        for split, n in COUNTS.items()
    }
    files |= {f"{split}_y.bin": bytes(labels) for split, labels in LABELS.items()}
    files["class_names.txt"] = "\n".join(NAMES).encode() + b"\n"
    files["fold_indices.txt"] = FOLDS.encode()
    return files


@pytest.fixture
def binary(tmp_path, content):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def pack(folder, files: dict[str, bytes]):
    packed = folder / "stl10_binary.tar.gz"
    packed.write_bytes(archive({name: files[name] for name in reversed(files)}))  # in any order
    return packed


@pytest.mark.parametrize("where", ["folder", "above", "archive", "beside the archive"])
@pytest.mark.parametrize("reader", ["auto", "binary"])
def test_binary_layout(tmp_path, content, binary, where, reader):
    path = {"folder": binary, "above": tmp_path}.get(where)
    if path is None:
        (tmp_path / "packed").mkdir()
        packed = pack(tmp_path / "packed", content)
        path = packed if where == "archive" else packed.parent
    data = load("stl10", path=str(path), folds=(1, 0), reader=reader)

    expected = [picture(split, i) for split, n in COUNTS.items() for i in range(n)]
    np.testing.assert_array_equal(data.images, expected)
    assert data.class_names == tuple(NAMES)
    assert data.labels.tolist() == [-1] * 5 + [0, 9, 2, 2, 6, 1] + [4, 9, 0, 1]
    assert data.unlabeled.tolist() == [0, 1, 2, 3, 4]
    assert [s.tolist() for s in data.labelled_sets] == [[10, 6], [5, 7, 9]]
    assert data.test.tolist() == [11, 12, 13, 14]
    assert data.keys[4:7] == ("unlabeled/4", "train/0", "train/1")
    seen = np.array(expected[:5]) / 255
    assert data.intensity.mean == pytest.approx(seen.mean((0, 1, 2)), abs=1e-5)


def test_without_folds_all_training_images_are_one_set(binary):
    one_fold = load("stl10", path=str(binary), folds=(0,))
    (binary / "fold_indices.txt").unlink()
    data = load("stl10", path=str(binary), folds=())
    assert data.fingerprint(data.unlabeled) == one_fold.fingerprint(one_fold.unlabeled)
    assert whole(data) != whole(one_fold)
    assert [s.tolist() for s in data.labelled_sets] == [[5, 6, 7, 8, 9, 10]]
    assert "fold_indices.txt" in refused("stl10", path=str(binary))


def test_a_member_that_claims_more_than_any_file(tmp_path, content):
    """Its size is the largest that a header can say; tarfile cannot go that far."""
    packed = pack(tmp_path, content)
    raw = bytearray(gzip.decompress(packed.read_bytes()))
    raw[124:136] = b"\x80" + (2**63 - 1).to_bytes(11)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    packed.write_bytes(gzip.compress(raw))
    assert "stl10_binary.tar.gz is damaged or unreadable" in refused("stl10", path=str(packed))


def test_a_damaged_archive(tmp_path, content):
    packed = pack(tmp_path, content)
    raw = packed.read_bytes()
    half = len(raw) // 2
    packed.write_bytes(raw[:half] + bytes(64) + raw[half + 64 :])
    assert str(packed) in refused("stl10", path=str(packed))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small `stl10` as `tfds build --file_format=array_record` leaves it."""
    import tensorflow_datasets as tfds
    from PIL import Image

    def png(image: np.ndarray) -> io.BytesIO:
        file = io.BytesIO()  # TFDS encodes arrays with TensorFlow, but takes encoded files
        Image.fromarray(image).save(file, "PNG")
        file.seek(0)
        return file

    class Stl10(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(96, 96, 3)),
                "label": tfds.features.ClassLabel(names=NAMES),
            }
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {
                {"unlabeled": "unlabelled"}.get(split, split): self._generate_examples(split)
                for split in COUNTS
            }

        def _generate_examples(self, split):
            for i in range(COUNTS[split]):
                label = LABELS[split][i] - 1 if split in LABELS else -1
                yield i, {"image": png(picture(split, i)), "label": label}

    folder = tmp_path_factory.mktemp("tfds")
    Stl10(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


class NoTensorFlow:
    """An import finder that hides TensorFlow, whether it is installed or not."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)


@pytest.mark.parametrize("inner", ["", "stl10/1.0.0"])
@pytest.mark.parametrize("reader", ["auto", "tfds"])
def test_tfds(prepared, monkeypatch, inner, reader):
    monkeypatch.setattr(sys, "meta_path", [NoTensorFlow(), *sys.meta_path])
    data = load("stl10", path=str(prepared / inner), folds=(), reader=reader)
    assert data.class_names == tuple(NAMES)
    # TFDS shuffles within a split: every image must come with its own label.
    found = {
        image.tobytes(): int(label) for image, label in zip(data.images, data.labels, strict=True)
    }
    expected = {
        picture(split, i).tobytes(): LABELS[split][i] - 1 if split in LABELS else -1
        for split, n in COUNTS.items()
        for i in range(n)
    }
    assert found == expected
    assert (data.labels[data.unlabeled] == -1).all() and len(data.unlabeled) == 5
    (train,) = data.labelled_sets
    assert sorted(data.labels[train]) == sorted(k - 1 for k in LABELS["train"])
    assert sorted(data.labels[data.test]) == sorted(k - 1 for k in LABELS["test"])


def test_tfds_has_no_folds(prepared):
    message = refused("stl10", path=str(prepared))
    assert "data.folds=(0,)" in message and "data.folds=()" in message


def test_tfds_not_prepared(tmp_path):
    for reader in ("auto", "tfds"):
        message = refused("stl10", path=str(tmp_path), reader=reader, folds=())
        assert "pip install tensorflow" in message
        assert f"tfds build stl10 --file_format=array_record --data_dir={tmp_path}" in message


def test_tfds_prepared_as_tfrecord_or_incomplete(prepared, tmp_path):
    source = prepared / "stl10/1.0.0"
    info = (source / "dataset_info.json").read_text()
    features = (source / "features.json").read_text()
    for change, words in (
        (("array_record", "tfrecord"), "file_format=array_record"),
        (('"unlabelled"', '"else"'), "lacks a split"),
    ):
        folder = tmp_path / change[1].strip('"') / "stl10/1.0.0"
        folder.mkdir(parents=True)
        assert change[0] in info
        (folder / "dataset_info.json").write_text(info.replace(*change))
        (folder / "features.json").write_text(features)
        message = refused("stl10", path=str(folder), folds=())
        assert words in message and f"--data_dir={folder.parents[1]} --overwrite" in message
