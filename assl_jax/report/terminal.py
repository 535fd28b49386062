"""A report as plain lines, for the end of a run."""

from assl_jax.sections import Listing, Report, Shown, Table, Text, sections_for


def to_lines(report: Report) -> list[str]:
    """The headline, the cautions, and the short parts of a report."""
    lines = [report.title, *report.warnings]
    for section in sections_for(Shown.TERMINAL, report.sections):
        for part in section.parts:
            match part:
                case Table():
                    lines += ["", *table_lines(part)]
                case Text(found) | Listing(found):
                    lines += ["", *found]
                case _:
                    raise TypeError(f"a terminal shows no {type(part).__name__}")
    return lines


def table_lines(table: Table) -> list[str]:
    """A table as aligned plain text, without its caption."""
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
