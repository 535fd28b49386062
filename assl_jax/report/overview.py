"""The first section: every network on the test set, and what the kept one gains."""

from functools import partial

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import NetworkRecord, Results
from assl_jax.report import accuracy_chart, forms
from assl_jax.report.columns import Column, estimated, tabulate
from assl_jax.report.evaluations import (
    Tested,
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
from assl_jax.report.names import SCRATCH, Label, capitalised
from assl_jax.report.outcome import outcome_lines
from assl_jax.report.record import RunRecord
from assl_jax.report.words import say
from assl_jax.sections import Figure, Section, Shown, Table, Text


def section(run: RunRecord) -> Section:
    """The chart, the gain and the table of the networks."""
    results = run.results
    table, metric = headline_table(results), named_metric(results)
    values = "; ".join(f"{r.cells[0].text} {r.cells[1].text}" for r in table.rows) if table else ""
    alt = say("overview.alt", metric=metric or say("accuracies"), values=values)
    return Section.of(
        capitalised(metric or say("accuracy")),
        Figure(partial(accuracy_chart.accuracy_chart, results), alt),
        table,
        Text(tuple(outcome_lines(results)), shown=Shown.EVERYWHERE),
    )


def headline_table(results: Results) -> Table | None:
    """No pretraining, every single task, the accepted pool, its control; None without a test.

    The columns are the test accuracy, the value that the selection looks at, the gain over scratch,
    and the cost if it is known. If the search decides on another metric, that one replaces the
    accuracy. The best single task and the best row overall are bold.
    """
    entries, metric = overview(results), named_metric(results)
    base = score(results, results.scratch)

    def gain(entry: Tested) -> str:
        value = score(results, entry.evaluation)
        known = entry.label != SCRATCH and base and value
        return forms.gain(value.mean - base.mean if known and value and base else None)

    tested, decided = METRICS[shown_metric(results)], METRICS[results.metric]
    columns = [
        Column(say("head.pretraining"), lambda entry: title_of(results, entry.label)),
        estimated(
            say("overview.head.test", metric=metric or say("accuracy")),
            lambda entry: score(results, entry.evaluation),
            forms.of(tested.share),
            higher_is_better=tested.higher_is_better,
        ),
    ]
    if results.select_on == "cv" and any(entry.evaluation.selection for entry in entries):
        title = deciding_metric(results)
        head = say("overview.head.selected_by", metric=title) if title else ""
        columns.append(
            estimated(
                (head or say("overview.head.selected")) + (" (%)" if decided.share else ""),
                lambda entry: entry.evaluation.selection,
                forms.of(decided.share),
                higher_is_better=decided.higher_is_better,
            )
        )
    columns.append(Column(say("overview.head.gain"), gain))
    costs = {Label.of(n): n for n in results.networks if n.flops is not None}
    if costs:
        columns.append(Column(say("overview.head.cost"), lambda e: _cost(costs.get(e.label))))
    words = {"labels": results.labels, "spread": spread(results), "test_set": test_set(results)}
    return tabulate(
        say("overview.caption.cost" if costs else "overview.caption", **words),
        columns,
        [entries],
        opens=False,
        verdict=lambda entry: "chosen" if entry.label == kept(results) else "",
        rivals=lambda every: (every, [entry for entry in every if entry.label.single]),
        sortable=True,
        shown=Shown.EVERYWHERE & ~Shown.COMPARISON,
    )


def _cost(network: NetworkRecord | None) -> str:
    """Floating-point operations; a dash where nothing was trained or known."""
    if network is None or network.flops is None:
        return forms.DASH
    return f"{network.flops / 1e12:,.1f}"
