"""The first section: every network on the test set, as a chart with the path of the search."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Estimate, Results
from assl_jax.report import forms
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.columns import Column, measured, tabulate
from assl_jax.report.evaluations import (
    Tested,
    deciding_metric,
    further,
    kept,
    named_metric,
    overview,
    score,
    shown_metric,
    spread,
    test_set,
    title_of,
)
from assl_jax.report.names import SCRATCH, START, Label
from assl_jax.report.outcome import outcome_lines
from assl_jax.report.pairs import by_similarity
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Axes, Canvas, canvas, known, legend, name_rows, percent_axis, svg
from assl_jax.sections import Figure, Part, Shown, Table, Text
from assl_jax.words import say


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The chart and the table of the networks, and how sure the gain over scratch is."""
    results = run.results
    table, metric = headline_table(results), named_metric(results) or say("accuracies")
    if table:
        values = "; ".join(f"{row.cells[0].text} {row.cells[1].text}" for row in table.rows)
        draw = partial(accuracy_chart, results)
        yield Figure(draw, say("overview.alt", metric=metric, values=values))
    yield table
    yield Text(tuple(outcome_lines(results)), shown=Shown.EVERYWHERE)


def headline_table(results: Results) -> Table | None:
    """No pretraining, every single task, what the rounds trained, the kept; None without a test.

    The columns are the test accuracy, the value that the selection looks at, the gain over scratch,
    and the cost if it is known. If the search decides on another metric, that one replaces the
    accuracy. The best single task and the best row overall are bold.
    """
    entries, metric = overview(results), named_metric(results)
    base = score(results, results.scratch)

    def gain(entry: Tested) -> str:
        value = score(results, entry.evaluation)
        if entry.label == SCRATCH or not (base and value):
            return forms.DASH
        return forms.gain(value.mean - base.mean)

    head = say("overview.head.test", metric=metric or say("accuracy"))
    columns = [
        Column(say("head.pretraining"), lambda entry: title_of(results, entry.label)),
        measured(head, shown_metric(results), lambda entry: score(results, entry.evaluation)),
    ]
    if results.select_on == "cv" and any(entry.evaluation.selection for entry in entries):
        title, unit = deciding_metric(results), " (%)" if METRICS[results.metric].share else ""
        key = "overview.head.selected_by" if title else "overview.head.selected"
        head = say(key, metric=title) + unit
        columns.append(measured(head, results.metric, lambda entry: entry.evaluation.selection))
    columns.append(Column(say("overview.head.gain"), gain))
    costs = {
        Label.of(network.network): f"{network.flops / 1e12:,.1f}"
        for network in results.networks
        if network.flops is not None
    }
    if costs:
        columns.append(Column(say("overview.head.cost"), lambda e: costs.get(e.label, forms.DASH)))
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


class Trained(NamedTuple):
    """A row of the chart of accuracies: a network and its deciding metric on the test set."""

    label: Label
    estimate: Estimate
    verdict: str  # of the search: "accepted", "stopped" or ""


def trained_pools(results: Results) -> list[Trained]:
    """Everything for which the metric was measured, in the order of the chart."""
    verdicts = dict.fromkeys((end for _, end in legs(results)), "stopped")
    verdicts |= dict.fromkeys(_accepted(results), "accepted")
    extensions = [
        extension
        for group in (*(step.candidates for step in results.iterations), results.pairs)
        for extension in sorted(group, key=by_similarity)
    ]
    first = [SCRATCH, START, *map(Label.trained, results.singles)]
    first += [Label.trained(*extension.members) for extension in extensions]
    tested = dict(overview(results))
    for extension in extensions:
        if extension.evaluation:
            tested.setdefault(Label.trained(*extension.members), extension.evaluation)
    labels = dict.fromkeys((*first, *tested))
    rows = [(each, score(results, tested.get(each)), verdicts.get(each, "")) for each in labels]
    return [Trained(label, value, verdict) for label, value, verdict in rows if value]


@svg
def accuracy_chart(results: Results) -> Canvas | None:
    """Test accuracies with standard deviations and single runs, and the path of the search.

    Circles are single tasks. Diamonds are pools in the colour of the task that they add, hollow
    unless they were accepted. Pairs are in the order of their similarity. The small dots below are
    the repeated fine-tunings. If the search decides on another metric, that one is drawn, without
    the single runs.
    """
    rows = trained_pools(results)
    if not rows:
        return None
    metric = named_metric(results)
    figure, (ax,) = canvas(8.4, 1.3 + 0.34 * len(rows))
    for y, row in enumerate(rows):
        _draw_network(ax, y, row, runs=not metric)
    places = {row.label: (100 * row.estimate.mean, y) for y, row in enumerate(rows)}
    path = [leg for leg in legs(results) if {*leg} <= {*places}]
    verdicts = {row.label: row.verdict for row in rows}
    for start, end in path:
        ends = zip(places[start], places[end], strict=True)
        line = "-" if verdicts[end] == "accepted" else ":"
        ax.plot(*ends, line, color=INK, linewidth=1.3, zorder=3)
    if scratch := score(results, results.scratch):
        ax.axvline(100 * scratch.mean, color=GREY, linestyle="--", linewidth=1)
    name_rows(ax, [row.label.title for row in rows])
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.verdict == "accepted" else "normal")
    units = test_set(results)
    percent_axis(ax, say("overview.axis", metric=metric or say("accuracy"), test_set=units))
    if path:
        of = "rounds" if results.search else "pools"
        dot = {"color": GREY, "linestyle": "none", "marker": "D"}
        keys: dict[str, dict[str, Any]] = {
            say("legend.path"): {"color": INK},
            say("legend.stopped"): {"color": INK, "linestyle": ":"},
            say(f"legend.accepted.{of}"): dot,
            say(f"legend.other.{of}"): dot | {"mfc": PAPER},
        }
        legend(figure, keys)
    return figure


def legs(results: Results) -> list[tuple[Label, Label]]:
    """Each network of a search, and what was tried next from it."""
    steps = [
        (Label.trained(*step.pool), Label.trained(*step.pool, step.chosen))
        for step in results.iterations
    ]
    rounds = further(results.search) if results.search else []
    return steps + [(Label.of(start), Label.of(end)) for start, end in rounds]


def _accepted(results: Results) -> Iterator[Label]:
    """The networks from which a search went on, and the one that is kept."""
    for step in results.iterations:
        yield Label.trained(*step.pool)
    for each in results.search.rounds if results.search else ():
        yield Label.of(each.start)
    if label := kept(results):
        yield label


def _draw_network(ax: Axes, y: int, row: Trained, *, runs: bool) -> None:
    """A dot with its deviation, and the repeated fine-tunings below it."""
    tint, estimate, extended = row.label.colour, row.estimate, len(row.label.pool) > 1
    x, each = 100 * estimate.mean, [100 * run for run in estimate.runs] if runs else []
    below = [y + 0.28] * len(each)
    ax.scatter(each, below, s=9, color=tint, alpha=0.5, linewidths=0, clip_on=False)
    if known(estimate.std):
        ax.errorbar(x, y, xerr=100 * estimate.std, color=tint, capsize=3, linewidth=1)
    fill = PAPER if extended and row.verdict != "accepted" else tint
    look: dict[str, Any] = {"markersize": 7, "color": tint, "markerfacecolor": fill, "zorder": 4}
    ax.plot(x, y, "D" if extended else "o", clip_on=False, **look)
