"""From a table to rows: what columns hold, one form of paths, labels that are asked about."""

import dataclasses
import ntpath
import os
import re
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
from assl_jax.data.rows import Row, sides
from assl_jax.data.table import PLUS, Table, read_table
from assl_jax.errors import InputError, choice, require

ROLES = ("path", "label", "split", "patient")
FOLDERS = "folders"  # in place of the column of labels: the class folders
PATIENT = re.compile(
    r"patient|subject|person|participant|lesion|donor|animal|^(p|case|study)[ _]?id$|^mrn$"
)
SHOWN = 12  # columns in a message
FEW_NUMBERS, MANY_NUMBERS = 10, 20  # as classes: more with fractions, more in all
ONLY_LISTS = "|;"  # signs between several labels, which no name of a class has
LISTS = ONLY_LISTS + ",+&/"


def roles(setting: str) -> dict[str, str]:
    """The file's own names of columns, in lower case, by what the columns hold.

    `setting` is `data.columns`, such as "path=image_id,label=dx".
    """
    found: dict[str, str] = {}
    for part in filter(None, setting.split(",")):
        role, _, column = (text.strip().lower() for text in part.partition("="))
        require(
            bool(column),
            f"data.columns={setting!r} must name columns, as in path=image_id,label=dx",
        )
        choice(role, ROLES, "data.columns: the name")
        require(role not in found, f"data.columns={setting!r} names {role} twice")
        found[role] = column
    return found


def read_columns(file: Path, setting: str, *, needed: Sequence[str]) -> Table:
    """Read a table with the columns that `data.columns` names; notes are of all its columns."""
    own = roles(setting)
    by_folders = own.get("label") == FOLDERS
    if by_folders:
        del own["label"]
    table = read_table(file, needed=needed, optional=ROLES, columns=own)
    notes = (*table.notes, *sides(table.columns, "columns"), *_unread_patients(table))
    table = dataclasses.replace(table, notes=notes)
    if by_folders:
        kept = tuple(name for name in table.columns if name != "label")
        return dataclasses.replace(table, columns=kept)
    if "label" not in table.columns and (found := _may_be_classes(table)):
        more = f" (or one of {', '.join(found[1:SHOWN])})" if found[1:] else ""
        raise InputError(
            f"{file} has no column label; if {found[0]}{more} holds the classes, set "
            f"{_setting('label', found[0])}; if the folders are the classes, set "
            f"{_setting('label', FOLDERS)}"
        )
    return table


def _unread_patients(table: Table) -> list[str]:
    """A note if a column that is not read may name the patients."""
    if "patient" in table.columns:
        return []
    found = [name for name in table.columns if name not in ROLES and PATIENT.search(name)]
    found = [name for name in found if 1 < len(set(_cells(table, name))) < len(table.rows)]
    return found[:1] and [
        f"the column {found[0]} of the table is not read; if it names the patients, set "
        f"{_setting('patient', found[0])} so that no patient is in training and test"
    ]


def _setting(role: str, column: str) -> str:
    """The setting as one types it; a shell needs quotes around spaces."""
    value = f"{role}={column}"
    return f"data.columns={value!r}" if " " in value else f"data.columns={value}"


def _may_be_classes(table: Table) -> list[str]:
    """The columns with few different values, and first those of which one is 1 in every row."""
    others = [name for name in table.columns if name not in ROLES and not PATIENT.search(name)]
    cells = {name: _cells(table, name) for name in filter(None, others)}
    few = [name for name, values in cells.items() if 1 < len(set(values)) <= len(values) // 2]
    numbers = {name: set(map(number_of, cells[name])) for name in few}
    few = [name for name in few if None in numbers[name] or len(numbers[name]) <= MANY_NUMBERS]
    binary = [name for name in few if numbers[name] <= {0, 1}]
    ones = [sum(number_of(cell[name]) == 1 for name in binary) for _, cell in table.rows]
    if len(binary) > 1 and set(ones) == {1}:
        return [PLUS.join(binary), *(name for name in few if name not in binary)]
    return few


def _cells(table: Table, name: str) -> list[str]:
    return [cell[name] for _, cell in table.rows if not is_missing(cell[name])]


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
