"""Tables from a list of columns, each of which knows its head, its text and which value is best."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Estimate
from assl_jax.report import forms
from assl_jax.sections import Cell, Row, Shown, Table
from assl_jax.words import say


@dataclass(frozen=True)
class Column:
    """A column of a table whose rows are made from objects of one kind.

    Attributes:
      head: of the column.
      value: of a row. Numbers and the means of estimates are compared within a group of rows, and
        what prints like the best one is strong; words are not.
      form: how a number prints.
      higher_is_better: which number is the best one.
      text: of a row, if the value prints otherwise.
      once: only the first row of a group has a text.
    """

    head: str
    value: Callable[[Any], Estimate | float | str | None]
    form: forms.Form = forms.percent
    higher_is_better: bool = True
    text: Callable[[Any], str] | None = None
    once: bool = False

    def number(self, row: Any) -> float | None:
        """What is compared; None of words."""
        value = self.value(row)
        value = value.mean if isinstance(value, Estimate) else value
        return None if isinstance(value, str) else value

    def best(self, rows: Iterable[Any]) -> str | None:
        """The best value of some rows as printed, see `forms.winner`."""
        numbers = map(self.number, rows)
        return forms.winner(numbers, self.form, higher_is_better=self.higher_is_better)

    def cell(self, row: Any, best: Sequence[str | None]) -> Cell:
        """The cell of a row; it is strong if its value prints like one of the best."""
        value = self.value(row)
        if isinstance(value, str):
            return Cell(value)
        words = self.text(row) if self.text else forms.mean_std(value, self.form)
        return Cell(words, self.form(self.number(row)) in best)


def measured(
    head: str, metric: str, estimate: Callable[[Any], Estimate | None], **look: Any
) -> Column:
    """A column of estimates of a metric, which it knows by its name in `METRICS`."""
    of = METRICS[metric]
    own: dict[str, Any] = {"form": forms.of(of.share), "higher_is_better": of.higher_is_better}
    return Column(head, estimate, **own | look)


def printed(
    data: str, row: Callable[[Any], Any], fields: Mapping[str, tuple[str, forms.Form]]
) -> list[Column]:
    """Columns with the paper's values on some data; `row` finds the paper's row of an object.

    `fields` has a field of that row and how it prints, by the key of the column's head.
    """

    def column(head: str, field: str, form: forms.Form) -> Column:
        title = say("head.paper", head=say(head), data=data)
        return Column(title, lambda each: form(getattr(row(each), field, None)))

    return [column(head, *field) for head, field in fields.items()]


def tabulate(
    caption: str,
    columns: Sequence[Column],
    groups: Iterable[Sequence[Any]],
    *,
    opens: bool = True,
    verdict: Callable[[Any], str] = lambda _: "",
    rivals: Callable[[Sequence[Any]], Iterable[Sequence[Any]]] = lambda group: (group,),
    **looks: Any,
) -> Table | None:
    """A table of groups of objects, a row for each; None without rows.

    Args:
      caption, columns, groups: what it shows.
      opens: whether the first row of a group is set apart.
      verdict: of a row, see `Row`.
      rivals: the sets of rows of a group in each of which the best value is strong.
      looks: attributes of `Table`; by default it is shown in all files.
    """
    rows = []
    for group in groups:
        sets = list(rivals(group))
        best = [[column.best(some) for some in sets] for column in columns]
        for i, row in enumerate(group):
            cells = (
                Cell("") if column.once and i else column.cell(row, leaders)
                for column, leaders in zip(columns, best, strict=True)
            )
            rows.append(Row(tuple(cells), opens and i == 0, verdict(row)))
    heads = tuple(column.head for column in columns)
    looks = {"shown": Shown.FILES} | looks
    return Table(caption, heads, tuple(rows), **looks) if rows else None
