"""Every pair of proxy tasks: Table 1, and whether dissimilarity goes with gain."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from assl_jax.records import Correlation, Extension, Results
from assl_jax.report import forms, paper
from assl_jax.report.evaluations import spread, test_set
from assl_jax.report.names import task_title
from assl_jax.report.table import Cell, Row, Table

FEW = 6  # pairs, those of four tasks; fewer have no correlation worth a headline
CHANCE = 0.05  # a larger p-value may be chance
COLUMNS = (
    "A1: a task or a pool. A2: the task that is trained with it. Avg and Max ACC: the mean and the "
    "larger accuracy of the two alone. Avg and Max (+/-): the gain over them, in points."
)
GAINS = {"avg_gain": "average gain", "max_gain": "maximum gain"}


class Column(NamedTuple):
    """A quantity of an extension as a column.

    Attributes:
      head: of the column.
      value: the quantity; None if the extension was not trained.
      form: how it is printed.
      higher_is_better: which value of a group is strong.
    """

    head: str
    value: Callable[[Extension], float | None]
    form: Callable[[float | None], str]
    higher_is_better: bool = True

    def winner(self, extensions: list[Extension]) -> str | None:
        """The best value of a group as printed, see `forms.winner`."""
        values = map(self.value, extensions)
        return forms.winner(values, self.form, higher_is_better=self.higher_is_better)


def extension_columns(accuracy: str, extensions: Iterable[Extension]) -> list[Column]:
    """The columns of Tables 1 to 3, and the complement if an extension has one.

    Args:
      accuracy: the head of the joint training's accuracy.
      extensions: the rows.
    """

    def measured(extension: Extension) -> float | None:
        return extension.evaluation.accuracy.mean if extension.evaluation else None

    known = any(extension.complement is not None for extension in extensions)
    complement = [Column("Complement (nats)", lambda e: e.complement, forms.plain)]
    return [
        Column("Similarity", lambda e: e.similarity, forms.similar, higher_is_better=False),
        *(complement if known else []),
        Column("Avg ACC", lambda e: e.avg, forms.percent),
        Column("Max ACC", lambda e: e.max, forms.percent),
        Column(accuracy, measured, forms.percent),
        Column("Avg (+/-)", lambda e: e.avg_gain, forms.gain),
        Column("Max (+/-)", lambda e: e.max_gain, forms.gain),
    ]


def by_similarity(extension: Extension) -> float:
    """The order of extensions in tables and charts: the least similar first."""
    return extension.similarity


def by_task(pairs: tuple[Extension, ...]) -> dict[str, list[tuple[str, Extension]]]:
    """For each task its partners and their pairs, the least similar first.

    Every pair is listed under both of its tasks.
    """
    groups: dict[str, list[tuple[str, Extension]]] = {}
    for task in dict.fromkeys(task for pair in pairs for task in pair.members):
        own = sorted((pair for pair in pairs if task in pair.members), key=by_similarity)
        groups[task] = [(next(t for t in pair.members if t != task), pair) for pair in own]
    return groups


def pairs_table(
    results: Results, *, under_both_tasks: bool = True, with_paper: bool = False
) -> Table | None:
    """The pairs in the layout of the paper's Table 1, or None without pairs.

    Args:
      results: of a run.
      under_both_tasks: list each pair under both of its tasks, as the paper does; otherwise once,
        all pairs in the order of their similarity.
      with_paper: add the paper's values at the end; None if it has none of the pairs.
    """
    pairs, rank = results.pairs, len(results.space)
    if not pairs or (with_paper and not any(paper.pair(rank, p.members) for p in pairs)):
        return None
    if under_both_tasks:
        groups = list(by_task(pairs).items())
    else:
        ordered = sorted(pairs, key=by_similarity)
        groups = [(p.members[0], [(p.members[1], p)]) for p in ordered]
    columns = extension_columns("Int ACC", pairs)
    heads = ["A1", "A2", *(column.head for column in columns)]
    if with_paper:
        heads += paper.heads(rank, "Similarity", "Int ACC", "Avg (+/-)")
    rows = []
    for a1, group in groups:
        rivals = [pair for _, pair in group] if under_both_tasks else list(pairs)
        leaders = [column.winner(rivals) for column in columns]
        for i, (a2, pair) in enumerate(group):
            cells = [Cell(task_title(a1) if i == 0 else ""), Cell(task_title(a2))]
            for column, leader in zip(columns, leaders, strict=True):
                text = column.form(column.value(pair))
                accuracy = pair.evaluation.accuracy if pair.evaluation else None
                shown = forms.mean_std(accuracy) if column.head == "Int ACC" else text
                cells.append(Cell(shown, text == leader))
            if with_paper:
                cells += map(Cell, _printed(rank, a1, a2))
            rows.append(Row(tuple(cells), opens=under_both_tasks and i == 0))
    order = (
        "A2 in the order of its similarity to A1" if under_both_tasks else "the least similar first"
    )
    caption = (
        f"Pairs of proxy tasks, accuracies in %, {order}; "
        f"Int ACC: {spread(results)}; {test_set(results)}"
    )
    return Table(caption, tuple(heads), tuple(rows), names=2)


def _printed(rank: int, a1: str, a2: str) -> list[str]:
    """Similarity, accuracy and average gain of a pair in the paper."""
    row = paper.pair(rank, (a1, a2), under=a1)
    if row is None:
        return [forms.DASH] * 3
    accuracy, avg_gain = forms.printed(row.accuracy), forms.printed(row.avg_gain, signed=True)
    return [forms.similar(row.similarity), accuracy, avg_gain]


def correlation_lines(results: Results) -> list[str]:
    """The correlations of similarity and complement with each gain, and what p is, as sentences."""
    measures = {"Similarity": results.correlation, "Complement": results.complement_correlation}
    lines = []
    for measure, found in measures.items():
        for key, words in GAINS.items():
            if key in found:
                of = found[key]
                spearman = _coefficient("Spearman", of.spearman, of.spearman_p)
                pearson = _coefficient("Pearson", of.pearson, of.pearson_p)
                start = f"{measure} against {words} over {len(results.pairs)} pairs"
                printed = _paper(results, key) if measure == "Similarity" else ""
                lines.append(f"{start}: {spearman}, {pearson}{printed}.")
    every = [of for found in measures.values() for of in found.values()]
    if any(of.spearman_p is not None for of in every):
        lines.append(
            "p: permutation test over the tasks (Mantel), since pairs that share a task are not "
            "independent."
        )
    return lines


def _coefficient(name: str, value: float | None, p: float | None) -> str:
    size = "" if p is None else " (p < 0.001)" if p < 0.001 else f" (p = {p:.2g})"
    return f"{name} {'undefined' if value is None else forms.coefficient(value)}{size}"


def _paper(results: Results, key: str) -> str:
    """The correlations in the paper's Table 1, if it has pairs of the run."""
    rank = len(results.space)
    if not any(paper.pair(rank, pair.members) in paper.TABLE_1 for pair in results.pairs):
        return ""
    values = ", ".join(forms.coefficient(value) for value in paper.CORRELATION[key].values())
    return f"; from the paper's Table 1 ({paper.DATA[rank]}): {values}"


def pairs_headline(results: Results) -> str:
    """The outcome in one sentence: the correlation, unless the pairs are too few for one."""
    number = len(results.pairs)
    of = results.correlation.get("avg_gain", Correlation())
    outcome = _coefficient("Spearman", of.spearman, None)
    if number < FEW:
        outcome = "too few for a correlation"
    elif of.spearman_p is not None and of.spearman_p > CHANCE:
        outcome = "no relation beyond chance"
    return f"Similarity against gain over {number} pair{'s' * (number != 1)}: {outcome}"
