"""A run's results as tables, as `tables.md` and as the lines that a run prints at its end.

Tables are rows of cells (`report.table`); Markdown, plain text and HTML are made from them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS, Metric
from assl_jax.records import (
    Estimate,
    NetworkRecord,
    Results,
    Similarity,
    StageRecord,
)
from assl_jax.report import forms
from assl_jax.report.evaluations import (
    Tested,
    decided_on,
    deciding_metric,
    kept,
    named_metric,
    overview,
    score,
    shown_metric,
    spread,
    test_set,
    title_of,
)
from assl_jax.report.metrics_table import metric_lines, metrics_table
from assl_jax.report.names import (
    SCRATCH_LABEL,
    STAGES,
    Label,
    capitalised,
    label_title,
    pool_title,
    task_title,
)
from assl_jax.report.pairs import (
    Column,
    by_similarity,
    correlation_lines,
    extension_columns,
    pairs_table,
)
from assl_jax.report.self_assl import guard_table, self_assl_lines, self_assl_table
from assl_jax.report.sentences import headline, outcome_lines, search_trace, warnings
from assl_jax.report.table import Cell, Row, Table, markdown, plain, text_lines

TABLES = "tables.md"


def headline_table(results: Results) -> Table | None:
    """No pretraining, every single task, the accepted pool, its control; None without a test.

    The columns are the test accuracy, the value that the selection looks at, the gain over scratch,
    and the cost if it is known. If the search decides on another metric, that one replaces the
    accuracy. The best single task and the best row overall are bold.
    """
    entries, metric = overview(results), named_metric(results)
    if not entries:
        return None
    columns: dict[str, list[Estimate | None]] = {
        f"Test {metric or 'accuracy'} (%)": [score(results, e.evaluation) for e in entries]
    }
    selected = [entry.evaluation.selection for entry in entries]
    tested = METRICS[shown_metric(results)]
    shown = [_estimates(entries, estimates, tested) for estimates in columns.values()]
    if results.select_on == "cv" and any(selected):
        title = deciding_metric(results)
        unit = " (%)" if METRICS[results.metric].share else ""
        columns[f"Selection by {title}, CV{unit}" if title else "Selection, CV (%)"] = selected
        shown.append(_estimates(entries, selected, METRICS[results.metric]))
    base = score(results, results.scratch)
    costs = {
        Label("", n.pool, "plain" if n.variant == SCRATCH_LABEL else n.variant): n
        for n in results.networks
        if n.flops is not None
    }
    paid = ("Pretraining (TFLOP)",) if costs else ()
    rows = []
    for (label, evaluation), *cells in zip(entries, *shown, strict=True):
        value = score(results, evaluation)
        gain = value.mean - base.mean if label != Label("", ()) and base and value else None
        cost = [Cell(_cost(costs.get(label)))] if costs else []
        texts = Cell(title_of(results, label)), *cells, Cell(forms.gain(gain)), *cost
        rows.append(Row(texts, verdict="chosen" if label == kept(results) else ""))
    caption = f"Fine-tuning with {results.labels:,} labels: {spread(results)}; {test_set(results)}"
    if costs:
        caption += ". The cost is that of the pretraining and of the networks that it builds on"
    return Table(caption, ("Pretraining", *columns, "Gain over scratch", *paid), tuple(rows))


def _cost(network: NetworkRecord | None) -> str:
    """Floating-point operations; a dash where nothing was trained or known."""
    if network is None or network.flops is None:
        return forms.DASH
    return f"{network.flops / 1e12:,.1f}"


def _estimates(
    entries: Sequence[Tested], estimates: Sequence[Estimate | None], metric: Metric
) -> list[Cell]:
    """A column of estimates; the best single task and the best of all are bold."""
    means = [estimate.mean if estimate else None for estimate in estimates]
    pairs = zip(entries, means, strict=True)
    singles = [m for entry, m in pairs if entry.label.single]
    form = forms.of(metric.share)
    best = [
        forms.winner(group, form, higher_is_better=metric.higher_is_better)
        for group in (singles, means)
    ]
    return [
        Cell(forms.mean_std(estimate, form=form), form(mean) in best)
        for estimate, mean in zip(estimates, means, strict=True)
    ]


DECISIONS = {"start": "starts the pool"}  # words for a verdict that is none by itself
_KINDS = {"cv": "CV", "test": "test"}  # short words for `Results.select_on`


def search_table(results: Results) -> Table | None:
    """The search in the layout of the paper's Table 2; None if nothing was searched.

    Candidates are in the order of their similarity to the pool. One that was not trained has
    dashes. The value used for selection has a separate column, unless it is the test accuracy.
    """
    if not results.iterations:
        return None
    metric = deciding_metric(results)
    candidates = [c for step in results.iterations for c in step.candidates]
    columns = extension_columns("MT-ASSL ACC", candidates)
    decided = f"{capitalised(metric or 'selection')} ({_KINDS[results.select_on]})"
    if results.select_on == "cv" or metric:
        columns.append(
            Column(
                decided,
                lambda extension: decided_on(results, extension.evaluation),
                forms.of(METRICS[results.metric].share),
                METRICS[results.metric].higher_is_better,
            )
        )
    start = results.iterations[0].pool
    group: list[_Entry] = []
    for task, single in results.singles.items():
        values = {"MT-ASSL ACC": single.accuracy.mean, decided: decided_on(results, single)}
        verdict = "start" if (task,) == start else ""
        group.append(_Entry(task_title(task), forms.DASH, values, verdict))
    rows = _group(1, columns, group)
    for number, step in enumerate(results.iterations, start=2):
        group = []
        for candidate in sorted(step.candidates, key=by_similarity):
            a1 = "" if group else pool_title(step.pool)
            values = {column.head: column.value(candidate) for column in columns}
            verdict = "accepted" if step.accepted else "stopped"
            verdict = verdict if candidate.task == step.chosen else ""
            group.append(_Entry(a1, task_title(candidate.task), values, verdict))
        rows += _group(number, columns, group)
    caption = "MT-ASSL search: accuracies in %, candidates in the order of their similarity to A1; "
    caption += test_set(results)
    caption += f"; decided by {metric}" if metric else ""
    heads = ("Iter.", "A1", "A2", *(column.head for column in columns), "Decision")
    return Table(caption, heads, tuple(rows), names=3)


class _Entry(NamedTuple):
    """A row of the search, its values by the heads of their columns."""

    a1: str
    a2: str
    values: dict[str, float | None]
    verdict: str


def _group(number: int, columns: list[Column], entries: list[_Entry]) -> list[Row]:
    """The rows of one iteration."""
    shown: list[list[Cell]] = []
    for column in columns:
        values = [entry.values.get(column.head) for entry in entries]
        best = forms.winner(values, column.form, higher_is_better=column.higher_is_better)
        texts = [
            column.form(e.values[column.head]) if column.head in e.values else "" for e in entries
        ]
        shown.append([Cell(text, bool(text) and text == best) for text in texts])
    return [
        Row(
            (
                *map(Cell, (str(number) if i == 0 else "", entry.a1, entry.a2)),
                *(cells[i] for cells in shown),
                Cell(DECISIONS.get(entry.verdict, entry.verdict)),
            ),
            opens=i == 0,
            verdict=entry.verdict,
        )
        for i, entry in enumerate(entries)
    ]


def similarity_table(similarity: Similarity | None) -> Table | None:
    """The matrix of similarities between the candidates' features, or None."""
    if similarity is None:
        return None
    titles = [task_title(task) for task in similarity.tasks]
    rows = tuple(
        Row((Cell(title), *(Cell(forms.similar(v)) for v in values)))
        for title, values in zip(titles, similarity.matrix, strict=True)
    )
    caption = (
        f"Similarity between features ({similarity.estimator} estimator, "
        f"layer {similarity.layer}, {similarity.n:,} images)"
    )
    return Table(caption, ("", *titles), rows)


GIB = 2**30
# Column head, field of `StageRecord`, divisor, number format.
STAGE_COLUMNS = (
    ("Time (s)", "seconds", 1, ",.1f"),
    ("Images/s", "images_per_s", 1, ",.0f"),
    ("Peak host memory (GiB)", "peak_host_bytes", GIB, ".2f"),
    ("Peak device memory (GiB)", "peak_device_bytes", GIB, ".2f"),
)


def stages_table(stages: Sequence[StageRecord]) -> Table | None:
    """Time, throughput and peak memory of each stage, in the order they ran; None without stages.

    A value that was not measured is a dash. A quantity that no stage has, such as device memory on
    a CPU, has no column.
    """
    columns = [c for c in STAGE_COLUMNS if any(getattr(s, c[1]) is not None for s in stages)]
    if not columns:
        return None
    rows = []
    for stage in stages:
        cells = [Cell(label_title(stage.label)), Cell(STAGES[stage.kind])]
        for _, field, unit, form in columns:
            value = getattr(stage, field)
            cells.append(Cell(forms.DASH if value is None else format(value / unit, form)))
        rows.append(Row(tuple(cells)))
    caption = "Stages; the memory is that of the whole process while a stage ran"
    return Table(caption, ("Network", "Stage", *(c[0] for c in columns)), tuple(rows), names=2)


def render_markdown(results: Results) -> str:
    """The whole of `tables.md`."""
    tables = [
        headline_table(results),
        metrics_table(results),
        search_table(results),
        pairs_table(results),
        self_assl_table(results),
        guard_table(results),
        similarity_table(results.similarity),
    ]
    steps = [f"{i}. {plain(step)}\n" for i, step in enumerate(search_trace(results), start=1)]
    parts = [f"# {plain(headline(results))}\n"]
    parts += [f"> **{warning}**\n" for warning in warnings(results)]
    for lines in (outcome_lines(results), correlation_lines(results), self_assl_lines(results)):
        parts += ["\n".join(map(plain, lines)) + "\n"] if lines else []
    parts += [markdown(table) for table in tables if table]
    parts += ["".join(steps)] if steps else []
    return "\n".join(parts)


def summary_lines(results: Results) -> list[str]:
    """What a run prints at its end: the outcome, aligned tables and the search in words.

    Intervals are printed for small test sets and for metrics other than the accuracy.
    """
    tables = [
        headline_table(results),
        pairs_table(results, under_both_tasks=False),
        self_assl_table(results),
        guard_table(results),
    ]
    parts = [text_lines(table) for table in tables if table]
    parts += [outcome_lines(results), correlation_lines(results), self_assl_lines(results)]
    parts += [metric_lines(results), search_trace(results)]
    lines = [headline(results), *warnings(results)]
    for part in parts:
        lines += ["", *part] if part else []
    return lines
