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
from assl_jax.data.settings import existing_folder, expanded
from assl_jax.data.source import ListedSource
from assl_jax.data.table_rows import repeated, rows_of_table
from assl_jax.errors import InputError, require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder(ListedSource, ImageFormat):
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

    It gives uint8 images: first the unlabeled, then the training, then the test images.

    Attributes:
      csv: a table, relative to the folder. With the columns `path` and `label`, and perhaps `split`
        and `patient`, it replaces the class folders; with `path` and `patient` alone it adds the
        patients. A label that is empty, NA, nan or -1 means none. A path may be a file's name
        alone, with or without its ending.

    Raises:
      InputError: a folder, a table or an image that cannot be read, two folders for one split,
        classes that differ between training and test images, images that differ in size or
        channels, a setting out of range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.format  # checks the settings together

    @property
    def format(self) -> ImageFormat:
        """How a file becomes an array."""
        return ImageFormat.of(vars(self))

    def load(self) -> Dataset:
        root = existing_folder(self.path, WHAT)
        rows, source, lists_images, notes = _listed(root, self.csv, self.columns)
        if self.patient:
            rows = with_patients(rows, self.patient)
        rows, told = with_headers(root, rows, window=bool(self.window))
        notes += told
        if not any(row.patient for row in rows):
            notes += perhaps_patients(rows)
        rows, told = one_spelling(rows, "image")
        notes += told
        listed = listing(
            rows,
            source=source,
            what="image",
            val=self.val,
            test_fraction=self.test_fraction,
            seed=self.seed,
            order=numbers_first if lists_images else sorted,
            notes=notes,
        )
        listed = listed.ordered()
        images, skipped, digests, sums = read_images(
            root,
            [row.path for row in listed.rows],
            self.format,
            on_error=self.on_error,
            cache=self.cache,
        )
        listed = listed.without(skipped)
        only_unlabeled = any(row.split == "unlabeled" for row in rows) and not lists_images
        splits = listed.splits(labels=self.labels, seed=self.seed, only_unlabeled=only_unlabeled)
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
            format=dataclasses.asdict(self.format),
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
