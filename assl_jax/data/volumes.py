"""The user's own NIfTI volumes, with a table of labels."""

import csv as tables
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from assl_jax.data.dataset import Dataset, intensity_of, stratified_subset
from assl_jax.data.nifti import VolumeFormat
from assl_jax.data.volume_cache import Stamp, VolumeStack, digest, read_volumes, unusable
from assl_jax.errors import InputError, lookup, require

SPLITS = ("train", "test", "unlabeled")
COLUMNS = ("path", "label", "split", "patient")


class Row(NamedTuple):
    """One line of the table; `split` is "" where the table leaves it to be drawn."""

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
    """NIfTI volumes listed in a CSV file.

    Its columns are `path` (relative to the folder), `label`, and, if wanted, `split` (train, test
    or unlabeled) and `patient`; others are ignored. A label may be empty where the split is
    unlabeled. Without `split`, a part of the patients becomes the test set; without `patient`,
    every volume is another patient's. Class indices follow the sorted labels, as numbers where
    all of them are integers. `data.nifti.read_volume` says how a file becomes an array.

    Args:
      path: the folder.
      csv: the table, relative to the folder.
      shape: `(z, y, x)` of the volumes; () demands that all agree. With `spacing` the centre box
        of this shape is cut out, without it the whole volume is resized.
      spacing: voxel size in mm along z, y, x that volumes are resampled to; () keeps the files'.
      window: file values (HU of a CT) that become the lowest and the highest integer, at least 32
        apart; () maps each volume's 0.5 and 99.5 percentiles to 0 and 1000.
      crop_foreground: cut away, first of all, what surrounds the voxels above `foreground_above`.
      foreground_above: in the files' units.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: share of every class's patients that become test patients where there is no
        `split`; at least one goes to either side.
      on_error: "raise", or "skip" to leave out files that cannot be used.
      cache: folder that keeps the volumes for the next run, "" to hold them in memory.
      seed: draws the split and the labelled set.

    Returns:
      A data set of `[n, z, y, x, 1]` int16 volumes in the table's order, a `VolumeStack` where
      there is a cache. Proxy tasks see all that are not test volumes.

    Raises:
      InputError: a table or a file that cannot be used, a patient on both sides, a class without
        training or test volumes, volumes that differ in shape, a setting out of range.
    """
    require(on_error in ("raise", "skip"), f"data.on_error={on_error!r} must be 'raise' or 'skip'")
    require(labels >= 0, f"data.labels={labels} must be 0 (all) or a number of volumes")
    require(0 < test_fraction < 1, f"data.test_fraction={test_fraction} must lie between 0 and 1")
    format = VolumeFormat(
        shape=tuple(shape),
        spacing=tuple(map(float, spacing)),
        window=tuple(map(float, window)),
        foreground_above=float(foreground_above) if crop_foreground else None,
    )
    require(bool(path), "data.path is empty: name the folder that holds the volumes")
    root = Path(path).expanduser()
    require(root.is_dir(), f"data.path={path!r} is not a folder")
    table = root / Path(csv).expanduser()
    rows = _read_table(table)
    names = _class_names(table, rows)
    rows = _with_splits(table, rows, test_fraction, seed=seed)

    stamps, skipped = _stamps(root, rows)
    for file, reason in skipped.items():
        if on_error == "raise":
            raise unusable(root / file, reason)
    _check_sides(table, rows, names, skipped)  # before hours of reading, and again afterwards
    images: Any  # an array, or as much of one as is looked at
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
        origin=digest(dataclasses.asdict(format), [(r.path, *stamps[r.path]) for r in kept]),
        skipped=tuple(
            f"{file}: {skipped[file]}"
            for file in dict.fromkeys(row.path for row in rows)
            if file in skipped
        ),
    )


def split_by_patient(
    labels: Shaped[np.ndarray, " n"],
    patients: Shaped[np.ndarray, " n"],
    test_fraction: float,
    *,
    seed: int,
) -> Int[np.ndarray, " m"]:
    """Draw test patients, the same share of every class; a patient's class is its most frequent.

    Args:
      labels: each volume's class.
      patients: whose each volume is.
      test_fraction: share of a class's patients, rounded; at least one goes to either side.
      seed: draws the patients.

    Returns:
      The sorted positions of all volumes of the test patients.

    Raises:
      InputError: a class with a single patient.
    """
    rng = np.random.default_rng(seed)
    classes, label = np.unique(labels, return_inverse=True)
    people, person = np.unique(patients, return_inverse=True)
    counts = np.zeros((len(people), len(classes)), int)
    np.add.at(counts, (person, label), 1)
    main = counts.argmax(1)
    drawn: list[int] = []
    for k, name in enumerate(classes):
        members = np.flatnonzero(main == k)
        m = len(members)
        require(
            m != 1,
            f"class '{name}' has 1 patient, who cannot be on both sides; add patients or say in a "
            "column `split` which volumes are for testing",
        )
        share = min(max(1, round(m * test_fraction)), m - 1) if m else 0
        drawn += rng.permutation(members)[:share].tolist()
    return np.flatnonzero(np.isin(person, drawn))


def _read_table(table: Path) -> list[Row]:
    """The rows, with what a row alone can have wrong found out."""
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
            f"{where} has {len(cells)} cells, the first line has {len(header)}",
        )
        cell: dict[str, str] = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        split = cell.get("split", "").lower()
        if "split" in cell:
            lookup(dict.fromkeys(SPLITS), split, f"{where}: split")
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
        f"{table} has one class only, {', '.join(found)!r}: a second one is needed",
    )
    try:
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(found))


def _with_splits(table: Path, rows: list[Row], test_fraction: float, *, seed: int) -> list[Row]:
    """The rows with a split each, drawn where the table has none."""
    if rows[0].split:
        return rows
    labels, patients = (np.array([getattr(r, k) for r in rows]) for k in ("label", "patient"))
    try:
        test = set(split_by_patient(labels, patients, test_fraction, seed=seed).tolist())
    except InputError as e:
        raise InputError(f"{table}: {e}") from e
    return [row._replace(split="test" if i in test else "train") for i, row in enumerate(rows)]


def _check_sides(
    table: Path, rows: list[Row], names: tuple[str, ...], skipped: Mapping[str, str]
) -> list[Row]:
    """The rows that are not skipped: no patient is on both sides, every class is."""
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
    """Size and time of every file that can be used, and why the others cannot."""
    stamps: dict[str, Stamp] = {}
    unfit: dict[str, str] = {}
    times = Counter(row.path for row in rows)
    for file, count in times.items():
        if count > 1:
            numbers = ", ".join(str(row.number) for row in rows if row.path == file)
            unfit[file] = f"it is listed {count} times, in rows {numbers}"
            continue
        try:
            stat = (root / file).stat()
            stamps[file] = (stat.st_size, stat.st_mtime_ns)
        except (OSError, ValueError) as e:
            unfit[file] = getattr(e, "strerror", None) or str(e)
    return stamps, unfit
