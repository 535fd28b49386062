"""Sources of files that folders or a table list: from the list to the data set."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from assl_jax.data.dataset import Dataset, intensity_from
from assl_jax.data.decoded import read_files
from assl_jax.data.decoding import Header, Kind, unusable
from assl_jax.data.names import shown
from assl_jax.data.orientation import differences
from assl_jax.data.patients import one_spelling, with_patients
from assl_jax.data.rows import Listing, Row, collection_paused, numbers_first
from assl_jax.data.settings import existing_folder
from assl_jax.data.source import Labels, Source, TestFraction
from assl_jax.data.table_rows import repeated
from assl_jax.ranges import OneOf, Seed


class Identified(NamedTuple):
    """What files say of themselves."""

    rows: Sequence[Row]  # with the patients that they name; without what nothing is learnt from
    notes: Sequence[str]  # what the user should know
    names: Mapping[str, str]  # for a path what only paths of the same volume share


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedSource(Source):
    """A source of files that folders or a table list.

    Attributes:
      path: the folder.
      csv: a table, relative to the folder.
      columns: the table's own names of its columns, such as "path=image_id,label=dx". A label from
        several columns, of which one is 1 in every row, is "label=mel+nv"; "label=folders" takes
        the class folders.
      patient: a regular expression that finds the patient in every file's path; its first group, or
        the whole match. No patient may be on both sides of a split. Without it, and without a
        column, the PatientID of DICOM files counts.
      labels: size of the labelled training set, drawn evenly from the classes; 0 takes all.
      test_fraction: share of every class's files (or patients) that become test files if there are
        none. A hash of the name decides, so that a new file moves no other; at least one goes to
        each side.
      val: what validation files are: "train" (the search cross-validates inside the training
        files), "unlabeled", "test", or "ignore".
      on_error: "raise", or "skip" to leave out files that cannot be used.
      cache: folder that keeps the decoded files for the next run; "" holds them in memory.
      seed: draws the split and the labelled set.
    """

    path: str = ""
    csv: str = ""
    columns: str = ""
    patient: str = ""
    labels: Labels = 0
    test_fraction: TestFraction = 0.2
    val: Annotated[str, OneOf(("train", "unlabeled", "test", "ignore"))] = "train"
    on_error: Annotated[str, OneOf(("raise", "skip"))] = "raise"
    cache: str = ""
    seed: Seed = 0

    name: ClassVar[str]
    kind: ClassVar[Kind]
    holds: ClassVar[str]  # what the folder holds, in words
    arranged: ClassVar[bool] = False  # whether files are sorted by split and class
    own_patient: ClassVar[bool] = False  # whether a file of an unknown patient is of a patient

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.format  # checks the settings together

    @property
    def format(self) -> Any:
        """How a file becomes an array: it has `settings` and `limits`."""
        raise NotImplementedError

    def list_files(self, root: Path) -> Listing:
        """The files below `root`."""
        raise NotImplementedError

    def identified(self, root: Path, rows: Sequence[Row]) -> Identified:
        """What the files say of themselves."""
        raise NotImplementedError

    def beside(
        self, root: Path, files: Iterable[str], headers: Mapping[str, Header]
    ) -> dict[str, str]:
        """Files beside those listed that are in none of them, each with what it is."""
        return {}

    def load(self) -> Dataset:
        root = existing_folder(self.path, self.holds)
        found = self.list_files(root)
        if self.patient:
            found = found.told(with_patients(found.rows, self.patient))
        rows, notes, names = self.identified(root, found.rows)
        found = found.told(rows, notes)
        found = found.told(*one_spelling(found.rows, found.what))
        if self.own_patient:
            rows = [row._replace(patient=row.patient or row.path) for row in found.rows]
            found = found.told(rows)
        skipped = self._repeated(root, found.rows, names) if found.table else {}
        with collection_paused():
            listed = found.used(self.val).classified(numbers_first if found.table else sorted)
            listed = listed.drawn(self.test_fraction, self.seed).without(skipped)
            listed = listed.ordered() if self.arranged else listed
        files = [row.path for row in listed.rows]
        decoded = read_files(
            root, files, self.kind, self.format, on_error=self.on_error, cache=self.cache
        )
        skipped |= decoded.skipped
        listed = listed.without(skipped)
        splits = listed.splits(
            labels=self.labels,
            seed=self.seed,
            only_unlabeled=not found.table and any(row.split == "unlabeled" for row in found.rows),
        )
        left = {row.path: skipped[row.path] for row in found.rows if row.path in skipped}
        left |= self.beside(root, files, decoded.headers)
        seen, (low, high) = splits["unlabeled"], self.format.limits
        values = len(seen) * math.prod(decoded.images.shape[1:-1])
        codes = (decoded.headers.get(row.path, Header()).orientation for row in listed.rows)
        return Dataset(
            name=self.name,
            images=decoded.images,
            intensity=intensity_from(decoded.sums[seen].sum(0), values, low=low, high=high),
            digests=decoded.digests,
            keys=tuple(row.path for row in listed.rows),
            skipped=tuple(f"{shown(file)}: {reason}" for file, reason in left.items()),
            notes=(*listed.notes, *differences(codes)),
            format=self.format.settings,
            **splits,
        )

    def _repeated(
        self, root: Path, rows: Sequence[Row], names: Mapping[str, str]
    ) -> dict[str, str]:
        """The files that a table lists more than once, each with a reason to leave it out."""
        names = {row.path: names.get(row.path) or row.path for row in rows}
        twice = repeated([row._replace(path=names[row.path]) for row in rows])
        found = {file: f"it {twice[name]}" for file, name in names.items() if name in twice}
        for file, reason in found.items():
            if self.on_error == "raise":
                raise unusable(root / file, reason)
        return found
