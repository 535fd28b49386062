"""Copies of STL-10 that a run refuses."""

import os
import re

from data_sets import archive

TOPIC = "STL-10"
COMMAND = (
    *("run", "mtassl_stl10", "--config.data.path=FOLDER/stl10", "--workdir=FOLDER/work"),
    "--config.data.folds=(0,)",
)
BYTES = 96 * 96 * 3
COUNTS = {"unlabeled": 3, "train": 4, "test": 2}
FILES = {
    **{f"{split}_X.bin": bytes(n * BYTES) for split, n in COUNTS.items()},
    "train_y.bin": bytes([1, 2, 1, 2]),
    "test_y.bin": bytes([1, 2]),
    "class_names.txt": b"airplane\nbird\n",
    "fold_indices.txt": b"0 1\n2 3\n",
}


def folder(**changes):
    """The binary files, some of them changed; None leaves one out."""
    changes = {re.sub("_(txt|bin)$", r".\1", name): content for name, content in changes.items()}

    def make(root):
        root.mkdir()
        for name, content in (FILES | changes).items():
            if content is not None:
                (root / name).write_bytes(content)

    return make


def packed(root, cut=None):
    """The archive, perhaps cut off."""
    root.write_bytes(archive(FILES)[:cut])


def case(make, *settings):
    def build(where):
        make(where / "stl10")
        return [*COMMAND, *(f"--config.{each}" for each in settings)]

    return build


CASES = {
    "a folder that is not there": case(lambda root: None),
    "an empty folder": case(lambda root: root.mkdir()),
    "an empty folder, and `data.reader=binary`": case(
        lambda root: root.mkdir(), "data.reader=binary"
    ),
    "a home folder of nobody": case(folder(), "data.path=~nobody9/stl10"),
    "a pipe": case(os.mkfifo),
    "a text in place of the archive": case(lambda root: root.write_text("x")),
    "the first half of the archive": case(lambda root: packed(root, 300)),
    "a file that is missing": case(folder(train_y_bin=None)),
    "images that are cut off": case(folder(train_X_bin=bytes(BYTES + 5))),
    "no images": case(folder(unlabeled_X_bin=b"")),
    "fewer labels than images": case(folder(train_y_bin=bytes([1]))),
    "a label that is out of range": case(folder(train_y_bin=bytes([1, 2, 1, 11]))),
    "a label of 0": case(folder(test_y_bin=bytes([0, 1]))),
    "no class names": case(folder(class_names_txt=b"")),
    "a fold that is not there": case(folder(), "data.folds=(2,)"),
    "a fold of text": case(folder(), "data.folds=('a',)"),
    "a negative fold": case(folder(), "data.folds=(-1,)"),
    "folds that hold words": case(folder(fold_indices_txt=b"0 one\n")),
    "folds beyond the images": case(folder(fold_indices_txt=b"0 9\n")),
    "an empty fold": case(folder(fold_indices_txt=b"0 1\n\n0 1\n"), "data.folds=(1,)"),
    "a folder in place of a file": case(
        lambda root: (folder(train_y_bin=None)(root), (root / "train_y.bin").mkdir())
    ),
    "a pipe in place of a file": case(
        lambda root: (folder(class_names_txt=None)(root), os.mkfifo(root / "class_names.txt"))
    ),
    "an unknown reader": case(folder(), "data.reader=torch"),
}
