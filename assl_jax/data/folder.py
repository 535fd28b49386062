"""Images in the user's folders, one folder per class, or listed in a table."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from assl_jax.data.columns import read_columns, unread_patients
from assl_jax.data.dataset import Dataset, intensity_from
from assl_jax.data.dicom_headers import with_headers
from assl_jax.data.found import beside, found_by_name
from assl_jax.data.image_file import ImageFormat
from assl_jax.data.images import read_images
from assl_jax.data.layout import WHAT, layout, perhaps_patients
from assl_jax.data.names import shown
from assl_jax.data.patients import one_spelling, with_patients
from assl_jax.data.rows import Row, listing, numbers_first, sides
from assl_jax.data.settings import check, existing_folder, expanded
from assl_jax.data.table_rows import repeated, rows_of_table
from assl_jax.errors import InputError, require


def folder(
    *,
    path: str = "",
    csv: str = "",
    columns: str = "",
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
      columns: the table's own names of these columns, such as "path=image_id,label=dx". A label
        from several columns, of which one is 1 in every row, is "label=mel+nv"; "label=folders"
        takes the class folders. A path may be a file's name alone, with or without its ending.
      patient: a regular expression that finds the patient in every file's path; its first group, or
        the whole match. No patient may be on both sides of a split. Without it, and without a
        column, the PatientID of DICOM files counts.
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
    rows, source, lists_images, notes = _listed(root, csv, columns)
    if patient:
        rows = with_patients(rows, patient)
    rows, told = with_headers(root, rows, window=bool(window))
    notes += told
    if not any(row.patient for row in rows):
        notes += perhaps_patients(rows)
    rows, told = one_spelling(rows, "image")
    notes += told
    listed = listing(
        rows,
        source=source,
        what="image",
        val=val,
        test_fraction=test_fraction,
        seed=seed,
        order=numbers_first if lists_images else sorted,
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


def _listed(root: Path, csv: str, columns: str) -> tuple[list[Row], str, bool, list[str]]:
    """The rows, what lists them, whether that is a table, and notes."""
    if not csv:
        rows, notes = layout(root)
        return rows, str(root), False, notes
    table = read_columns(root / expanded(csv, "data.csv"), columns, needed=("path",))
    notes = [*table.notes, *sides(table.columns, "columns"), *unread_patients(table)]
    listed, told = found_by_name(root, rows_of_table(table, root))
    notes += told
    for file, reason in repeated(listed).items():
        raise InputError(f"{table.file}: {shown(file)} {reason}; remove all but one")
    if "label" in table.columns:
        return listed, str(table.file), True, notes + beside(root, listed, table.file)
    require(
        "patient" in table.columns,
        f"{table.file} has neither label nor patient; add one of these columns, or name it as in "
        "data.columns=label=NAME",
    )
    rows, told = layout(root)
    return _with_patients_of(rows, listed, str(table.file)), str(root), False, notes + told


def _with_patients_of(rows: Sequence[Row], listed: Sequence[Row], source: str) -> list[Row]:
    """The rows with the patients of a table."""
    patients = {row.path: row.patient for row in listed}
    for row in rows:
        require(row.path in patients, f"{source} has no row for {shown(row.path)}; add it")
    return [row._replace(patient=patients[row.path]) for row in rows]
