"""The user's volumes, listed in a table of labels."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assl_jax.data.columns import read_columns, unread_patients
from assl_jax.data.dataset import Dataset, intensity_of
from assl_jax.data.names import shown
from assl_jax.data.orientation import differences
from assl_jax.data.patients import one_spelling, with_patients
from assl_jax.data.rows import Row, listing, numbers_first, sides
from assl_jax.data.settings import existing_folder, expanded
from assl_jax.data.source import ListedSource
from assl_jax.data.table_rows import repeated, rows_of_table
from assl_jax.data.volume_cache import Stamp, VolumeStack, read_volumes, unusable
from assl_jax.data.volume_file import VolumeFormat, VolumeHeader
from assl_jax.data.volume_folder import find_volumes
from assl_jax.data.volume_reader import identify, stamp, unlisted
from assl_jax.errors import InputError
from assl_jax.files import digest

TABLE = "volumes.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volumes(ListedSource):
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

    It gives `[n, z, y, x, 1]` int16 volumes in the table's order; with a cache, they are a
    `VolumeStack`. Proxy tasks see all volumes except the test volumes.

    Attributes:
      shape: `(z, y, x)` voxels of a volume; () requires all volumes to have the same shape. With
        `spacing`, a central box of this shape is cropped; without it, the whole volume is resized.
      spacing: resamples to this voxel size in mm along z, y, x; () keeps the files' voxels.
      window: file values (HU of a CT) that become the lowest and the highest integer, at least 32
        apart; () maps each volume's 0.5 and 99.5 percentiles to 0 and 1000.
      crop_foreground: crops, before all else, to the bounding box of the voxels above
        `foreground_above`.
      foreground_above: a value in the files' units.
      nan: what replaces voxels that are NaN or infinite: "refuse", "lowest" (the volume's smallest
        value), or a number in the files' units.

    Raises:
      InputError: a table or a file that cannot be used, a patient on both sides of the split, a
        class without training or test volumes, volumes that differ in shape, a setting out of
        range.
    """

    csv: str = TABLE
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    window: tuple[float, ...] = ()
    crop_foreground: bool = False
    foreground_above: float = 0.0
    nan: str = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.format  # checks the settings together

    @property
    def format(self) -> VolumeFormat:
        """How a file becomes an array."""
        return VolumeFormat(
            shape=self.shape,
            spacing=tuple(map(float, self.spacing)),
            window=tuple(map(float, self.window)),
            foreground_above=float(self.foreground_above) if self.crop_foreground else None,
            nan=self.nan,
        )

    def load(self) -> Dataset:
        format = self.format
        root = existing_folder(self.path, "the folder that holds the volumes")
        rows, source, notes = _listed(root, self.csv, self.columns)
        if self.patient:
            rows = with_patients(rows, self.patient)
        known = {row.path: identify(root / row.path) for row in rows}
        rows = [row._replace(patient=row.patient or known[row.path][0]) for row in rows]
        rows, told = one_spelling(rows, "volume")
        notes += told
        stamps, skipped = _stamps(
            root, rows, {path: name or path for path, (_, name) in known.items()}
        )
        for file, reason in skipped.items():
            if self.on_error == "raise":
                raise unusable(root / file, reason)
        listed = listing(
            # A volume of an unknown patient is of a patient of its own.
            [row._replace(patient=row.patient or row.path) for row in rows],
            source=source,
            what="volume",
            val=self.val,
            test_fraction=self.test_fraction,
            seed=self.seed,
            order=numbers_first,
            notes=notes,
            skipped=skipped,
        )
        stamps = {row.path: stamps[row.path] for row in listed.rows}
        images: Any  # an array, or a `VolumeStack`
        images, unread, headers = read_volumes(
            root, stamps, format, on_error=self.on_error, cache=self.cache
        )
        skipped |= unread
        kept = listed.without(skipped)

        splits = kept.splits(labels=self.labels, seed=self.seed)
        seen = splits["unlabeled"]
        low, high = format.limits
        return Dataset(
            name="volumes",
            images=images,
            intensity=(
                images.take(seen).intensity(low, high)
                if isinstance(images, VolumeStack)
                else intensity_of(images[seen], low=low, high=high)
            ),
            origins=np.array(
                [digest([format.settings, row.path, stamps[row.path]], 16) for row in kept.rows]
            ),
            skipped=tuple(
                f"{shown(file)}: {reason}"
                for file, reason in {
                    **{row.path: skipped[row.path] for row in rows if row.path in skipped},
                    **_unused(root, stamps, headers),
                }.items()
            ),
            format=format.settings,
            notes=(*kept.notes, *differences(headers[row.path].orientation for row in kept.rows)),
            **splits,
        )


def _listed(root: Path, csv: str, columns: str) -> tuple[list[Row], str, list[str]]:
    """The rows, what lists them, and notes: the table, or all volumes if there is none."""
    table = root / expanded(csv, "data.csv")
    if csv == TABLE and not table.exists():
        include = f"list all volumes in {TABLE}"
        found = find_volumes(root).required(include, f" and no {TABLE}")
        note = f"there is no {TABLE}: all {len(found.volumes)} volumes are unlabeled"
        paths = [file.relative_to(root).as_posix() for file in found.volumes]
        rows = [Row(shown(str(root / path)), path, split="unlabeled") for path in paths]
        return rows, str(root), [note, *found.notes(include)]
    read = read_columns(table, columns, needed=("path", "label"))
    notes = [*read.notes, *sides(read.columns, "columns"), *unread_patients(read)]
    return rows_of_table(read, root), str(table), notes


def _unused(
    root: Path, files: Iterable[str], headers: Mapping[str, VolumeHeader]
) -> dict[str, str]:
    """What lies beside the volumes `files` and is in none of them, each with what it is."""
    paths = {file: root / file for file in files}
    found = {
        (path if path.is_dir() else path.parent) / name: kind
        for file, path in paths.items()
        for name, kind in headers.get(file, VolumeHeader()).unused
    }
    found |= unlisted([*paths.values()])
    return {os.path.relpath(path, root): kind for path, kind in found.items()}


def _stamps(
    root: Path, rows: Sequence[Row], names: Mapping[str, str]
) -> tuple[dict[str, Stamp], dict[str, str]]:
    """Size and modification time of each usable file, and the reason why any other file is not.

    `names` gives the volume behind each path: two paths can be the same DICOM series.
    """
    stamps: dict[str, Stamp] = {}
    twice = repeated([row._replace(path=names[row.path]) for row in rows])
    unfit = {file: f"it {twice[name]}" for file, name in names.items() if name in twice}
    for file in dict.fromkeys(row.path for row in rows if row.path not in unfit):
        try:
            stamps[file] = stamp(root / file)
        except InputError:  # a package is missing
            raise
        except (OSError, ValueError) as e:
            unfit[file] = getattr(e, "strerror", None) or str(e)
    return stamps, unfit
