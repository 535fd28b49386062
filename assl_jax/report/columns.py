"""Tables from a list of columns, each of which knows its head, its text and which value is best."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from assl_jax.records import Estimate
from assl_jax.report import forms
from assl_jax.sections import Cell, Row, Shown, Table

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table whose rows are made from objects of type T.

    Attributes:
      head: of the column.
      text: of a row.
      value: what is compared within a group of rows, the best one is strong; None: nothing is.
      form: how a value prints; what prints like the best one is strong too.
      higher_is_better: which value is the best one.
      once: only the first row of a group has a text.
    """

    head: str
    text: Callable[[T], str]
    value: Callable[[T], float | None] | None = None
    form: forms.Form = forms.percent
    higher_is_better: bool = True
    once: bool = False

    def best(self, rows: Iterable[T]) -> str | None:
        """The best value of some rows as printed, see `forms.winner`."""
        if self.value is None:
            return None
        values = map(self.value, rows)
        return forms.winner(values, self.form, higher_is_better=self.higher_is_better)


def number(
    head: str,
    value: Callable[[T], float | None],
    form: forms.Form = forms.percent,
    *,
    higher_is_better: bool = True,
) -> Column[T]:
    """A column of plain numbers."""
    return Column(head, lambda row: form(value(row)), value, form, higher_is_better)


def estimated(
    head: str,
    estimate: Callable[[T], Estimate | None],
    form: forms.Form = forms.percent,
    *,
    show: Callable[[Estimate | None], str] | None = None,
    higher_is_better: bool = True,
) -> Column[T]:
    """A column of estimates, by default mean ± standard deviation; their means are compared."""

    def mean(row: T) -> float | None:
        found = estimate(row)
        return found.mean if found else None

    def text(row: T) -> str:
        return show(estimate(row)) if show else forms.mean_std(estimate(row), form)

    return Column(head, text, mean, form, higher_is_better)


def tabulate(
    caption: str,
    columns: Sequence[Column[T]],
    groups: Iterable[Sequence[T]],
    *,
    names: int = 1,
    opens: bool = True,
    verdict: Callable[[T], str] = lambda _: "",
    rivals: Callable[[Sequence[T]], Iterable[Sequence[T]]] = lambda group: (group,),
    sortable: bool = False,
    shown: Shown = Shown.FILES,
) -> Table | None:
    """A table of groups of rows; None without rows.

    Args:
      caption, names, sortable, shown: see `Table`.
      columns: from left to right.
      groups: what each row is made from.
      opens: whether the first row of a group is set apart.
      verdict: of a row, see `Row`.
      rivals: the sets of rows of a group in each of which the best value is strong.
    """
    rows = []
    for group in groups:
        sets = list(rivals(group))
        best = [[column.best(rows) for rows in sets] for column in columns]
        for i, row in enumerate(group):
            cells = []
            for column, leaders in zip(columns, best, strict=True):
                text = "" if column.once and i else column.text(row)
                strong = column.value is not None and column.form(column.value(row)) in leaders
                cells.append(Cell(text, strong))
            rows.append(Row(tuple(cells), opens and i == 0, verdict(row)))
    heads = tuple(column.head for column in columns)
    table = Table(caption, heads, tuple(rows), names, sortable, shown=shown)
    return table if rows else None
