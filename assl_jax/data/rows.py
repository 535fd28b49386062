"""What folders and tables list: one row per file, brought to classes, splits and patients."""

import contextlib
import dataclasses
import gc
import unicodedata
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from assl_jax.data.names import (
    SPLITS,
    VALIDATION,
    is_missing,
    one_name_each,
    shown,
    speak_of_sides,
    split_of,
)
from assl_jax.data.splits import split_by_name, stratified_subset
from assl_jax.errors import InputError, require


@contextlib.contextmanager
def collection_paused() -> Generator[None]:
    """No garbage collection, which would look at a million new rows again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Row(NamedTuple):
    """One file."""

    where: str  # the line of the table, for error messages; "" for a file in a folder
    path: str  # relative to the source's folder, with slashes
    label: str = ""  # the class as it is written; "" without one
    split: str = ""  # a key of `names.SPELLINGS`; "" where it will be drawn
    patient: str = ""  # "" where it is unknown; the file is then its own group

    def changed(self, label: str, split: str) -> "Row":
        """The row with this label and split: often itself, which saves time for many files."""
        if label == self.label and split == self.split:
            return self
        return self._replace(label=label, split=split)

    def place(self, source: str) -> str:
        """Where it is listed, for error messages; `source` is the folder or the table."""
        return self.where or shown(f"{source}/{self.path}")

    @property
    def inside(self) -> str:
        """The path below the folder of the split."""
        first, _, rest = self.path.partition("/")
        return rest if rest and split_of(first) else self.path

    @property
    def group(self) -> str:
        """The patient, or else the path below the folder of the split."""
        return unicodedata.normalize("NFC", self.patient or self.inside)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a data set: as they are listed at first, then with classes and splits."""

    rows: Sequence[Row]
    source: str  # the table or folder, for error messages
    what: str  # "image" or "volume"
    notes: tuple[str, ...] = ()  # what the user should know
    table: bool = False  # whether a table names the classes
    classes: tuple[str, ...] = ()  # in the order of the indices; () if nothing is labelled

    def told(self, rows: Sequence[Row], notes: Sequence[str] = ()) -> "Listing":
        """The listing with other rows and further notes."""
        return dataclasses.replace(self, rows=rows, notes=(*self.notes, *notes))

    def used(self, val: str = "train") -> "Listing":
        """The listing whose validation rows are what `data.val` says.

        Rows without labels are unlabeled; test rows must have one.
        """
        result, notes, what = list[Row](), list[str](), self.what
        unnamed = {label for label in {row.label for row in self.rows} if is_missing(label)}
        for row in self.rows:
            split = val if row.split == VALIDATION else row.split
            if split == "ignore":
                continue
            missing = row.label in unnamed
            if missing and split == "test":
                raise InputError(
                    f"{row.place(self.source)} is a test {what} without a label; label it, or make "
                    "it unlabeled"
                )
            label = "" if missing or split == "unlabeled" else row.label
            result.append(row.changed(label, split if label else "unlabeled"))
        if held := sum(row.split == VALIDATION for row in self.rows):
            word = {"train": "training"}.get(val, val)
            use = "ignored" if val == "ignore" else f"used as {word} {what}s"
            notes.append(f"{held} validation {what}s are {use} (data.val={val})")
        lost = [r.label for r in self.rows if r.split != "unlabeled" and r.label in unnamed]
        if lost:
            spellings = ", ".join(repr(label) for label in sorted(set(lost)))
            notes.append(f"{len(lost)} {what}s without a label ({spellings}) are unlabeled")
        return self.told(result, notes)

    def classified(self, order: Callable[[Sequence[str]], Sequence[str]] = sorted) -> "Listing":
        """The listing with its classes, sorted by `order`, and one spelling for each."""
        spelling = one_name_each((row.label for row in self.rows if row.label), self.source)
        classes, notes = tuple(order(list(dict.fromkeys(spelling.values())))), list[str]()
        for name in classes:
            same = [label for label in spelling if spelling[label] == name]
            if other := [label for label in same if label.strip() != name]:
                notes.append(f"class {name!r} is also written {', '.join(map(repr, other))}")
        last = [*self.notes[-1:], *notes][-1:]
        without = f" ({last[0]})" if last and last[0].endswith("are unlabeled") else ""
        require(
            len(classes) != 1,
            f"{self.source} has one class only, {', '.join(classes)!r}{without}; add {self.what}s "
            "of a second class",
        )
        notes += sides(classes, "classes")
        rows = [row.changed(spelling.get(row.label, ""), row.split) for row in self.rows]
        return dataclasses.replace(self.told(rows, notes), classes=classes)

    def drawn(self, test_fraction: float, seed: int) -> "Listing":
        """The listing in which a part of the patients are test patients, if no row is a test row.

        Unlabeled rows of these patients are left out.
        """
        rows, notes = list(self.rows), list[str]()
        labelled = [row for row in rows if row.label]
        if labelled and not any(row.split == "test" for row in labelled):
            labels, groups = np.array([r.label for r in labelled]), [r.group for r in labelled]
            known = any(row.patient for row in labelled)
            what = "patient" if known else self.what
            try:
                chosen = split_by_name(labels, groups, test_fraction, seed=seed, what=what)
            except InputError as e:
                raise InputError(
                    f"{self.source}: {e}; add {self.what}s, or name the test {self.what}s yourself"
                ) from e
            tested = {groups[i] for i in chosen}
            sided = [
                row.changed(row.label, "test" if row.group in tested else "train")
                if row.label
                else row
                for row in rows
            ]
            rows = [r for r in sided if r.label or not r.patient or r.group not in tested]
            if lost := len(sided) - len(rows):
                notes.append(f"{lost} unlabeled {self.what}s of test patients are left out")
        require(bool(rows), f"{self.source} has no {self.what}s")
        return self.told([row.changed(row.label, row.split or "train") for row in rows], notes)

    def without(self, skipped: Mapping[str, str]) -> "Listing":
        """The listing without the files that are skipped.

        No patient may be on both sides, and every class must be left on each.
        """
        rows = tuple(row for row in self.rows if row.path not in skipped)
        tested = {row.group for row in rows if row.split == "test"}
        for row in rows:
            if row.split != "test" and row.patient and row.group in tested:
                raise InputError(
                    f"{row.place(self.source)}: patient {row.patient!r} is in {row.split} and in "
                    f"test; put all {self.what}s of a patient on one side"
                )
        left = f"; {len(skipped)} files were skipped" if skipped else ""
        for side in ("train", "test"):
            have = {row.label for row in rows if row.split == side}
            for name in self.classes:
                require(
                    name in have,
                    f"{self.source}: class {name!r} has no {side} {self.what}s{left}; add some, or "
                    "assign them to this split",
                )
        lost = {row.split for row in self.rows} - {row.split for row in rows}
        require(
            not lost,
            f"{self.source}: every {self.what} of {', '.join(sorted(lost))} was skipped; repair or "
            "remove it",
        )
        return dataclasses.replace(self, rows=rows)

    def ordered(self) -> "Listing":
        """The listing with the unlabeled rows first, then the training, then the test rows.

        Within a split, the classes are in their order.
        """
        index = {name: k for k, name in enumerate(self.classes)}

        def place(row: Row) -> tuple[int, int]:
            return SPLITS.index(row.split), index.get(row.label, -1)

        return dataclasses.replace(self, rows=tuple(sorted(self.rows, key=place)))

    def splits(self, *, labels: int, seed: int, only_unlabeled: bool = False) -> dict[str, Any]:
        """The fields of `Dataset` that say who is what.

        `labels` is the size of the labelled training set, 0 for all; `only_unlabeled` says whether
        proxy tasks see no image of it.
        """
        index = {name: k for k, name in enumerate(self.classes)}
        classes = np.array([index.get(row.label, -1) for row in self.rows], np.int32)
        split = np.array([row.split for row in self.rows])
        chosen, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
        if labels:
            require(
                bool(self.classes),
                f"data.labels={labels}, but {self.source} has no labelled {self.what}s",
            )
            drawn = stratified_subset(classes[chosen], labels, seed=seed, names=self.classes)
            chosen = chosen[drawn]
        groups: list[str] = []
        if any(row.patient for row in self.rows):
            groups = [row.group if row.patient else f"/{row.path}" for row in self.rows]
        return {
            "labels": classes,
            "class_names": self.classes,
            "unlabeled": np.flatnonzero(
                split == "unlabeled" if only_unlabeled else split != "test"
            ),
            "labelled_sets": (chosen,) if self.classes else (),
            "test": test,
            "patients": np.unique(groups, return_inverse=True)[1] if groups else None,
        }


def numbers_first(names: Sequence[str]) -> list[str]:
    """The names sorted as numbers if all are integers, or else as texts."""
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def sides(names: Sequence[str], kind: str) -> list[str]:
    """A note if names of classes or columns speak of left and right."""
    found = speak_of_sides(names)
    return found and [
        f"the {kind} {', '.join(map(repr, found))} speak of sides: random flips exchange left and "
        "right; set target.flip and task.*.flip to False if a class depends on the side"
    ]
