"""STL-10, from its official binary files or from TensorFlow Datasets' prepared copy."""

import dataclasses
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.settings import expanded
from assl_jax.data.source import Source
from assl_jax.errors import InputError, require
from assl_jax.ranges import OneOf

SHAPE = (96, 96, 3)
IMAGE_BYTES = 96 * 96 * 3
BLOCK = 1024  # images per read
ARCHIVE = "stl10_binary.tar.gz"
SPLITS = ("unlabeled", "train", "test")  # in the order of the result

Members = dict[str, tuple[int, Callable[[], Any]]]  # name -> size in bytes, opener


@dataclasses.dataclass(frozen=True, kw_only=True)
class STL10(Source):
    """STL-10: 100,000 unlabeled, 5,000 training and 8,000 test photographs of 96x96 pixels.

    Source: Coates, Ng & Lee 2011; the folds of 1,000 training images are the official ones.

    It gives `[n, 96, 96, 3]` uint8 images: first the unlabeled, then the training, then the test
    images. Proxy tasks see only the unlabeled images, as in the paper.

    Attributes:
      path: the folder `stl10_binary` or one that holds it, the archive `stl10_binary.tar.gz`
        (about twice as slow as the unpacked folder), or a directory of TensorFlow Datasets ("" is
        its default directory).
      folds: official folds (0 to 9), each a labelled set; () makes all training images one set.
      reader: "binary", "tfds", or "auto" to decide by the content of `path`.

    Raises:
      InputError: no STL-10 at `path`, a file whose size or content does not fit the others, a fold
        that does not exist, or folds of a copy from TensorFlow Datasets, which stores the images in
        another order than the folds refer to.
    """

    path: str = ""
    folds: tuple[int, ...] = (0,)
    reader: Annotated[str, OneOf(("auto", "binary", "tfds"))] = "auto"

    def load(self) -> Dataset:
        path, folds = self.path, self.folds
        root = expanded(path, "data.path")
        require(
            root.exists(),
            f"data.path={path!r} does not exist; name the folder stl10_binary or {ARCHIVE}",
        )
        binary = _find_binary(root) if path else None
        if self.reader == "tfds" or (self.reader == "auto" and binary is None):
            return _read_tfds(path, folds)
        if binary is None:
            raise InputError(
                f"data.path={path!r} has no stl10_binary: name that folder or {ARCHIVE}"
            )
        try:
            if binary.is_dir():
                members: Members = {
                    f.name: (f.stat().st_size, partial(f.open, "rb"))
                    for f in binary.iterdir()
                    if f.is_file()
                }
                return _read_binary(binary, members, folds)
            with tarfile.open(binary) as tar:
                files = (m for m in tar if m.isfile())
                members = {Path(m.name).name: (m.size, partial(tar.extractfile, m)) for m in files}
                # Read to the end, where gzip verifies its checksum; it reveals damaged images.
                assert tar.fileobj is not None
                while tar.fileobj.read(2**20):
                    pass
                return _read_binary(binary, members, folds)
        except InputError:
            raise
        except Exception as e:  # tarfile raises nearly anything
            reason = " ".join(str(e).split())
            raise InputError(
                f"{binary} is damaged or unreadable ({reason}); download it again"
            ) from e


def _find_binary(root: Path) -> Path | None:
    """The folder of the binary files, or the archive, in `root` or one level below."""
    if root.is_file():
        return root
    for folder in (root, root / "stl10_binary"):
        if (folder / "train_X.bin").exists():
            return folder
    return root / ARCHIVE if (root / ARCHIVE).exists() else None


def _read_binary(where: Path, members: Members, folds: tuple[int, ...]) -> Dataset:
    needed = [f"{s}_X.bin" for s in SPLITS] + ["train_y.bin", "test_y.bin", "class_names.txt"]
    for name in [*needed, "fold_indices.txt"] if folds else needed:
        require(name in members, f"{where} has no {name}; download STL-10's archive again")
    counts = {}
    for split in SPLITS:
        size = members[f"{split}_X.bin"][0]
        counts[split], rest = divmod(size, IMAGE_BYTES)
        require(
            size > 0 and rest == 0,
            f"{where / f'{split}_X.bin'} holds {size} bytes, expected a multiple of {IMAGE_BYTES} "
            "(96x96x3); download it again",
        )
    for split in ("train", "test"):
        size = members[f"{split}_y.bin"][0]
        require(
            size == counts[split],
            f"{where / f'{split}_y.bin'} holds {size} bytes, expected {counts[split]} "
            f"(one per image of {split}_X.bin); download it again",
        )

    images, rows = _allocate(counts)
    small: dict[str, bytes] = {}
    # Members are read in the archive's order: a step back would unpack it from its start.
    for name, (_, open_member) in members.items():
        split = name.removesuffix("_X.bin")
        if split in rows and name.endswith("_X.bin"):
            with open_member() as file:
                _fill(images[rows[split]], file, where / name)
        elif name in needed or name == "fold_indices.txt":
            with open_member() as file:
                small[name] = file.read()

    class_names = tuple(small["class_names.txt"].decode(errors="replace").split())
    labels = np.full(len(images), -1, np.int32)
    for split in ("train", "test"):
        stored = np.frombuffer(small[f"{split}_y.bin"], np.uint8)
        require(
            stored.min() >= 1 and stored.max() <= len(class_names),
            f"{where / f'{split}_y.bin'} holds labels {stored.min()} to {stored.max()}, expected "
            f"1 to {len(class_names)} (the lines of class_names.txt); download it again",
        )
        labels[rows[split]] = stored.astype(np.int32) - 1
    sets = [np.arange(counts["train"])]
    if folds:
        text = small["fold_indices.txt"].decode(errors="replace")
        sets = _folds(where / "fold_indices.txt", text, folds, counts["train"])
    return _dataset(images, labels, class_names, rows, sets)


def _fill(out: np.ndarray, file: BinaryIO, name: Path) -> None:
    """Read `len(out)` images. The file has their channels one by one, each column by column."""
    for start in range(0, len(out), BLOCK):
        block = out[start : start + BLOCK]
        raw = file.read(len(block) * IMAGE_BYTES)
        require(len(raw) == len(block) * IMAGE_BYTES, f"{name} ends early; download it again")
        block[:] = np.frombuffer(raw, np.uint8).reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)


def _folds(file: Path, text: str, folds: tuple[int, ...], train: int) -> list[np.ndarray]:
    """The chosen lines of `fold_indices.txt`: zero-based positions among `train` images."""
    lines = text.strip().splitlines()
    sets = []
    for fold in folds:
        require(
            0 <= fold < len(lines),
            f"data.folds={folds}: {file} has {len(lines)} folds, counted from 0",
        )
        try:
            indices = np.array(lines[fold].split(), np.int64)
        except (ValueError, OverflowError) as e:
            raise InputError(f"{file} line {fold + 1} holds something other than numbers") from e
        require(
            indices.size > 0 and bool(((indices >= 0) & (indices < train)).all()),
            f"{file} line {fold + 1}: expected indices from 0 to {train - 1}",
        )
        sets.append(indices)
    return sets


def _read_tfds(path: str, folds: tuple[int, ...]) -> Dataset:
    import tensorflow_datasets as tfds

    root = Path(path or tfds.core.constants.DATA_DIR).expanduser()
    # `root` is the folder of a version, or a TFDS directory; its newest version is read.
    found = sorted([*root.glob("dataset_info.json"), *root.glob("stl10/*/dataset_info.json")])
    command = (
        "prepare it once with TensorFlow: pip install tensorflow && "
        "tfds build stl10 --file_format=array_record "
        + (f"--data_dir={found[-1].parents[2]} --overwrite" if found else f"--data_dir={root}")
    )
    require(
        bool(found),
        f"{root} holds neither stl10_binary, {ARCHIVE} nor a stl10 of TensorFlow Datasets; name "
        f"one of them, or {command}",
    )
    require(
        not folds,
        f"data.folds={folds}: {found[-1].parent} has no folds, since TensorFlow Datasets changes "
        "the order of the images; set data.folds=() or read stl10_binary",
    )
    builder = tfds.builder_from_directory(found[-1].parent)
    try:
        sources = {s: builder.as_data_source(split=s) for s in ("unlabelled", "train", "test")}
    except NotImplementedError as e:  # tfrecord, which only TensorFlow can read
        raise InputError(f"{found[-1].parent} is not stored as array_record; {command}") from e
    except ValueError as e:
        raise InputError(f"{found[-1].parent} lacks a split of STL-10; {command}") from e
    sources["unlabeled"] = sources.pop("unlabelled")

    images, rows = _allocate({split: len(sources[split]) for split in SPLITS})
    labels = np.full(len(images), -1, np.int32)

    def read(split: str, start: int) -> None:
        for i in range(start, min(start + BLOCK, len(sources[split]))):
            example = sources[split][i]
            images[rows[split].start + i] = example["image"]
            labels[rows[split].start + i] = example["label"]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split in SPLITS:
            list(pool.map(partial(read, split), range(0, len(sources[split]), BLOCK)))
    names = tuple(builder.info.features["label"].names)
    return _dataset(images, labels, names, rows, [np.arange(len(sources["train"]))])


def _allocate(counts: dict[str, int]) -> tuple[np.ndarray, dict[str, slice]]:
    """One array for all images (3 GB for the full set), and the rows of every split."""
    ends = np.cumsum([counts[split] for split in SPLITS]).tolist()
    rows = {s: slice(end - counts[s], end) for s, end in zip(SPLITS, ends, strict=True)}
    return np.empty((ends[-1], *SHAPE), np.uint8), rows


def _dataset(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    rows: dict[str, slice],
    sets: list[np.ndarray],
) -> Dataset:
    """Make the data set; `sets` hold positions among the training images."""
    position = np.arange(len(images))
    return Dataset(
        name="stl10",
        images=images,
        labels=labels,
        class_names=class_names,
        unlabeled=position[rows["unlabeled"]],
        labelled_sets=tuple(position[rows["train"]][s] for s in sets),
        test=position[rows["test"]],
        keys=tuple(f"{s}/{i}" for s, own in rows.items() for i in range(own.stop - own.start)),
        intensity=intensity_of(images[rows["unlabeled"]], low=0.0, high=255.0),
    )
