"""The rows of a table: paths brought to one form, and labels that are asked about."""

import ntpath
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from assl_jax.data.names import (
    SPLITS,
    VALIDATION,
    is_missing,
    is_unknown,
    number_of,
    plain,
    split_of,
)
from assl_jax.data.rows import Row
from assl_jax.data.table import Table
from assl_jax.errors import InputError, choice, require

FEW_NUMBERS, MANY_NUMBERS = 10, 20  # as labels: more with fractions, more in all
ONLY_LISTS = "|;"  # signs between several labels, which no name of a class has
LISTS = ONLY_LISTS + ",+&/"


def rows_of_table(table: Table, root: Path) -> list[Row]:
    """The rows of a table with the columns `path` and perhaps `label`, `split` and `patient`."""
    rows, base = [], os.path.abspath(root)
    labelled = "label" in table.columns
    for number, cell in table.rows:
        where = f"{table.file} row {number}"
        split = cell.get("split", "")
        if "split" in cell:
            require(bool(split), f"{where} has no split; name one in every row")
            split = split_of(split) or split.lower()
            choice(split, (*SPLITS, VALIDATION), f"{where}: split")
        require(bool(cell["path"]), f"{where} has no path; name a file in every row")
        patient = cell.get("patient")
        require(
            patient is None or not is_unknown(patient),
            f"{where} has no patient{f' ({patient!r})' if patient else ''}; name one in every row, "
            "and give each unknown patient a name of its own, such as unknown1",
        )
        path = cell["path"]
        if "\\" in path and not (root / path).exists():  # written on Windows
            path = path.replace(ntpath.sep, "/")
        path = os.path.normpath(path)
        if os.path.isabs(path) and Path(path).is_relative_to(base):  # one name for one file
            path = os.path.relpath(path, base)
        path = path.replace(os.sep, "/")
        rows.append(Row(where, path, cell["label"] if labelled else "", split, patient or ""))
    _ask_about_labels(rows, str(table.file))
    return rows


def repeated(rows: Sequence[Row]) -> dict[str, str]:
    """The files that are listed more than once, each with a reason that names the rows."""
    numbers = defaultdict[str, list[str]](list)
    for row in rows:
        numbers[row.path].append(row.where.rpartition(" ")[2])
    return {
        file: f"is listed {len(there)} times, in rows {', '.join(there)}"
        for file, there in numbers.items()
        if len(there) > 1
    }


def _ask_about_labels(rows: Sequence[Row], source: str) -> None:
    """Refuse what is probably no class: measurements, and several findings in one cell."""
    labels = {row.label for row in rows if not is_missing(row.label)}
    found = [number_of(label.replace(",", ".")) for label in labels]
    numbers = {number for number in found if number is not None}
    if len(numbers) > FEW_NUMBERS and None not in found:
        low, high = min(numbers), max(numbers)
        whole = all(number == int(number) for number in numbers)
        counted = low in (0, 1) and high - low == len(numbers) - 1
        require(
            whole and (counted or len(numbers) <= MANY_NUMBERS),
            f"{source}: the label has {len(numbers)} different numbers from {low} to {high}; if "
            "they are measurements, group them into a few classes; if each is a class, write a "
            "letter before it",
        )
    plain_labels = {plain(label).casefold() for label in labels}
    joint = {label for label in labels if _several(label, plain_labels)}
    first = next((row for row in rows if row.label in joint), None)
    if first:
        count = sum(row.label in joint for row in rows)
        raise InputError(
            f"{first.where}: the label {first.label!r} names several findings, as {count} of "
            f"{len(rows)} labels do, but an image has one class; write one, leave the label empty, "
            "or choose another column (data.columns=label=NAME)"
        )


def _several(label: str, known: set[str]) -> bool:
    """Whether a label is a list: with a sign that is for lists only, or of `known` labels."""
    if label[0] in "[{(" and label[-1] in ")}]":
        return True
    for sign in LISTS:
        parts = [plain(part).casefold() for part in label.split(sign)]
        if len(parts) > 1 and all(parts) and (sign in ONLY_LISTS or set(parts) <= known):
            return True
    return False
