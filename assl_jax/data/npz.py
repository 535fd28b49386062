"""One NumPy archive with images or volumes and their labels, as MedMNIST stores them."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.settings import check, existing_file
from assl_jax.data.splits import stratified_subset
from assl_jax.errors import InputError, require

SPLITS = ("unlabeled", "val", "train", "test")  # in the order of the result
NEEDED = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONAL = ("unlabeled_images", "val_images")  # `val_labels` are not used


def npz(*, path: str = "", labels: int = 0, seed: int = 0) -> Dataset:
    """Images or volumes in a `.npz` file.

    Source: the layout of MedMNIST v2 (Yang et al. 2023). The file holds `train_images`,
    `train_labels`, `test_images`, `test_labels`, and may hold `val_images` and `unlabeled_images`:

    - images `[n, h, w]` or `[n, h, w, 1 or 3]`, or volumes `[n, d, h, w]` or `[n, d, h, w, c]`. An
      array with four axes holds images with channels if the last axis has 1 or 3 entries.
    - labels `[n]` or `[n, 1]`: classes counted from 0.

    Proxy tasks see training, validation and unlabeled images. Published results on MedMNIST are
    trained on `train_images` only.

    Args:
      path: the file.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      seed: draws the labelled training set.

    Returns:
      A data set of unlabeled, validation, training and test images. The window of uint8 images is 0
      to 255; booleans become the uint8 values 0 and 255. Other integers become int16, and the
      smallest and the largest value of the training images are the window.

    Raises:
      InputError: a missing or damaged file, Python objects (nothing is unpickled), a missing key,
        arrays that do not fit each other, values that do not fit into 16-bit integers, a class
        without training or test images.
    """
    check(labels=labels, seed=seed)
    file = existing_file(path, "an .npz file")
    arrays, checksums = _read(file)
    parts = {s: _images(file, s, arrays[f"{s}_images"]) for s in SPLITS if f"{s}_images" in arrays}
    for split, x in parts.items():
        require(
            x.shape[1:] == parts["train"].shape[1:],
            f"{file}: {split}_images are {_size(x)}, train_images are {_size(parts['train'])}; "
            "resize them to one shape",
        )
    train, test = (_labels(file, s, arrays[f"{s}_labels"], parts[s]) for s in ("train", "test"))
    classes = _same_classes(file, train, test)

    images = np.concatenate(list(parts.values()))
    low, high = 0.0, 255.0
    if images.dtype != np.uint8:
        low, high = float(parts["train"].min()), float(parts["train"].max())
        require(low < high, f"{file}: every value of train_images is {low:g}; nothing to learn")
    seen = np.arange(len(images) - len(test))
    chosen = seen[len(seen) - len(train) :]
    if labels:
        chosen = chosen[stratified_subset(train, labels, seed=seed)]
    known = np.full(len(images), -1, np.int32)
    known[len(seen) - len(train) :] = np.concatenate([train, test])
    return Dataset(
        name="npz",
        images=images,
        labels=known,
        class_names=tuple(str(c) for c in range(classes)),
        unlabeled=seen,
        labelled_sets=(chosen,),
        test=np.arange(len(seen), len(images)),
        intensity=intensity_of(images[: len(seen)], low=low, high=high),
        origins=tuple(
            checksums[f"{split}_images"] for split, x in parts.items() for _ in range(len(x))
        ),
    )


def _read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of the known keys, and the archive's checksum of each."""
    # NumPy would report every other file as a pickle.
    require(
        zipfile.is_zipfile(file),
        f"{file} is not an npz file, or damaged, or unreadable; download it again, or write it "
        "with numpy.savez",
    )
    try:
        with np.load(file, allow_pickle=False) as archive:
            there = sorted(archive.files)
            used = [key for key in (*NEEDED, *OPTIONAL) if key in there]
            arrays = {key: np.asarray(archive[key]) for key in used}
            sums = {entry.filename: entry.CRC for entry in archive.zip.infolist()}
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
        if "Object arrays" in str(e):
            raise InputError(
                f"{file} holds Python objects, which are never unpickled; save arrays of integers"
            ) from e
        reason = " ".join(str(e).split()) or type(e).__name__
        raise InputError(f"{file} is damaged or unreadable ({reason}); download it again") from e
    missing = [key for key in NEEDED if key not in there]
    require(
        not missing,
        f"{file} has no {', '.join(missing)}; it has {', '.join(there) or 'no arrays'}",
    )
    return arrays, {key: f"{key} {sums.get(f'{key}.npy', 0):08x}" for key in used}


def _images(file: Path, split: str, x: np.ndarray) -> np.ndarray:
    """Convert `x` to `[n, *space, c]` uint8 or int16."""
    where = f"{file}: {split}_images"
    require(
        3 <= x.ndim <= 5,
        f"{where} have the shape {x.shape}, expected [n, h, w], [n, h, w, 3], [n, d, h, w] or "
        "[n, d, h, w, c]",
    )
    require(x.size > 0, f"{where} have the shape {x.shape}, which is empty; add some or remove it")
    if x.ndim == 3 or (x.ndim == 4 and x.shape[-1] not in (1, 3)):
        x = x[..., None]
    if x.dtype == bool:
        return x.astype(np.uint8) * 255
    require(
        np.issubdtype(x.dtype, np.integer),
        f"{where} are {x.dtype}; convert them to uint8 (0 to 255), or to int16 as they are",
    )
    if x.dtype == np.uint8:
        return x
    limits, low, high = np.iinfo(np.int16), x.min(), x.max()
    require(
        limits.min <= low and high <= limits.max,
        f"{where} reach from {low} to {high}; scale them to {limits.min} to {limits.max} (int16)",
    )
    return x.astype(np.int16, copy=False)


def _labels(file: Path, split: str, x: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Convert `x` to `[n]` integers from 0, one per image."""
    where = f"{file}: {split}_labels"
    columns = x.shape[1] if x.ndim == 2 else 1
    require(
        columns < 2,
        f"{where} have {columns} columns (several labels per image); choose one as the class",
    )
    require(
        x.ndim == 1 or x.shape[1:] == (1,),
        f"{where} have the shape {x.shape}, expected [n] or [n, 1]",
    )
    require(
        len(x) == len(images),
        f"{where} are {len(x)} and {split}_images are {len(images)}; give each image one label",
    )
    require(
        np.issubdtype(x.dtype, np.integer),
        f"{where} are {x.dtype}; convert them to integers, the classes counted from 0",
    )
    require(
        bool((x >= 0).all()),
        f"{where} hold {x.min()}; count the classes from 0, and put images without a label into "
        "unlabeled_images",
    )
    return x.reshape(-1).astype(np.int64)


def _same_classes(file: Path, train: np.ndarray, test: np.ndarray) -> int:
    """The number of classes: 0 to the largest label, each in both splits."""
    k = 1 + int(max(train.max(), test.max()))
    for split, x in (("train", train), ("test", test)):
        found = set(np.unique(x).tolist())
        missing = next((c for c in range(k) if c not in found), None)
        require(
            missing is None,
            f"{file}: class {missing} has no image in {split}_labels; every class from 0 to "
            f"{k - 1} needs one in train and in test",
        )
    require(k > 1, f"{file} has one class only; add images of a second class")
    return k


def _size(images: np.ndarray) -> str:
    """The size of `[n, *space, c]` in words, such as "28x28, 3 channels"."""
    space, c = images.shape[1:-1], images.shape[-1]
    return f"{'x'.join(map(str, space))}, {c} channel{'s' if c > 1 else ''}"
