"""Tables: one model of rows, the forms of its numbers, and its renderings as text."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

DASH = "–"


class Cell(NamedTuple):
    text: str
    strong: bool = False


class Row(NamedTuple):
    """Cells, whether the row opens a group, and how the search judged it (or "")."""

    cells: tuple[Cell, ...]
    opens: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Table:
    """A caption, column heads and rows; the first `names` columns are text, the rest numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    names: int = 1


def percent(value: float | None, *, digits: int = 2) -> str:
    """A fraction of 1 as a percentage without its sign; a dash when there is none."""
    return _fixed(None if value is None else 100 * value, f".{digits}f")


def gain(value: float | None, *, digits: int = 2) -> str:
    """A difference of two fractions in signed percentage points."""
    return _fixed(None if value is None else 100 * value, f"+.{digits}f")


def printed(value: float | None, *, signed: bool = False) -> str:
    """A value that is in % or points already, as the paper prints it."""
    return _fixed(value, "+.2f" if signed else ".2f")


def mean_std(mean: float | None, std: float | None, *, digits: int = 2) -> str:
    """Mean ± standard deviation in percent.

    The mean alone when there is no deviation, or exactly 0: that of a single run.
    """
    texts = [percent(mean, digits=digits), percent(std or None, digits=digits)]
    return texts[0] if DASH in texts else " ± ".join(texts)


def _fixed(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return DASH
    text = format(value, form)
    # A loss of 0.001 points prints as no change, not as a negative zero.
    return text.replace("-", "+" if "+" in form else "") if float(text) == 0 else text


def similar(value: float | None) -> str:
    return _fixed(value, ".4f")


def winner(
    values: Iterable[float | None],
    form: Callable[[float | None], str],
    best: Callable[[Iterable[float]], float] = max,
) -> str | None:
    """The best value as printed; None when there is nothing to compare.

    Whoever prints the same wins too, so equal figures look equal.
    """
    numbers = [v for v in values if v is not None and math.isfinite(v)]
    return form(best(numbers)) if len({form(v) for v in numbers}) > 1 else None


def markdown(table: Table) -> str:
    """A table as GitHub-flavoured Markdown, its caption above it."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(cell: Cell) -> str:
        return f"**{plain(cell.text)}**" if cell.strong else plain(cell.text)

    rule = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [line(map(plain, table.columns)), line(rule)]
    lines += [line(cell(c) for c in row.cells) for row in table.rows]
    return f"{plain(table.caption)}\n\n" + "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Text in which Markdown sees nothing but text."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*|<>[]" else c for c in text)


def text_lines(table: Table) -> list[str]:
    """A table as aligned plain text."""
    grid = [table.columns, *(tuple(c.text for c in row.cells) for row in table.rows)]
    widths = [max(len(text) for text in column) for column in zip(*grid, strict=True)]
    lines = []
    for texts in grid:
        cells = [
            text.ljust(width) if i < table.names else text.rjust(width)
            for i, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
