"""The search: what each round showed, what is kept, and how sure that is."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Network, Results, Round, Search, Standing
from assl_jax.report import algorithm1, forms
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.evaluations import further, score, shown_metric, test_set
from assl_jax.report.names import Label, task_title
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Axes, Canvas, canvas, legend, svg
from assl_jax.report.trace import Trace
from assl_jax.sections import Figure, Listing, Part, Shown, Table, Text
from assl_jax.words import say

POSSIBLE = 0.05  # the least probability of being best that a sentence names
LINES: dict[str, dict[str, Any]] = {  # of the chart, by the keys of their words
    "search.chart.task": {"linestyle": "-"},
    "search.chart.on": {"linestyle": "--"},
    "search.chart.taught": {"linestyle": ":"},
}


class Panel(NamedTuple):
    """A panel of the chart: what is drawn, and the values of the networks."""

    title: str
    values: dict[Network, float]
    higher_is_better: bool


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The decisions one after the other, the table, and the scores against their compute."""
    results = run.results
    if table := algorithm1.search_table(results):
        yield table
        yield Text((say("pairs.key"),), soft=True)
    yield Listing(tuple(search_trace(results)), ordered=True, shown=Shown.EVERYWHERE)
    if results.search:
        yield rounds_table(results, results.search)
        alt = say("search.chart.alt", n=len(results.search.rounds))
        note = say("search.chart.note")
        yield Figure(partial(compute_chart, results), alt, notes=(note,))


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
        lines += [_round(trace, number, found) for number, found in enumerate(search.rounds, 1)]
        lines += [_stop(trace, search), _kept(trace, search)]
    return [*lines, *trace.regret(best.evaluation)]


def _round(trace: Trace, number: int, found: Round) -> str:
    """What a round began with, what its networks gained, and what a task added to training on."""
    start = Label.of(found.start).title
    sentences = [trace.say("round", number=number, network=start)]
    own = [move for move in found.moves if move.start == found.start]
    added = [move for move in own if move.task]
    if added:
        sentences.append(trace.next(found.criterion, found.candidates[0]))
    for move in own:
        key, gain = "extended" if move.task else "on", trace.gain(move.gain, move.error)
        sentences.append(trace.say(key, task=task_title(move.task), gain=gain))
    for move in added:
        more, error = move.added or 0.0, move.added_error or 0.0
        key = "added" if more > error else "added.nothing"
        difference = trace.difference(more, error)
        sentences.append(trace.say(key, task=task_title(move.task), added=difference))
    for move in found.moves:
        if move not in own:
            gain, rival = trace.gain(move.gain, move.error), Label.of(move.start).title
            sentences.append(trace.say("rival", network=rival, gain=gain, start=start))
    return " ".join(sentences)


def _stop(trace: Trace, search: Search) -> str:
    """Why no further round was begun, and what was spent."""
    expected = trace.difference(search.rounds[-1].expected) if search.rounds else ""
    spent, budget = (forms.amount(flops / 1e12) for flops in (search.spent, search.budget))
    why = trace.say(f"stopped.{search.stopped}", expected=expected)
    return f"{why} {trace.say('spent', spent=spent, budget=budget)}"


def _kept(trace: Trace, search: Search) -> str:
    """The network that is kept, and others that may be the best, the most probable one first."""
    first, *others = search.standings
    own = Label.of(first.network).title
    line = trace.say("kept", network=own, percent=100 * first.probability)
    probable = "; ".join(
        say("search.probable", network=Label.of(s.network).title, percent=100 * s.probability)
        for s in sorted(others, key=lambda s: -s.probability)
        if s.probability >= POSSIBLE
    )
    return f"{line} {trace.say('others', networks=probable)}" if probable else line


def rounds_table(results: Results, search: Search) -> Table | None:
    """Every network, by its estimate: the score that the search believes, and how sure it is."""
    trace, metric = Trace(results), METRICS[results.metric]
    form = forms.of(metric.share)
    columns = [
        Column(say("search.head.place"), lambda s: str(search.standings.index(s) + 1)),
        Column(say("head.pretraining"), lambda s: Label.of(s.network).title),
        Column(
            trace.say("head.estimate"),
            lambda s: s.estimate,
            form,
            metric.higher_is_better,
            lambda s: f"{form(s.estimate)} ± {form(s.error)}",
        ),
        Column(
            say("search.head.probability"),
            lambda s: s.probability,
            lambda value: forms.percent(value, digits=0),
            text=lambda s: say("search.percent", percent=100 * s.probability),
        ),
    ]
    if results.select_on == "cv":
        columns.append(Column(say("search.head.divisions"), lambda s: str(s.divisions)))
    return tabulate(
        trace.say("caption.standings", metric=trace.title),
        columns,
        [search.standings],
        opens=False,
        names=2,
        verdict=lambda s: "chosen" if s is search.standings[0] else "",
        sortable=True,
    )


@svg
def compute_chart(results: Results) -> Canvas | None:
    """Test score and estimate against compute, a line from a network to what goes on from it.

    The numbers are the places in the table. Networks without pretraining would only stretch the
    axes, and are left out. None if the compute of a network is not known.
    """
    search, known = results.search, {n.network: n.flops for n in results.networks}
    costs = {n: flops / 1e12 for n, flops in known.items() if flops is not None}
    if search is None or any(s.network not in costs for s in search.standings):
        return None
    figure, panels = canvas(8.4, 5.0, 1, 2)
    lines = [(*ends, _kind(*ends)) for ends in further(search)]
    for ax, panel in zip(panels, _panels(results, search.standings), strict=True):
        for start, end, kind in lines:
            if start in panel.values and end in panel.values:
                both = [costs[n] for n in (start, end)], [panel.values[n] for n in (start, end)]
                ax.plot(*both, color=Label.of(end).colour, linewidth=1.3, **LINES[kind])
        for place, standing in reversed([*enumerate(search.standings, 1)]):
            if (value := panel.values.get(standing.network)) is not None:
                _dot(ax, costs[standing.network], value, place, Label.of(standing.network).colour)
        ax.margins(0.08)
        ax.set_title(panel.title)
        ax.set_xlabel(say("search.chart.compute"))
        if not panel.higher_is_better:
            ax.invert_yaxis()
    drawn = {kind for *_, kind in lines}
    legend(figure, {say(key): {"color": GREY} | LINES[key] for key in LINES if key in drawn})
    return figure


def _panels(results: Results, standings: Sequence[Standing]) -> list[Panel]:
    shown, decided = METRICS[shown_metric(results)], METRICS[results.metric]
    standings = [s for s in standings if s.network.members]
    tested = {s.network: score(results, s.evaluation) for s in standings}
    unit = say("unit.percent", metric=shown.title)
    return [
        Panel(
            say("search.chart.test", unit=unit, test_set=test_set(results)),
            {network: 100 * found.mean for network, found in tested.items() if found},
            shown.higher_is_better,
        ),
        Panel(
            Trace(results).say("chart.estimate"),
            {s.network: s.estimate * (100 if decided.share else 1) for s in standings},
            decided.higher_is_better,
        ),
    ]


def _kind(start: Network, end: Network) -> str:
    """How a network came from another one, a key of `LINES`."""
    if end.objective == "student":
        return "search.chart.taught"
    return "search.chart.on" if {*end.members} == {*start.members} else "search.chart.task"


def _dot(ax: Axes, x: float, y: float, place: int, tint: str) -> None:
    """A network with its place in the table; the first one is kept."""
    look: dict[str, Any] = {"markersize": 11, "markerfacecolor": PAPER, "zorder": 3}
    ax.plot(x, y, "o", color=tint, markeredgewidth=2.6 if place == 1 else 1.2, **look)
    ax.text(x, y, str(place), ha="center", va="center", color=INK, fontsize=7, zorder=3)
