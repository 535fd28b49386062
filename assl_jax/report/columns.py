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
      text: of a row; by default the value as it prints.
      value: what is compared within a group of rows, the best one is strong; None: nothing is.
      form: how a value prints; what prints like the best one is strong too.
      higher_is_better: which value is the best one.
      once: only the first row of a group has a text.
    """

    head: str
    text: Callable[[Any], str] | None = None
    value: Callable[[Any], float | None] | None = None
    form: forms.Form = forms.percent
    higher_is_better: bool = True
    once: bool = False

    def best(self, rows: Iterable[Any]) -> str | None:
        """The best value of some rows as printed, see `forms.winner`."""
        values = map(self.value, rows) if self.value else ()
        return forms.winner(values, self.form, higher_is_better=self.higher_is_better)

    def cell(self, row: Any, best: Sequence[str | None]) -> Cell:
        """The cell of a row; it is strong if its value prints like one of the best."""
        value = self.form(self.value(row)) if self.value else None
        return Cell(self.text(row) if self.text else value or "", value in best and bool(value))


def measured(
    head: str,
    metric: str,
    estimate: Callable[[Any], Estimate | None],
    show: Callable[[Estimate | None], str] | None = None,
    form: forms.Form | None = None,
) -> Column:
    """A column of estimates of a metric, by default mean ± standard deviation; means are compared.

    `show` is how an estimate prints, `form` how a mean prints where it is compared.
    """
    of = METRICS[metric]
    each = form or forms.of(of.share)

    def mean(row: Any) -> float | None:
        found = estimate(row)
        return found.mean if found else None

    def text(row: Any) -> str:
        return show(estimate(row)) if show else forms.mean_std(estimate(row), each)

    return Column(head, text, mean, each, of.higher_is_better)


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
