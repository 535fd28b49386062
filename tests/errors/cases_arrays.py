"""Archives of arrays (npz) that a run refuses."""

import io
import os
import zipfile

import numpy as np

TOPIC = "Archives of arrays (npz)"
COMMAND = (
    *("run", "mtassl_medmnist3d", "--config.data.path=FOLDER/a.npz", "--workdir=FOLDER/work"),
    *("--config.tasks=rotation", "--noconfig.keep_compiled"),
    *("--config.pretrain.batch_size=8", "--config.target.batch_size=8"),
)
IMAGES = np.arange(8 * 6 * 6, dtype=np.uint8).reshape(8, 6, 6)
LABELS = np.arange(8) % 2
ARRAYS = {
    "train_images": IMAGES,
    "train_labels": LABELS,
    "test_images": IMAGES,
    "test_labels": LABELS,
}


def case(write, *settings):
    def build(folder):
        write(folder / "a.npz")
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


def arrays(**changes):
    kept = {key: x for key, x in (ARRAYS | changes).items() if x is not None}
    return lambda file: np.savez(file, **kept)


def changed(change):
    """A good file whose bytes are changed."""

    def write(file):
        arrays()(file)
        file.write_bytes(change(file.read_bytes()))

    return write


def claim(shape):
    """An archive with one array of 4 bytes whose header says `shape`."""

    def write(file):
        text = io.BytesIO()
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(text, header)
        with zipfile.ZipFile(file, "w") as archive:
            for key in ARRAYS:
                archive.writestr(f"{key}.npy", text.getvalue() + b"1234")

    return write


def one_array(file):
    with file.open("wb") as opened:
        np.save(opened, IMAGES)


def other_files(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "x")


CASES = {
    "no `data.path`": case(arrays(), "data.path="),
    "a file that is not there": case(lambda file: None),
    "a folder": case(lambda file: file.mkdir()),
    "a pipe": case(os.mkfifo),
    "an empty file": case(lambda file: file.touch()),
    "a text": case(lambda file: file.write_text("images")),
    "one array (npy)": case(one_array),
    "the first half of a file": case(changed(lambda raw: raw[: len(raw) // 2])),
    "a file with changed bytes": case(changed(lambda raw: raw[:400] + bytes(9) + raw[409:])),
    "an archive of other files": case(other_files),
    "an array of Python objects": case(arrays(train_labels=np.array([{}] * 8, object))),
    "no labels": case(arrays(train_labels=None)),
    "no arrays": case(lambda file: np.savez(file)),
    "a header of 9 TB": case(claim((9_000_000, 1000, 1000))),
    "a header with a negative size": case(claim((-8, 6, 6))),
    "images of two axes": case(arrays(train_images=IMAGES[0])),
    "no training images": case(arrays(train_images=IMAGES[:0], train_labels=LABELS[:0])),
    "images of other sizes for testing": case(arrays(test_images=IMAGES[:, :5])),
    "images of complex numbers": case(arrays(train_images=IMAGES.astype(complex))),
    "images of floats without a window": case(arrays(train_images=IMAGES / 255)),
    "images of floats with NaN": case(
        arrays(train_images=np.full((8, 6, 6), np.nan)), "data.window=(0,1)"
    ),
    "images of texts": case(arrays(train_images=IMAGES.astype(str))),
    "texts and a window": case(arrays(train_images=IMAGES.astype(str)), "data.window=(0,1)"),
    "complex numbers and a window": case(
        arrays(train_images=IMAGES.astype(complex)), "data.window=(0,1)"
    ),
    "images of dates": case(arrays(train_images=IMAGES.astype("M8[s]")), "data.window=(0,1)"),
    "integers beyond 16 bits": case(arrays(train_images=IMAGES.astype(np.int32) * 1000)),
    "images of one value": case(
        arrays(train_images=np.ones((8, 6, 6), np.int16), test_images=IMAGES.astype(np.int16))
    ),
    "channels first or last": case(
        arrays(
            train_images=np.zeros((8, 3, 6, 6), np.uint8), test_images=np.zeros((8, 3, 6, 6), "u1")
        )
    ),
    "channels where there are none": case(arrays(), "data.channels_axis=last"),
    "an unknown place of channels": case(arrays(), "data.channels_axis=second"),
    "several labels for an image": case(arrays(train_labels=np.zeros((8, 14), int))),
    "labels of three axes": case(arrays(train_labels=np.zeros((8, 1, 1), int))),
    "fewer labels than images": case(arrays(train_labels=LABELS[:7])),
    "labels with fractions": case(arrays(train_labels=LABELS / 3)),
    "infinite labels": case(arrays(train_labels=np.full(8, np.inf))),
    "labels of bytes": case(arrays(train_labels=LABELS.astype("S1"))),
    "labels that are dates": case(arrays(train_labels=LABELS.astype("M8[s]"))),
    "negative labels": case(arrays(train_labels=LABELS - 5)),
    "a test image without a label": case(arrays(test_labels=LABELS - 1)),
    "no image of a class in test": case(arrays(test_labels=0 * LABELS)),
    "one class": case(arrays(train_labels=0 * LABELS, test_labels=0 * LABELS)),
    "too few class names": case(arrays(class_names=np.array(["cat"]))),
    "two classes of one name": case(arrays(class_names=np.array(["cat", "cat"]))),
    "class names that are numbers": case(arrays(class_names=np.array([3, 3]))),
    "labels asked for, and none there": case(
        lambda file: np.savez(file, unlabeled_images=IMAGES), "data.labels=4"
    ),
}
