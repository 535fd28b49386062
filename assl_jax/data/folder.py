"""Images in the user's folders, one folder per class, or listed in a table."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assl_jax.data.decoding import Kind, unusable
from assl_jax.data.dicom_headers import with_headers
from assl_jax.data.found import beside, found_by_name
from assl_jax.data.image_file import ImageFormat, decode_image
from assl_jax.data.layout import WHAT, layout, perhaps_patients
from assl_jax.data.listed import Identified, ListedSource
from assl_jax.data.names import shown
from assl_jax.data.rows import Listing, Row
from assl_jax.data.settings import expanded
from assl_jax.data.table_rows import read_columns, repeated, rows_of_table
from assl_jax.errors import require


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


IMAGES = Kind(
    noun="image",
    decode=decode_image,
    dtype=np.uint8,
    header=None,
    stamp=_stamp,
    size=lambda shape: f"{shape[1]}x{shape[0]} pixels",
    fit="set data.side to resize them all",
    less="lower data.side, or set data.cache",
    readers=("pillow", "pydicom"),
    workers=os.cpu_count() or 1,
)


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

    name = "folder"
    kind = IMAGES
    holds = WHAT
    arranged = True

    @property
    def format(self) -> ImageFormat:
        return ImageFormat.of(vars(self))

    def list_files(self, root: Path) -> Listing:
        notes: list[str] = []
        listed: list[Row] = []
        file = root / expanded(self.csv, "data.csv")
        if self.csv:
            table = read_columns(file, self.columns, needed=("path",))
            listed, told = found_by_name(root, rows_of_table(table, root))
            notes += [*table.notes, *told]
            if "label" in table.columns:
                notes += beside(root, listed, file)
                return Listing(
                    rows=listed, source=str(file), what="image", notes=tuple(notes), table=True
                )
            require(
                "patient" in table.columns,
                f"{file} has neither label nor patient; add one of these columns, or name it as in "
                "data.columns=label=NAME",
            )
            for path, reason in repeated(listed).items():
                raise unusable(root / path, f"it {reason}")
        rows, told = layout(root)
        rows = _with_patients_of(rows, listed, str(file)) if self.csv else rows
        return Listing(rows=rows, source=str(root), what="image", notes=(*notes, *told))

    def identified(self, root: Path, rows: Sequence[Row]) -> Identified:
        rows, notes = with_headers(root, rows, window=bool(self.window))
        known = any(row.patient for row in rows)
        return Identified(rows, notes if known else notes + perhaps_patients(rows), {})


def _with_patients_of(rows: Sequence[Row], listed: Sequence[Row], source: str) -> list[Row]:
    """The rows with the patients of a table."""
    patients = {row.path: row.patient for row in listed}
    for row in rows:
        require(row.path in patients, f"{source} has no row for {shown(row.path)}; add it")
    return [row._replace(patient=patients[row.path]) for row in rows]
