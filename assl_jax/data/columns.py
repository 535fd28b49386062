"""Which columns of a table hold the paths, the labels, the splits and the patients."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from assl_jax.data.names import is_missing, number_of
from assl_jax.data.rows import sides
from assl_jax.data.table import PLUS, Table, read_table
from assl_jax.errors import InputError, choice, require

ROLES = ("path", "label", "split", "patient")
FOLDERS = "folders"  # in place of the column of labels: the class folders
PATIENT = re.compile(
    r"patient|subject|person|participant|lesion|donor|animal|^(p|case|study)[ _]?id$|^mrn$"
)
MOST_NUMBERS = 20  # different numbers in a column that may hold classes
SHOWN = 12  # columns in a message


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
    few = [name for name in few if None in numbers[name] or len(numbers[name]) <= MOST_NUMBERS]
    binary = [name for name in few if numbers[name] <= {0, 1}]
    ones = [sum(number_of(cell[name]) == 1 for name in binary) for _, cell in table.rows]
    if len(binary) > 1 and set(ones) == {1}:
        return [PLUS.join(binary), *(name for name in few if name not in binary)]
    return few


def _cells(table: Table, name: str) -> list[str]:
    return [cell[name] for _, cell in table.rows if not is_missing(cell[name])]
