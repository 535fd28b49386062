"""A report as Markdown: its sentences and tables."""

from collections.abc import Iterable, Iterator

from assl_jax.sections import (
    Cell,
    Command,
    Folded,
    Listing,
    Part,
    Report,
    Shown,
    Table,
    Text,
    sections_for,
)

TABLES = "tables.md"


def to_markdown(report: Report) -> str:
    """The whole of `TABLES`."""
    blocks = [f"# {escaped(report.title)}"]
    blocks += [f"> **{escaped(warning)}**" for warning in report.warnings]
    for section in sections_for(Shown.MARKDOWN, report.sections):
        blocks += [f"## {escaped(section.title)}", *_blocks(section.parts)]
    return "\n\n".join(blocks) + "\n"


def _blocks(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        match part:
            case Text(lines):
                yield "\n".join(map(escaped, lines))
            case Listing(items, ordered):
                marks = (f"{i}." if ordered else "-" for i, _ in enumerate(items, start=1))
                yield "\n".join(
                    f"{mark} {escaped(item)}" for mark, item in zip(marks, items, strict=True)
                )
            case Command(text):
                yield f"    {' '.join(text.split())}"
            case Table():
                yield table_markdown(part)
            case Folded(inner):
                yield from _blocks(inner)


def table_markdown(table: Table) -> str:
    """A table as GitHub-flavoured Markdown, its caption above it."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(cell: Cell) -> str:
        return f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)

    rule = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [line(map(escaped, table.columns)), line(rule)]
    lines += [line(map(cell, row.cells)) for row in table.rows]
    return "\n".join([escaped(table.caption), "", *lines])


def escaped(text: str) -> str:
    """Text on one line, with Markdown's special characters escaped."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*|<>[]" else c for c in text)
