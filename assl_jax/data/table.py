"""Tables as spreadsheets and programs write them (CSV)."""

import contextlib
import csv
import dataclasses
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from assl_jax.data.names import is_missing, number_of, special
from assl_jax.errors import InputError, require

DELIMITERS = (",", ";", "\t", "|")
ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SEP = "sep="  # Excel's own first line, such as sep=;
PLUS = "+"  # between columns of which one is 1 in every row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts."""

    file: Path
    columns: tuple[str, ...]  # names in lower case
    rows: tuple[tuple[int, dict[str, str]], ...]  # line number, and the cells by column
    notes: tuple[str, ...] = ()  # what the user should know about how it was read


def read_table(
    file: Path,
    *,
    needed: Sequence[str],
    optional: Sequence[str],
    columns: Mapping[str, str],
) -> Table:
    """Read a table whose first line names the columns.

    The delimiter is that of `DELIMITERS` with which the first line has the needed columns. UTF-8
    and UTF-16 (with a byte order mark) are read, and Windows-1252 if the text is not UTF-8. Empty
    lines are left out; a short line is filled with empty cells.

    The columns `needed` must be there, `optional` ones may be there once only, and others are kept
    without a check. `columns` holds the file's own names of some of these. A name such as "mel+nv"
    stands for several columns, of which one is 1 in every row; its name is then the cell.
    """
    text, notes = _text(file)
    skip = int(text.lower().startswith(SEP))
    text = text.partition("\n")[2] if skip else text
    own = {name: columns.get(name, name).split(PLUS) for name in dict.fromkeys((*needed, *columns))}
    wanted = {column: name for name, parts in own.items() for column in parts}
    header, rows = _split(file, text, wanted)
    absent = [column for column in wanted if column not in header]
    if absent:
        unnamed = [name for name in dict.fromkeys((*needed, *optional)) if name not in header]
        raise InputError(
            f"{file} has no column {' and '.join(absent)}; its columns are {', '.join(header)} "
            f"(the first line names them); name yours, as in data.columns={'=NAME,'.join(unnamed)}"
            "=NAME"
        )
    twice = [name for name in dict.fromkeys((*wanted, *optional)) if header.count(name) > 1]
    require(not twice, f"{file} has more than one column {', '.join(twice)}; keep one")
    require(bool(rows), f"{file} has no rows below its first line; add one for each file")

    def row(number: int, cells: Sequence[str]) -> tuple[int, dict[str, str]]:
        where = f"{file} row {number}"
        require(
            not any(cells[len(header) :]),
            f"{where} has {len(cells)} cells, but the first line has {len(header)}; put a cell "
            "that holds the delimiter into quotes",
        )
        cell = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        return number, cell | {name: _one(cell, own[name], where) for name in columns}

    names = tuple(dict.fromkeys((*header, *columns)))
    whole = tuple(row(number + skip, cells) for number, cells in rows)
    return Table(file=file, columns=names, rows=whole, notes=notes)


def _split(
    file: Path, text: str, wanted: Collection[str]
) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """The header and the cells, by the delimiter with which the header has what is wanted."""
    for delimiter in (*DELIMITERS, DELIMITERS[0]):  # the last for the message that none fits
        header, rows = _cells(file, text, delimiter)
        if set(wanted) <= set(header):
            break
    require(
        any(header),
        f"{file} is empty; its first line names the columns, such as {','.join(wanted)}",
    )
    return header, rows


def _one(cell: Mapping[str, str], columns: Sequence[str], where: str) -> str:
    """The cell of a column, or the name of the one column that is 1; "" if all are empty."""
    if len(columns) == 1:
        return cell[columns[0]]
    if all(is_missing(cell[column]) for column in columns):
        return ""
    ones = [column for column in columns if number_of(cell[column]) == 1]
    rest = [column for column in columns if number_of(cell[column]) not in (0, 1)]
    require(
        len(ones) == 1 and not rest,
        f"{where} must have 1 in one of the columns {', '.join(columns)} and 0 in the others; an "
        "image has one class",
    )
    return ones[0]


def _text(file: Path) -> tuple[str, tuple[str, ...]]:
    reason = special(file)
    require(not reason, f"{file} cannot be read as a table: {reason}")
    try:
        content = file.read_bytes()
    except FileNotFoundError as e:
        raise InputError(f"{file} does not exist; data.csv names the table") from e
    except OSError as e:
        raise InputError(f"{file} cannot be read as a table: {e.strerror or e}") from e
    known = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8")
    remedy = f"{file} is not text in UTF-8; save it as CSV UTF-8"
    if known == "utf-8" and b"\0" in content:
        raise InputError(remedy)
    with contextlib.suppress(UnicodeError):
        return content.decode(known), ()
    try:
        require(known == "utf-8", remedy)
        note = f"{file.name} is not UTF-8; it was read as Windows-1252"
        return content.decode("cp1252"), (note,)
    except UnicodeError as e:
        raise InputError(remedy) from e


def _cells(
    file: Path, text: str, delimiter: str
) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """The first line's names in lower case, and the cells of the other lines that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = tuple(name.strip().lower() for name in next(reader, []))
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as e:
        raise InputError(f"{file} cannot be read as a table: {e}") from e
    while columns and not columns[-1]:
        columns = columns[:-1]  # of a delimiter at the end of the line
    return columns, [(number, cells) for number, cells in rows if any(cells)]
