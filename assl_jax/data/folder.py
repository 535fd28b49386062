"""Images in the user's folders, one folder per class."""

import os
from pathlib import Path

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.images import EXTENSIONS, read_images
from assl_jax.data.settings import check, existing_folder
from assl_jax.data.splits import split_by_class, stratified_subset
from assl_jax.errors import InputError, require

UNLABELED, TRAIN, TEST = range(3)
FOLDERS = ("unlabeled", "train", "test")

Classes = dict[str, list[str]]  # class name -> its files, relative to the source's folder


def folder(
    *,
    path: str = "",
    labels: int = 0,
    test_fraction: float = 0.2,
    side: int = 0,
    channels: int = 0,
    on_error: str = "raise",
    cache: str = "",
    seed: int = 0,
) -> Dataset:
    """Images in class folders.

    There are two layouts:

    - `unlabeled/**`, `train/<class>/**`, `test/<class>/**`. Without `unlabeled/`, the training
      images are also the unlabeled images. Without `test/`, a part of `train/` becomes the test
      images.
    - `<class>/**`, if none of these three folders exists. It is read like `train/` alone.

    Class indices follow the sorted names. Names that begin with a dot, files without an image's
    extension and files next to the class folders are ignored. `data.images.decode_image` says how
    transparency, palettes and orientation are handled.

    Args:
      path: the folder.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: fraction of every class that becomes test images if there is no `test/`; at
        least one image goes to each side.
      side: resizes the shorter side to `side` pixels and cuts out the centre square; 0 requires
        that all images have one size.
      channels: 1 converts to grey, 3 to RGB; 0 requires that all images are grey, or all RGB.
      on_error: "raise", or "skip" to leave out files that cannot be decoded.
      cache: folder that keeps the decoded images for the next run; "" keeps nothing.
      seed: draws the split and the labelled set.

    Returns:
      A data set of uint8 images: first the unlabeled, then the training, then the test images.

    Raises:
      InputError: a folder or an image that cannot be read, classes that differ between `train/`
        and `test/`, a class without images, images that differ in size or channels, a setting
        out of range.
    """
    check(labels=labels, test_fraction=test_fraction, side=side, on_error=on_error, seed=seed)
    require(channels in (0, 1, 3), f"data.channels={channels} must be 0 (as they are), 1 or 3")
    root = existing_folder(path, "the folder that holds train/<class>/")
    require(bool(_listing(root)), f"data.path={path!r} is empty")

    present = [name for name in FOLDERS if (root / name).is_dir()]
    require(
        "train" in present or not present,
        f"{root} has {' and '.join(present)}/ but no train/ with a folder per class",
    )
    unlabeled = _images(root, "unlabeled") if "unlabeled" in present else []
    require(
        bool(unlabeled) or "unlabeled" not in present,
        f"{root / 'unlabeled'} holds no images; add some or remove it",
    )
    train = _classes(root, "train" if present else "")
    if "test" in present:
        test = _classes(root, "test")
        _same_classes(root, train, test)
    else:
        train, test = _split(root, train, test_fraction, seed=seed)

    names = tuple(train)
    entries = [(UNLABELED, -1, f) for f in unlabeled]
    entries += [(TRAIN, k, f) for k, c in enumerate(names) for f in train[c]]
    entries += [(TEST, k, f) for k, c in enumerate(names) for f in test[c]]
    files = [file for _, _, file in entries]
    rows = np.array([(split, k) for split, k, _ in entries], np.int32)
    images, skipped = read_images(
        root, files, side=side, channels=channels, on_error=on_error, cache=cache
    )
    kept = rows[[f not in skipped for f in files]]
    lost = {(int(s), int(k)) for s, k in rows} - {(int(s), int(k)) for s, k in kept}
    for split, k in sorted(lost):
        what = f"class {names[k]!r} of {FOLDERS[split]}" if k >= 0 else FOLDERS[split]
        raise InputError(f"{root}: every image of {what} was skipped; repair or remove it")

    split, classes = kept.T
    seen = np.flatnonzero(split == split[0])  # the unlabeled images; without, the training images
    chosen = np.flatnonzero(split == TRAIN)
    if labels:
        chosen = chosen[stratified_subset(classes[chosen], labels, seed=seed)]
    return Dataset(
        name="folder",
        images=images,
        labels=classes.copy(),
        class_names=names,
        unlabeled=seen,
        labelled_sets=(chosen,),
        test=np.flatnonzero(split == TEST),
        intensity=intensity_of(images[: len(seen)], low=0.0, high=255.0),
        skipped=tuple(f"{file}: {reason}" for file, reason in skipped.items()),
        format={"side": side} if side else {},
    )


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    except OSError as e:
        raise InputError(f"{folder} cannot be read: {e.strerror}") from e


def _images(root: Path, name: str) -> list[str]:
    """All image files below `root / name`, relative to `root`, in a fixed order."""
    found = []
    for entry in _listing(root / name):
        inner = f"{name}/{entry.name}"
        if entry.is_dir():
            found += _images(root, inner)
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
            found.append(inner)
    return found


def _classes(root: Path, name: str) -> Classes:
    """The class folders in `root / name`, each with at least one image."""
    prefix = f"{name}/" if name else ""
    names = [entry.name for entry in _listing(root / name) if entry.is_dir()]
    require(bool(names), f"{root / name} has no class folders: put images in train/<class>/")
    # A single folder usually means that `path` names the folder above the right one.
    require(
        len(names) > 1,
        f"{root / name} has one class folder only, {names[0]}/; add a second class, or let "
        "data.path name the folder that holds train/",
    )
    classes = {c: _images(root, prefix + c) for c in names}
    for c, files in classes.items():
        require(
            bool(files),
            f"{root / name / c} holds no images ({' '.join(EXTENSIONS)}); add some or remove it",
        )
    return classes


def _same_classes(root: Path, train: Classes, test: Classes) -> None:
    for here, there, missing in (
        ("test", "train", test.keys() - train.keys()),
        ("train", "test", train.keys() - test.keys()),
    ):
        require(
            not missing,
            f"{root}: class {', '.join(sorted(missing))} is in {here}/ but not in {there}/",
        )


def _split(
    root: Path, classes: Classes, test_fraction: float, *, seed: int
) -> tuple[Classes, Classes]:
    """The training and the test files of every class."""
    files = [(c, file) for c, members in classes.items() for file in members]
    try:
        drawn = split_by_class(np.array([c for c, _ in files]), test_fraction, seed=seed)
    except InputError as e:
        raise InputError(f"{root}: {e}; add images or a test/ folder") from e
    tested = set(drawn.tolist())
    train: Classes = {c: [] for c in classes}
    test: Classes = {c: [] for c in classes}
    for i, (c, file) in enumerate(files):
        (test if i in tested else train)[c].append(file)
    return train, test
