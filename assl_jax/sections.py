"""What a report consists of, without how it looks: sections of text, tables, figures and pictures.

Whoever has results makes sections; the renderers in `report/` show them and know no results.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self


class Shown(enum.Flag):
    """Where a part is shown."""

    PAGE = enum.auto()  # index.html
    MARKDOWN = enum.auto()  # tables.md
    TERMINAL = enum.auto()  # the last lines of a run
    COMPARISON = enum.auto()  # beside other runs
    FILES = PAGE | MARKDOWN | COMPARISON
    EVERYWHERE = FILES | TERMINAL


@dataclass(frozen=True)
class Part:
    """What a section is made of; it is false if its first attribute is empty: nothing to show."""

    shown: Shown = dataclasses.field(default=Shown.PAGE, kw_only=True)

    def __bool__(self) -> bool:
        return bool(getattr(self, dataclasses.fields(self)[1].name))

    def at(self, shown: Shown) -> Self:
        """The same part, shown elsewhere."""
        return dataclasses.replace(self, shown=shown)


@dataclass(frozen=True)
class Heading(Part):
    """A title inside a section."""

    text: str


@dataclass(frozen=True)
class Text(Part):
    """Sentences, a line each; `soft` ones explain what stands beside them."""

    lines: tuple[str, ...]
    soft: bool = False


@dataclass(frozen=True)
class Listing(Part):
    """Items of a list; those of an `ordered` one are steps."""

    items: tuple[str, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Facts(Part):
    """Names and values."""

    values: Mapping[str, object]


@dataclass(frozen=True)
class Command(Part):
    """What was typed."""

    text: str


@dataclass(frozen=True)
class Figure(Part):
    """A chart.

    Attributes:
      draw: gives SVG text, "" if there is nothing to draw; a renderer calls it when it needs it.
      alt: the alternative text.
      title: above the chart.
      notes: sentences below it.
    """

    draw: Callable[[], str]
    alt: str
    title: str = ""
    notes: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A PNG in base64, its alternative text, and its caption; a `marked` caption stands out."""

    png: str
    alt: str
    caption: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Pictures(Part):
    """A table of pictures; `tall` ones are volumes, several slices high."""

    rows: tuple[tuple[Picture, ...], ...]
    columns: tuple[str, ...]
    label: str
    tall: bool = False


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
class Table(Part):
    """A caption, column heads and rows; the first `names` columns are text, the rest numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    names: int = 1
    sortable: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True)
class Folded(Part):
    """Parts that a click opens, where there is something to click."""

    parts: tuple[Part, ...]
    title: str
    open: bool = False


class Section(NamedTuple):
    """A title and what stands below it; one without parts is left out."""

    title: str
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, title: str, *parts: Part | None) -> Self:
        """A section of those parts that have something to show."""
        return cls(title, tuple(part for part in parts if part))


class Report(NamedTuple):
    """A document: its headline, cautions before everything else, and its sections."""

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    warnings: tuple[str, ...] = ()


def parts_for(medium: Shown, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts that are shown in a medium, folded ones included."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Folded):
            part = dataclasses.replace(part, parts=parts_for(medium, part.parts))
        found += [part] if part and medium in part.shown else []
    return tuple(found)


def sections_for(medium: Shown, sections: Iterable[Section]) -> list[Section]:
    """The sections that have something to show in a medium, with these parts alone."""
    found = [Section(section.title, parts_for(medium, section.parts)) for section in sections]
    return [section for section in found if section.parts]
