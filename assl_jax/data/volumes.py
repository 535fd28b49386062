"""The user's volumes, listed in a table of labels."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from assl_jax.data.decoding import Header, Kind
from assl_jax.data.dicom_files import unlisted
from assl_jax.data.listed import Identified, ListedSource
from assl_jax.data.names import shown
from assl_jax.data.rows import Listing, Row
from assl_jax.data.settings import expanded
from assl_jax.data.table_rows import read_columns, rows_of_table
from assl_jax.data.volume_file import VolumeFormat, read_volume, volume_header
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import identify, stamp

TABLE = "volumes.csv"
VOLUMES = Kind(
    noun="volume",
    decode=read_volume,
    dtype=np.int16,
    header=volume_header,
    stamp=lambda path: stamp(Path(path)),
    size=lambda shape: f"{shape[:-1]} voxels",
    fit="set data.shape to give all volumes one shape",
    less="set data.cache, fewer voxels (data.shape) or larger ones (data.spacing)",
    readers=("nibabel", "pydicom", "pynrrd"),
    workers=min(8, os.cpu_count() or 1),  # each holds a whole volume in floating point
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volumes(ListedSource, VolumeFormat):
    """Volumes listed in a CSV file.

    The table has the columns `path` (relative to the folder) and `label`, and may have `split`
    (train, val, test or unlabeled) and `patient`. Other columns are ignored. A volume whose label
    is empty, NA, nan or -1 is unlabeled. Without test volumes in `split`, a part of the patients
    becomes the test set. Without `patient`, the PatientID of DICOM files counts, and every other
    volume is of a different patient. Class indices follow the sorted labels; the labels are sorted
    as numbers if all are integers. Without a table, all volumes under the folder are unlabeled,
    except those whose names say that they are masks (`data.volume_folder`). A path is a file of a
    format in `data.volume_reader.READERS`, or a folder of a DICOM series;
    `data.volume_file.read_volume` says how it becomes an array.

    It gives `[n, z, y, x, 1]` int16 volumes in the table's order. Proxy tasks see all except the
    test volumes.

    Attributes:
      crop_foreground: crops, before all else, to the bounding box of the voxels above
        `foreground_above`.
      foreground_above: a value in the files' units.

    Raises:
      InputError: a table or a file that cannot be used, a patient on both sides of the split, a
        class without training or test volumes, volumes that differ in shape, a setting out of
        range.
    """

    csv: str = TABLE
    crop_foreground: bool = False
    foreground_above: float = 0.0

    name = "volumes"
    kind = VOLUMES
    holds = "the folder that holds the volumes"
    own_patient = True

    @property
    def format(self) -> VolumeFormat:
        return VolumeFormat(
            shape=self.shape,
            spacing=tuple(map(float, self.spacing)),
            window=tuple(map(float, self.window)),
            foreground_above=float(self.foreground_above) if self.crop_foreground else None,
            nan=self.nan,
        )

    def list_files(self, root: Path) -> Listing:
        """The table, or all volumes if there is none."""
        table = root / expanded(self.csv, "data.csv")
        if self.csv == TABLE and not table.exists():
            include = f"list all volumes in {TABLE}"
            found = find_volumes(root).required(include, f" and no {TABLE}")
            note = f"there is no {TABLE}: all {len(found.volumes)} volumes are unlabeled"
            paths = [file.relative_to(root).as_posix() for file in found.volumes]
            rows = [Row(shown(str(root / path)), path, split="unlabeled") for path in paths]
            notes = (note, *found.notes(include))
            return Listing(rows=rows, source=str(root), what="volume", notes=notes)
        read = read_columns(table, self.columns, needed=("path", "label"))
        rows = rows_of_table(read, root)
        return Listing(rows=rows, source=str(table), what="volume", notes=read.notes, table=True)

    def identified(self, root: Path, rows: Sequence[Row]) -> Identified:
        known = {row.path: identify(root / row.path) for row in rows}
        rows = [row._replace(patient=row.patient or known[row.path][0]) for row in rows]
        return Identified(rows, [], {path: name for path, (_, name) in known.items()})

    def beside(
        self, root: Path, files: Iterable[str], headers: Mapping[str, Header]
    ) -> dict[str, str]:
        paths = {file: root / file for file in files}
        found = {
            (path if path.is_dir() else path.parent) / name: kind
            for file, path in paths.items()
            for name, kind in headers.get(file, Header()).unused
        }
        found |= unlisted(paths.values())
        return {os.path.relpath(path, root): kind for path, kind in found.items()}
