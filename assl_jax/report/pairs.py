"""Every pair of proxy tasks: Table 1, and whether dissimilarity goes with gain."""

from collections.abc import Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from assl_jax.records import Correlation, Extension, Results
from assl_jax.report import forms, pairs_chart, paper
from assl_jax.report.columns import Column, measured, printed, tabulate
from assl_jax.report.evaluations import spread, test_set
from assl_jax.report.names import task_title
from assl_jax.report.record import RunRecord
from assl_jax.sections import Figure, Folded, Part, Shown, Table, Text
from assl_jax.words import say

CHANCE = 0.05  # a larger p-value may be chance
by_similarity = attrgetter("similarity")  # the order of extensions, the least similar first


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The chart, the correlations and Table 1, next to the paper's where it has the pairs."""
    results = run.results
    table, beside = pairs_table(results), pairs_table(results, with_paper=True)
    once, lines = pairs_table(results, under_both_tasks=False), correlation_lines(results)
    if table and once:
        draw = partial(pairs_chart.pairs_chart, results)
        yield Figure(draw, say("pairs.alt", lines=" ".join(lines)))
        yield once.at(Shown.TERMINAL)
        yield Text(tuple(lines), shown=Shown.EVERYWHERE)
        yield from beside_paper(table, beside, Text((say("pairs.key"),), soft=True))


def beside_paper(
    table: Table | None, beside: Table | None, between: Part | None
) -> Iterator[Part | None]:
    """A table, and the same with the paper's values: folded, and in its place in a comparison."""
    yield table.at(table.shown & ~Shown.COMPARISON) if table and beside else table
    yield beside and beside.at(Shown.COMPARISON)
    yield between
    yield beside and Folded((beside.at(Shown.PAGE),), say("paper.folded"))


def extension_columns(extensions: Iterable[Extension], accuracy: Column) -> list[Column]:
    """The columns of Tables 1 to 3, and the complement if one of the `extensions` has one.

    A row whose attribute `extension` is None has empty cells. `accuracy` is the column after
    training on all tasks.
    """

    def column(field: str, form: forms.Form = forms.percent, *, higher: bool = True) -> Column:
        def value(row: Any) -> float | str | None:
            return getattr(row.extension, field) if row.extension else ""

        return Column(say(f"head.{field}"), value, form, higher)

    known = any(extension.complement is not None for extension in extensions)
    return [
        column("similarity", forms.similar, higher=False),
        *([column("complement", forms.plain)] if known else []),
        column("avg"),
        column("max"),
        accuracy,
        column("avg_gain", forms.gain),
        column("max_gain", forms.gain),
    ]


class Partner(NamedTuple):
    """A row of Table 1: a pair as seen from one of its tasks."""

    a1: str
    a2: str
    extension: Extension


def by_task(pairs: tuple[Extension, ...]) -> list[list[Partner]]:
    """For each task its pairs, the least similar first: each pair is there twice."""
    return [
        [
            Partner(task, next(other for other in pair.members if other != task), pair)
            for pair in sorted(pairs, key=by_similarity)
            if task in pair.members
        ]
        for task in dict.fromkeys(task for pair in pairs for task in pair.members)
    ]


def pairs_table(
    results: Results, *, under_both_tasks: bool = True, with_paper: bool = False
) -> Table | None:
    """The pairs in the layout of the paper's Table 1, or None without pairs.

    Each pair stands under both of its tasks, as in the paper; otherwise once, the least similar
    first. The paper's values may follow; the table is None if the paper has none of the pairs.
    """
    pairs, rank = results.pairs, len(results.space)
    if with_paper and not any(paper.pair(rank, pair.members) for pair in pairs):
        return None
    groups, order = by_task(pairs), "both"
    if not under_both_tasks:
        least_first = sorted(pairs, key=by_similarity)
        groups, order = [[Partner(p.pool[0], p.task, p) for p in least_first]], "once"
    accuracy = measured(
        say("pairs.head.accuracy"),
        "accuracy",
        lambda row: row.extension.evaluation.accuracy if row.extension.evaluation else None,
    )
    columns = [
        Column(say("head.a1"), lambda row: task_title(row.a1), once=under_both_tasks),
        Column(say("head.a2"), lambda row: task_title(row.a2)),
        *extension_columns(pairs, accuracy),
    ]
    if with_paper:
        columns += printed(
            paper.DATA[rank],
            lambda row: paper.pair(rank, (row.a1, row.a2), under=row.a1),
            {
                "head.similarity": ("similarity", forms.similar),
                "pairs.head.accuracy": ("accuracy", forms.printed),
                "head.avg_gain": ("avg_gain", forms.printed_gain),
            },
        )
    caption = say(f"pairs.caption.{order}", spread=spread(results), test_set=test_set(results))
    return tabulate(caption, columns, groups, names=2, opens=under_both_tasks)


def correlation_lines(results: Results) -> list[str]:
    """The correlations of similarity and complement with each gain, and what p is, as sentences."""
    measures = {"similarity": results.correlation, "complement": results.complement_correlation}
    lines = []
    for measure, found in measures.items():
        for key in (key for key in pairs_chart.GAINS if key in found):
            of, words = found[key], {"gain": say(f"gain.{key}"), "paper": _paper(results, key)}
            spearman = _coefficient("Spearman", of.spearman, of.spearman_p)
            pearson = _coefficient("Pearson", of.pearson, of.pearson_p)
            words["coefficients"] = f"{spearman}, {pearson}"
            lines.append(say(f"correlation.{measure}", number=len(results.pairs), **words))
    every = [of for found in measures.values() for of in found.values()]
    if any(of.spearman_p is not None for of in every):
        lines.append(say("correlation.p"))
    return lines


def _coefficient(name: str, value: float | None, p: float | None = None) -> str:
    size = "" if p is None else " (p < 0.001)" if p < 0.001 else f" (p = {p:.2g})"
    return f"{name} {say('undefined') if value is None else forms.coefficient(value)}{size}"


def _paper(results: Results, key: str) -> str:
    """The correlations in the paper's Table 1, if it has pairs of the run."""
    rank = len(results.space)
    if not any(paper.pair(rank, pair.members) in paper.TABLE_1 for pair in results.pairs):
        return ""
    values = ", ".join(forms.coefficient(value) for value in paper.CORRELATION[key].values())
    return say("correlation.paper", data=paper.DATA[rank], values=values)


def pairs_headline(results: Results) -> str:
    """The outcome in one sentence: the correlation, unless the pairs are too few for one."""
    of = results.correlation.get("avg_gain", Correlation())
    outcome = "found"
    if len(results.pairs) < pairs_chart.FEW:
        outcome = "few"
    elif of.spearman_p is not None and of.spearman_p > CHANCE:
        outcome = "chance"
    coefficient = _coefficient("Spearman", of.spearman)
    return say(f"headline.pairs.{outcome}", n=len(results.pairs), coefficient=coefficient)
