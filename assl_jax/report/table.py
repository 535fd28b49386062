"""Tables: one model of rows, and its renderings as Markdown and plain text.

The templates of the page render it as HTML.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    text: str
    strong: bool = False


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      cells: one for each column.
      opens: whether the row begins a group.
      verdict: what the search decided, for its colour: "start", "accepted", "stopped", "chosen"
        or "".
    """

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
    """Text on one line, with Markdown's special characters escaped."""
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
