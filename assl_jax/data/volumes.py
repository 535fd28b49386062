"""The user's volumes, listed in a table of labels."""

import csv as tables
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.settings import check, existing_folder
from assl_jax.data.splits import split_by_patient, stratified_subset
from assl_jax.data.volume_cache import Stamp, VolumeStack, read_volumes, unusable
from assl_jax.data.volume_file import VolumeFormat, stamp
from assl_jax.errors import InputError, choice, require
from assl_jax.files import digest

SPLITS = ("train", "test", "unlabeled")
COLUMNS = ("path", "label", "split", "patient")


class Row(NamedTuple):
    """One line of the table; without a column `split`, `split` is "" until it is drawn."""

    number: int
    path: str
    label: str
    split: str
    patient: str


def volumes(
    *,
    path: str = "",
    csv: str = "volumes.csv",
    shape: tuple[int, ...] = (),
    spacing: tuple[float, ...] = (),
    window: tuple[float, ...] = (),
    crop_foreground: bool = False,
    foreground_above: float = 0.0,
    labels: int = 0,
    test_fraction: float = 0.2,
    on_error: str = "raise",
    cache: str = "",
    seed: int = 0,
) -> Dataset:
    """Volumes listed in a CSV file.

    The table has the columns `path` (relative to the folder) and `label`, and may have `split`
    (train, test or unlabeled) and `patient`. Other columns are ignored. The label may be empty if
    the split is unlabeled. Without `split`, a part of the patients becomes the test set. Without
    `patient`, every volume is of a different patient. Class indices follow the sorted labels; the
    labels are sorted as numbers if all are integers. The files are NIfTI (`data.volume_file` lists
    the formats); `data.volume_file.read_volume` says how a file becomes an array.

    Args:
      path: the folder.
      csv: the table, relative to the folder.
      shape: `(z, y, x)` voxels of a volume; () requires all volumes to have the same shape. With
        `spacing`, a central box of this shape is cropped; without it, the whole volume is resized.
      spacing: resamples to this voxel size in mm along z, y, x; () keeps the files' voxels.
      window: file values (HU of a CT) that become the lowest and the highest integer, at least 32
        apart; () maps each volume's 0.5 and 99.5 percentiles to 0 and 1000.
      crop_foreground: crops, before all else, to the bounding box of the voxels above
        `foreground_above`.
      foreground_above: a value in the files' units.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: fraction of every class's patients that become test patients if the table has
        no `split`; at least one patient goes to each side.
      on_error: "raise", or "skip" to leave out files that cannot be used.
      cache: folder that keeps the volumes for the next run; "" holds them in memory.
      seed: draws the split and the labelled set.

    Returns:
      A data set of `[n, z, y, x, 1]` int16 volumes in the table's order; with a cache, they are a
      `VolumeStack`. Proxy tasks see all volumes except the test volumes.

    Raises:
      InputError: a table or a file that cannot be used, a patient on both sides of the split, a
        class without training or test volumes, volumes that differ in shape, a setting out of
        range.
    """
    check(labels=labels, test_fraction=test_fraction, on_error=on_error, seed=seed)
    format = VolumeFormat(
        shape=tuple(shape),
        spacing=tuple(map(float, spacing)),
        window=tuple(map(float, window)),
        foreground_above=float(foreground_above) if crop_foreground else None,
    )
    root = existing_folder(path, "the folder that holds the volumes")
    table = root / Path(csv).expanduser()
    rows = _read_table(table)
    names = _class_names(table, rows)
    rows = _with_splits(table, rows, test_fraction, seed=seed)

    stamps, skipped = _stamps(root, rows)
    for file, reason in skipped.items():
        if on_error == "raise":
            raise unusable(root / file, reason)
    _check_sides(table, rows, names, skipped)  # also before reading, which may take hours
    images: Any  # an array, or a `VolumeStack`
    images, unread = read_volumes(root, stamps, format, on_error=on_error, cache=cache)
    skipped |= unread
    kept = _check_sides(table, rows, names, skipped)

    split = np.array([row.split for row in kept])
    index = {name: k for k, name in enumerate(names)}
    classes = np.array([-1 if r.split == "unlabeled" else index[r.label] for r in kept], np.int32)
    seen, chosen = np.flatnonzero(split != "test"), np.flatnonzero(split == "train")
    if labels:
        chosen = chosen[stratified_subset(classes[chosen], labels, seed=seed)]
    low, high = format.limits
    settings = dataclasses.asdict(format)
    return Dataset(
        name="volumes",
        images=images,
        labels=classes,
        class_names=names,
        unlabeled=seen,
        labelled_sets=(chosen,),
        test=np.flatnonzero(split == "test"),
        intensity=(
            images.take(seen).intensity(low, high)
            if isinstance(images, VolumeStack)
            else intensity_of(images[seen], low=low, high=high)
        ),
        patients=np.unique([row.patient for row in kept], return_inverse=True)[1],
        origins=tuple(digest([settings, row.path, stamps[row.path]], 16) for row in kept),
        skipped=tuple(
            f"{file}: {skipped[file]}"
            for file in dict.fromkeys(row.path for row in rows)
            if file in skipped
        ),
        format=settings,
    )


def _read_table(table: Path) -> list[Row]:
    """The rows of the table, each checked on its own."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = tables.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            lines = [(reader.line_num, [c.strip() for c in cells]) for cells in reader]
    except FileNotFoundError as e:
        raise InputError(f"{table} does not exist; data.csv names the table of labels") from e
    except (OSError, UnicodeError, tables.Error) as e:
        reason = "it is not UTF-8 text" if isinstance(e, UnicodeError) else str(e)
        raise InputError(f"{table} cannot be read as a table: {reason}") from e
    lines = [(number, cells) for number, cells in lines if any(cells)]
    require(bool(header), f"{table} is empty; its first line must be path,label")
    absent = [name for name in ("path", "label") if name not in header]
    require(
        not absent,
        f"{table} has no column {' and '.join(absent)}; its columns are {', '.join(header)}",
    )
    twice = [name for name in COLUMNS if header.count(name) > 1]
    require(not twice, f"{table} has more than one column {', '.join(twice)}")
    require(bool(lines), f"{table} lists no volumes")

    rows = []
    for number, cells in lines:
        where = f"{table} row {number}"
        require(
            len(cells) <= len(header),
            f"{where} has {len(cells)} cells, but the first line has {len(header)}",
        )
        cell: dict[str, str] = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        split = cell.get("split", "").lower()
        if "split" in cell:
            choice(split, SPLITS, f"{where}: split")
        require(bool(cell["path"]), f"{where} has no path")
        require(
            bool(cell["label"]) or split == "unlabeled",
            f"{where} has no label; only a row whose split is unlabeled needs none",
        )
        require(cell.get("patient") != "", f"{where} has no patient; name one in every row")
        path = os.path.normpath(cell["path"])
        rows.append(Row(number, path, cell["label"], split, cell.get("patient", path)))
    return rows


def _class_names(table: Path, rows: list[Row]) -> tuple[str, ...]:
    found = {row.label for row in rows if row.split != "unlabeled"}
    require(bool(found), f"{table} has no labelled volumes")
    require(
        len(found) > 1,
        f"{table} has one class only, {', '.join(found)!r}; add volumes of a second class",
    )
    try:
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(found))


def _with_splits(table: Path, rows: list[Row], test_fraction: float, *, seed: int) -> list[Row]:
    """The rows with their splits, which are drawn if the table has none."""
    if rows[0].split:
        return rows
    labels, patients = (np.array([getattr(r, k) for r in rows]) for k in ("label", "patient"))
    try:
        test = set(split_by_patient(labels, patients, test_fraction, seed=seed).tolist())
    except InputError as e:
        raise InputError(
            f"{table}: {e}; add patients, or a column `split` that names the test volumes"
        ) from e
    return [row._replace(split="test" if i in test else "train") for i, row in enumerate(rows)]


def _check_sides(
    table: Path, rows: list[Row], names: tuple[str, ...], skipped: Mapping[str, str]
) -> list[Row]:
    """The rows that are not skipped, after a check of the classes and patients on both sides."""
    rows = [row for row in rows if row.path not in skipped]
    tested = {row.patient for row in rows if row.split == "test"}
    for row in rows:
        require(
            row.split == "test" or row.patient not in tested,
            f"{table} row {row.number}: patient {row.patient!r} is in {row.split} and in test; put "
            "all volumes of a patient on one side",
        )
    left = f"; {len(skipped)} files were skipped" if skipped else ""
    for side in ("train", "test"):
        have = {row.label for row in rows if row.split == side}
        for name in names:
            require(
                name in have,
                f"{table}: class {name!r} has no {side} volumes{left}; add some, or assign them "
                "in a column `split`",
            )
    return rows


def _stamps(root: Path, rows: list[Row]) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Size and modification time of each usable file, and the reason why any other file is not."""
    stamps: dict[str, Stamp] = {}
    unfit: dict[str, str] = {}
    times = Counter(row.path for row in rows)
    for file, count in times.items():
        if count > 1:
            numbers = ", ".join(str(row.number) for row in rows if row.path == file)
            unfit[file] = f"it is listed {count} times, in rows {numbers}"
            continue
        try:
            stamps[file] = stamp(root / file)
        except (OSError, ValueError) as e:
            unfit[file] = getattr(e, "strerror", None) or str(e)
    return stamps, unfit
