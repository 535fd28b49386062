"""One NumPy archive with images or volumes and their labels, as MedMNIST stores them."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.names import plain
from assl_jax.data.npz_file import read_arrays
from assl_jax.data.rows import Listing, Row, numbers_first
from assl_jax.data.settings import existing_file
from assl_jax.data.source import Labels, Source
from assl_jax.data.window import check_window, to_bytes
from assl_jax.errors import InputError, require
from assl_jax.ranges import OneOf, Seed

SPLITS = ("unlabeled", "val", "train", "test")  # in the order of the result
LABELLED = ("train", "test")
NEEDED = tuple(f"{split}_{what}" for split in LABELLED for what in ("images", "labels"))
NAMES = "class_names"
OPTIONAL = ("unlabeled_images", "val_images", NAMES)  # `val_labels` are not used
FEW = 4  # an axis of so few entries may be channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Npz(Source):
    """Images or volumes in a `.npz` file.

    Source: the layout of MedMNIST v2 (Yang et al. 2023). The file holds `train_images`,
    `train_labels`, `test_images`, `test_labels`, and may hold `val_images`, `unlabeled_images` and
    `class_names`. It may also hold `unlabeled_images` alone; then nothing has a label.

    - images `[n, h, w]` or `[n, h, w, c]`, or volumes `[n, d, h, w]` or `[n, d, h, w, c]`, or with
      the channels first (`channels_axis`).
    - labels `[n]` or `[n, 1]`: classes counted from 0, or their names. A training label of -1 or
      NaN means none.
    - class names `[k]`: texts; otherwise the classes are called 0, 1, ...

    Proxy tasks see training, validation and unlabeled images. Published results on MedMNIST are
    trained on `train_images` only.

    It gives the unlabeled, validation, training and test images. The window of uint8 images is 0 to
    255; booleans become the uint8 values 0 and 255. Other integers become int16, and the smallest
    and the largest value of the training images are the window.

    Attributes:
      path: the file.
      channels_axis: where the channels are: "last", "first" (after the number of images), "none"
        (each image has one channel), or "auto", which knows `[n, h, w]`, `[n, h, w, 1 or 3]` and
        volumes whose axes are all long, and asks otherwise.
      window: values that become 0 and 255 in uint8 images; () keeps integers of 8 and 16 bits, and
        refuses others.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      seed: draws the labelled training set.

    Raises:
      InputError: a missing or damaged file, Python objects (nothing is unpickled), a missing key,
        arrays that do not fit each other, axes whose meaning is not clear, values that do not fit
        into 16-bit integers, a class without training or test images, a setting out of range.
    """

    path: str = ""
    channels_axis: Annotated[str, OneOf(("auto", "first", "last", "none"))] = "auto"
    window: tuple[float, ...] = ()
    labels: Labels = 0
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self.window)

    def load(self) -> Dataset:
        file = existing_file(self.path, "an .npz file")
        arrays, checksums, notes = _read(file)
        parts = {
            s: _images(file, s, arrays[f"{s}_images"], self.channels_axis, self.window)
            for s in SPLITS
            if f"{s}_images" in arrays
        }
        shown = "train" if "train" in parts else "unlabeled"
        for split, x in parts.items():
            require(
                x.shape[1:] == parts[shown].shape[1:],
                f"{file}: {split}_images are {_size(x)}, {shown}_images are {_size(parts[shown])}; "
                "resize them to one shape",
            )
        images = np.concatenate(list(parts.values()))
        low, high = 0.0, 255.0
        if images.dtype != np.uint8:
            low, high = float(parts[shown].min()), float(parts[shown].max())
            require(
                low < high, f"{file}: every value of {shown}_images is {low:g}; nothing to learn"
            )
        rows = _rows(file, arrays, {split: len(x) for split, x in parts.items()})
        listed = Listing(rows=rows, source=str(file), what="image", notes=tuple(notes))
        listed = listed.used().classified(partial(_ordered, arrays)).without({})
        splits = listed.splits(labels=self.labels, seed=self.seed)
        seen = len(splits["unlabeled"])  # the test images are the last ones
        return Dataset(
            name="npz",
            images=images,
            intensity=intensity_of(images[:seen], low=low, high=high),
            origins=np.repeat(
                [checksums[f"{split}_images"] for split in parts], [len(x) for x in parts.values()]
            ),
            keys=tuple(row.path for row in rows),
            notes=listed.notes,
            **splits,
        )


def _read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str], list[str]]:
    """The arrays of the known keys, the archive's checksum of each, and notes."""
    there, arrays, checksums = read_arrays(file, (*NEEDED, *OPTIONAL))
    alone = "unlabeled_images" in arrays and not set(NEEDED) & set(there)
    missing = [key for key in NEEDED if key not in there and not alone]
    require(
        not missing,
        f"{file} has no {', '.join(missing)}; it has {', '.join(there) or 'no arrays'}",
    )
    empty = [key for key in OPTIONAL if key in arrays and not arrays[key].size and not alone]
    for key in empty:
        del arrays[key]
    return arrays, checksums, [f"{key} is empty and was left out" for key in empty]


def _images(
    file: Path, split: str, x: np.ndarray, axis: str, window: tuple[float, ...]
) -> np.ndarray:
    """Convert `x` to `[n, *space, c]` uint8 or int16."""
    where = f"{file}: {split}_images"
    require(
        3 <= x.ndim <= 5,
        f"{where} have the shape {x.shape}, expected [n, h, w], [n, h, w, 3], [n, d, h, w] or "
        "[n, d, h, w, c]",
    )
    require(
        x.dtype.kind in "biuf",
        f"{where} are {x.dtype}; save them as integers or real numbers",
    )
    require(x.size > 0, f"{where} have the shape {x.shape}, which is empty; add some or remove it")
    if axis == "auto":
        axis = _channels_axis(where, x.shape)
    require(
        2 <= x.ndim - 1 - (axis != "none") <= 3,
        f"{where} have the shape {x.shape}, which data.channels_axis={axis} does not fit",
    )
    x = x[..., None] if axis == "none" else np.moveaxis(x, 1, -1) if axis == "first" else x
    if window:
        try:
            levels = np.empty(x.shape, np.uint8)
            for i, image in enumerate(x):  # one at a time: it needs double precision
                levels[i] = to_bytes(image, window)
            return levels
        except ValueError as e:
            raise InputError(f"{where}: {e}; replace them") from e
    if x.dtype == bool:
        return x.astype(np.uint8) * 255
    ask = "set data.window=(low, high), the values that become black and white"
    require(np.issubdtype(x.dtype, np.integer), f"{where} are {x.dtype}; {ask}")
    if x.dtype == np.uint8:
        return x
    limits, low, high = np.iinfo(np.int16), x.min(), x.max()
    require(
        limits.min <= low and high <= limits.max,
        f"{where} reach from {low} to {high}, further than 16-bit integers (int16); {ask}",
    )
    return x.astype(np.int16, copy=False)


def _channels_axis(where: str, shape: tuple[int, ...]) -> str:
    """Where the channels are, if the shape leaves no doubt."""
    first, last, rank = shape[1], shape[-1], len(shape)
    if rank == 3:
        return "none"
    if rank == 4 and last in (1, 3):
        return "last"
    if rank == 4:
        doubt = any(n <= FEW or 4 * n < min(shape[2:-1]) for n in (first, last))
        sure, words = "none", "none (volumes)"
    else:
        doubt = first <= FEW < last
        sure, words = "last", "last"
    require(
        not doubt,
        f"{where} have the shape {shape}: which axis holds the channels? Set data.channels_axis to "
        f"first, last or {words}",
    )
    return sure


def _rows(file: Path, arrays: dict[str, np.ndarray], counts: dict[str, int]) -> list[Row]:
    """A row for each image, in the order of the splits."""
    rows = []
    for split, n in counts.items():
        labels = _labels(file, split, arrays, n) if split in LABELLED else [""] * n
        side = split if split in LABELLED else "unlabeled"
        rows += [Row("", f"{split}/{i}", label, side) for i, label in enumerate(labels)]
    return rows


def _ordered(arrays: dict[str, np.ndarray], names: Sequence[str]) -> Sequence[str]:
    """The classes in their order: that of `class_names`, or of the numbers, or of the alphabet."""
    given = [arrays[f"{split}_labels"] for split in LABELLED if f"{split}_labels" in arrays]
    if any(labels.dtype.kind == "U" for labels in given):
        return sorted(names)
    own = [plain(str(name)) for name in arrays.get(NAMES, np.empty(0)).ravel()]
    return [name for name in own if name in names] or numbers_first(names)


def _labels(file: Path, split: str, arrays: dict[str, np.ndarray], images: int) -> list[str]:
    """The class of each image as a text; "" for a missing one."""
    where, x = f"{file}: {split}_labels", arrays[f"{split}_labels"]
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
        len(x) == images,
        f"{where} are {len(x)} and {split}_images are {images}; give each image one label",
    )
    x = x.reshape(-1)
    if x.dtype.kind == "U":
        return [str(text) for text in x]
    if x.dtype.kind == "f":
        x = np.where(np.isnan(x), -1, x)
        require(
            bool(np.isfinite(x).all() and (x == np.rint(x)).all()),
            f"{where} are {x.dtype} with fractions or infinite; convert them to integers counted "
            "from 0",
        )
    else:
        require(
            x.dtype.kind in "iu",
            f"{where} are {x.dtype}; convert them to integers, the classes counted from 0",
        )
    require(
        bool((x >= -1).all()), f"{where} hold {x.min():g}; count the classes from 0, -1 means none"
    )
    numbers = x.astype(np.int64).tolist()
    if NAMES not in arrays:
        return ["" if k < 0 else str(k) for k in numbers]
    names, top = [plain(str(name)) for name in arrays[NAMES].ravel()], max(numbers, default=0)
    require(
        len(set(names)) == len(names) > top,
        f"{file}: class_names has {len(set(names))} names, but the labels need {top + 1}; name "
        "each class once",
    )
    return ["" if k < 0 else names[k] for k in numbers]


def _size(images: np.ndarray) -> str:
    """The size of `[n, *space, c]` in words, such as "28x28, 3 channels"."""
    space, c = images.shape[1:-1], images.shape[-1]
    return f"{'x'.join(map(str, space))}, {c} channel{'s' if c > 1 else ''}"
