"""Images in the user's folders, one folder per class, or listed in a table."""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from assl_jax.data.dataset import Dataset, intensity_from
from assl_jax.data.image_file import EXTENSIONS, ImageFormat, endings, find_images
from assl_jax.data.images import read_images
from assl_jax.data.names import SPELLINGS, SPLITS, VALIDATION, is_system, shown, split_of
from assl_jax.data.rows import (
    Row,
    collection_paused,
    listing,
    numbers_first,
    repeated,
    rows_of_table,
    sides,
    with_patients,
)
from assl_jax.data.settings import check, existing_folder, expanded
from assl_jax.data.table import read_table
from assl_jax.errors import InputError, require

WHAT = "the folder that holds train/<class>/"
LAST_FOLDER = "'([^/]+)/[^/]+$'"  # a pattern for `data.patient`


def folder(
    *,
    path: str = "",
    csv: str = "",
    patient: str = "",
    labels: int = 0,
    test_fraction: float = 0.2,
    val: str = "train",
    side: int = 0,
    channels: int = 0,
    window: tuple[float, ...] = (),
    pages: str = "one",
    alpha: str = "white",
    on_error: str = "raise",
    cache: str = "",
    seed: int = 0,
) -> Dataset:
    """Images in class folders.

    The layouts are:

    - `unlabeled/**`, `train/<class>/**`, `val/<class>/**`, `test/<class>/**`. Only `train/` must be
      there. `names.SPELLINGS` lists the other names that are read, such as `Training/`. Without
      `unlabeled/`, the training images are also the unlabeled images. Without `test/`, a part of
      the training images becomes the test images.
    - `<class>/**`, if there is no such folder. It is read like `train/` alone.
    - `unlabeled/**` alone, or images without folders: nothing has a label.

    Class indices follow the sorted names. Hidden files, thumbnails and what systems leave are
    ignored. Other files that are not images, and folders that are not read, are named in `notes`.
    Images are known by their content where the name does not tell.
    `data.image_file.decode_image` says how a file becomes an array.

    Args:
      path: the folder.
      csv: a table, relative to the folder. With the columns `path` and `label`, and perhaps `split`
        and `patient`, it replaces the class folders; with `path` and `patient` alone it adds the
        patients. A label that is empty, NA, nan or -1 means none.
      patient: a regular expression that finds the patient in every file's path; its first group, or
        the whole match. No patient may be on both sides of a split.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: share of every class's images (or patients) that become test images if there
        are none. A hash of the name decides, so that a new image moves no other; at least one goes
        to each side.
      val: what validation images are: "train" (the search cross-validates inside the training
        images), "unlabeled", "test", or "ignore".
      side, channels, window, pages, alpha: as in `ImageFormat`.
      on_error: "raise", or "skip" to leave out files that cannot be decoded.
      cache: folder that keeps the decoded images for the next run; "" keeps nothing.
      seed: draws the split and the labelled set.

    Returns:
      A data set of uint8 images: first the unlabeled, then the training, then the test images.

    Raises:
      InputError: a folder, a table or an image that cannot be read, two folders for one split,
        classes that differ between training and test images, images that differ in size or
        channels, a setting out of range.
    """
    check(labels=labels, test_fraction=test_fraction, on_error=on_error, seed=seed, val=val)
    format = ImageFormat.of(
        dict(side=side, channels=channels, window=window, pages=pages, alpha=alpha)
    )
    root = existing_folder(path, WHAT)
    source, notes = str(root), list[str]()
    order: Callable[[Sequence[str]], Sequence[str]] = sorted
    table = None
    if csv:
        table = read_table(
            root / expanded(csv, "data.csv"),
            needed=("path",),
            optional=("label", "split", "patient"),
        )
        notes += [*table.notes, *sides(table.columns, "columns")]
    lists_images = table is not None and "label" in table.columns
    if table and lists_images:
        rows, source, order = rows_of_table(table, root), str(table.file), numbers_first
        _refuse_repeated(rows, source)
    else:
        rows, told = _layout(root)
        notes += told
        if table:
            require(
                "patient" in table.columns,
                f"{table.file} has neither label nor patient; add one of these columns",
            )
            rows = _patients_of_table(rows, rows_of_table(table, root), str(table.file))
    if patient:
        rows = with_patients(rows, patient)
    elif not any(row.patient for row in rows):
        notes += _perhaps_patients(rows)
    listed = listing(
        rows,
        source=source,
        what="image",
        val=val,
        test_fraction=test_fraction,
        seed=seed,
        order=order,
        notes=notes,
    )
    listed = listed.ordered()
    images, skipped, digests, sums = read_images(
        root, [row.path for row in listed.rows], format, on_error=on_error, cache=cache
    )
    listed = listed.without(skipped)
    only_unlabeled = any(row.split == "unlabeled" for row in rows) and not lists_images
    splits = listed.splits(labels=labels, seed=seed, only_unlabeled=only_unlabeled)
    seen = len(splits["unlabeled"])
    return Dataset(
        name="folder",
        images=images,
        intensity=intensity_from(
            sums[:seen].sum(0), seen * math.prod(images.shape[1:3]), low=0.0, high=255.0
        ),
        digests=digests,
        skipped=tuple(f"{shown(file)}: {reason}" for file, reason in skipped.items()),
        notes=listed.notes,
        **splits,
        format=dataclasses.asdict(format),
    )


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_system(e.name)), key=lambda e: e.name)
    except OSError as e:
        raise InputError(f"{shown(str(folder))} cannot be read: {e.strerror}") from e


@collection_paused()
def _layout(root: Path) -> tuple[list[Row], list[str]]:
    """The rows that the folders give, and notes about what was not read."""
    entries = _listing(root)
    require(bool(entries), f"data.path={str(root)!r} is an empty folder; name {WHAT}")
    folders = [entry.name for entry in entries if entry.is_dir()]
    named: dict[str, list[str]] = {}
    for name in folders:
        if split := split_of(name):
            named.setdefault(split, []).append(name)
    notes: list[str] = []
    if not named.keys() & set(SPLITS):
        if not folders:
            return _images(root, "", notes), notes
        return _classes(root, "", "", notes), notes
    for split, names in named.items():
        require(
            len(names) == 1,
            f"{root} has {'/ and '.join(names)}/, which both name the {split} images; merge them "
            "or rename one",
        )
    labelled = [split for split in ("train", VALIDATION, "test") if split in named]
    require(
        not labelled or "train" in named,
        f"{root} has {' and '.join(names[0] for names in named.values())}/ but no train/ with a "
        "folder per class",
    )
    rows = []
    if "unlabeled" in named:
        (name,) = named["unlabeled"]
        rows = _images(root, name, notes)
        require(bool(rows), f"{root / name} holds no images; add some or remove it")
    for split in labelled:
        rows += _classes(root, named[split][0], split, notes)
    others = [shown(f"{name}/") for name in folders if not split_of(name)]
    if others:
        notes.append(
            f"ignored next to {named[labelled[0]][0] if labelled else named['unlabeled'][0]}/: "
            f"{', '.join(others)}"
        )
    return rows, notes


def _images(root: Path, name: str, notes: list[str], label: str = "", split: str = "") -> list[Row]:
    """The image files below `root / name`; a note about other files."""
    try:
        images, others = find_images(root / name)
    except OSError as e:
        raise InputError(f"{shown(str(e.filename))} cannot be read: {e.strerror}") from e
    if others:
        notes.append(f"no images in {shown(name) or '.'}/: {endings(others)}")
    require(
        bool(images),
        f"{shown(str(root / name))} holds no images; it has {endings(others) or 'no files'}; add "
        "some or remove it",
    )
    split = split or "unlabeled"
    paths = [f"{name}/{file}" for file in images] if name else images
    return [Row("", path, label, split) for path in paths]


def _classes(root: Path, name: str, split: str, notes: list[str]) -> list[Row]:
    """The images of the class folders in `root / name`, each with at least one image."""
    entries = _listing(root / name)
    names = [entry.name for entry in entries if entry.is_dir()]
    require(bool(names), f"{root / name} has no class folders: put images in train/<class>/")
    # A single folder usually means that `path` names the folder above the right one.
    require(
        len(names) > 1 or split not in ("", "train"),
        f"{root / name} has one class folder only, {names[0]}/; add a second class, or let "
        "data.path name the folder that holds train/, or rename it to unlabeled/ if nothing has a "
        "label",
    )
    beside = [entry.name for entry in entries if not entry.is_dir()]
    if pictures := [file for file in beside if file.lower().endswith(EXTENSIONS)]:
        notes.append(f"{len(pictures)} images next to the class folders are ignored")
    rows = []
    for c in names:
        inner = {split_of(entry.name) for entry in _listing(root / name / c) if entry.is_dir()}
        require(
            not {"train", "test"} <= inner,
            f"{shown(str(root / name / c))} holds train/ and test/; put the images into "
            f"train/{shown(c)}/ and test/{shown(c)}/ of data.path",
        )
        rows += _images(root, f"{name}/{c}" if name else c, notes, c, split or "train")
    return rows


def _patients_of_table(rows: Sequence[Row], listed: Sequence[Row], source: str) -> list[Row]:
    """The rows with the patients of a table."""
    _refuse_repeated(listed, source)
    patients = {row.path: row.patient for row in listed}
    for row in rows:
        require(row.path in patients, f"{source} has no row for {shown(row.path)}; add it")
    return [row._replace(patient=patients[row.path]) for row in rows]


def _refuse_repeated(rows: Sequence[Row], source: str) -> None:
    for file, reason in repeated(rows).items():
        raise InputError(f"{source}: {shown(file)} {reason}; remove all but one")


def _perhaps_patients(rows: Sequence[Row]) -> list[str]:
    """A note if class folders hold folders, which may be patients."""
    deep = [row.path for row in rows if row.label and row.path.count("/") > 1 + _split(row)]
    return deep and [
        f"the class folders hold folders, as in {shown(deep[0])}; if each is one patient, set "
        f"data.patient={LAST_FOLDER} so that no patient is in training and test"
    ]


def _split(row: Row) -> bool:
    """Whether the row's path begins with a folder of a split."""
    return split_of(row.path.partition("/")[0]) in SPELLINGS
