"""The search: what each round showed, what is kept, and how sure that is."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Results, Round, Search
from assl_jax.report import algorithm1, forms
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.evaluations import named_metric, score, shown_metric, test_set
from assl_jax.report.names import Label, task_title
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Axes, Canvas, canvas, svg
from assl_jax.report.trace import Trace
from assl_jax.sections import Figure, Listing, Part, Shown, Table, Text
from assl_jax.words import say


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The decisions one after the other, the table, and the scores against their compute."""
    results = run.results
    if table := algorithm1.search_table(results):
        yield table
        yield Text((say("pairs.key"),), soft=True)
    yield Listing(tuple(search_trace(results)), ordered=True, shown=Shown.EVERYWHERE)
    if results.search:
        yield rounds_table(results, results.search)
        alt = say("search.chart.alt", rounds=len(results.search.rounds))
        yield Figure(partial(compute_chart, results), alt)


def search_trace(results: Results) -> list[str]:
    """The search, a sentence or two for each step. The last sentence is the regret.

    The numbers are those that the decisions were made on.
    """
    best, search = results.best, results.search
    if best is None or not (results.iterations or results.rungs or search):
        return []
    trace = Trace(results)
    lines = [trace.rung(rung) for rung in results.rungs]
    if results.iterations:
        lines += algorithm1.lines(results, trace)
    if search:
        lines += [_round(trace, *each) for each in enumerate(search.rounds, 1)]
        lines += [_stop(trace, search), _kept(trace, search)]
    return [*lines, *trace.regret(best.evaluation)]


def _round(trace: Trace, number: int, found: Round) -> str:
    """What a round began with, what its networks gained, and what a task added to training on."""
    sentences = [trace.say("round", number=number, network=Label.of(found.start).title)]
    for move in found.moves:
        gain = trace.difference(move.gain, move.error, signed=True)
        if not move.task:
            other = "" if move.start == found.start else Label.of(move.start).title
            sentences.append(trace.say("on.other" if other else "on", network=other, gain=gain))
            continue
        chosen = next(each for each in found.candidates if each.task == move.task)
        sentences += [trace.next(found.criterion, chosen), trace.say("extended", gain=gain)]
        if move.added is not None:
            added = trace.difference(move.added, move.added_error, signed=True)
            better = move.added_error is not None and move.added > move.added_error
            key = "added" if better else "added.nothing"
            sentences.append(trace.say(key, task=task_title(move.task), added=added))
    return " ".join(sentences)


def _stop(trace: Trace, search: Search) -> str:
    """Why no further round was begun, what was spent, and what could be tried next."""
    expected = trace.difference(search.rounds[-1].expected) if search.rounds else ""
    spent, budget = search.spent / 1e12, search.budget / 1e12
    why = trace.say(f"stopped.{search.stopped}", expected=expected)
    return f"{why} {trace.say('spent', spent=spent, budget=budget)}"


def _kept(trace: Trace, search: Search) -> str:
    """The networks that are most probably the best."""
    first, *others = (s for s in search.standings if s.probability >= 0.005)
    probable = ", ".join(
        say("search.probable", network=Label.of(s.network).title, percent=100 * s.probability)
        for s in others
    )
    own = Label.of(first.network).title
    line = trace.say("kept", network=own, percent=100 * first.probability)
    return f"{line} {trace.say('others', networks=probable)}" if others else line


def rounds_table(results: Results, search: Search) -> Table | None:
    """Every network, by its estimate: the score that the search believes, and how sure it is."""
    metric = METRICS[results.metric]
    form = forms.of(metric.share)

    def estimate(standing: Any) -> str:
        return f"{form(standing.estimate)} ± {form(standing.error)}"

    columns = [
        Column(say("head.pretraining"), lambda s: Label.of(s.network).title),
        Column(
            say("search.head.estimate", metric=metric.title),
            lambda s: s.estimate,
            form,
            metric.higher_is_better,
            estimate,
        ),
        Column(
            say("search.head.probability"),
            lambda s: s.probability,
            lambda value: forms.DASH if value is None else f"{100 * value:.0f} %",
        ),
        Column(say("search.head.divisions"), lambda s: str(s.divisions)),
    ]
    return tabulate(
        say("search.caption.standings"),
        columns,
        [search.standings],
        opens=False,
        verdict=lambda s: "chosen" if s is search.standings[0] else "",
        sortable=True,
    )


@svg
def compute_chart(results: Results) -> Canvas | None:
    """Test score and estimate against compute, a line from a network to what goes on from it."""
    search, costs = results.search, {n.network: n.flops for n in results.networks}
    if search is None or any(costs.get(s.network) is None for s in search.standings):
        return None
    shown, metric = shown_metric(results), METRICS[results.metric]
    figure, panels = canvas(8.4, 3.6, 1, 2)
    tested = {s.network: score(results, s.evaluation) for s in search.standings}
    values = (
        {network: 100 * found.mean for network, found in tested.items() if found},
        {s.network: s.estimate * (100 if metric.share else 1) for s in search.standings},
    )
    name = named_metric(results) or say("accuracy")
    titles = (
        say("search.chart.test", metric=name, test_set=test_set(results)),
        say("search.chart.estimate", metric=metric.title),
    )
    better = METRICS[shown].higher_is_better, metric.higher_is_better
    for ax, points, title, higher in zip(panels, values, titles, better, strict=True):
        _points(ax, results, points, {n: (costs[n] or 0) / 1e12 for n in points})
        ax.set_title(title)
        ax.set_xlabel(say("search.chart.compute"))
        if not higher:
            ax.invert_yaxis()
    return figure


def _points(ax: Axes, results: Results, points: dict, costs: dict) -> None:
    """A dot for each network, the kept one ringed, and lines along the rounds."""
    assert results.search
    for found in results.search.rounds:
        for move in found.moves:
            ends = [each for each in (move.start, move.network) if each in points]
            tint = Label.of(move.network).colour
            if len(ends) == 2:
                line = "-" if move.task else "--"
                ax.plot([costs[n] for n in ends], [points[n] for n in ends], line, color=tint)
    for network, value in points.items():
        ax.plot(costs[network], value, "o", color=Label.of(network).colour, zorder=3)
    kept = results.search.standings[0].network
    if kept in points:
        look: dict[str, Any] = {"markersize": 13, "fillstyle": "none", "zorder": 2}
        ax.plot(costs[kept], points[kept], "o", color=Label.of(kept).colour, **look)
        ax.annotate(
            Label.of(kept).title,
            (costs[kept], points[kept]),
            xytext=(0, 10),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
