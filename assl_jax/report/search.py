"""The search: its steps, what it believes of each network, and the scores against compute."""

import math
from collections.abc import Iterator, Mapping, Sequence
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

DOTS = 18  # that a panel of the chart has room for, beside and above one another
LINES: dict[str, dict[str, Any]] = {  # of the chart, by the keys of their words
    "search.chart.task": {"linestyle": "-"},
    "search.chart.continued": {"linestyle": "--"},
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
    # The terminal has room for the search in short alone.
    shown = Shown.FILES if results.search else Shown.EVERYWHERE
    yield Listing(tuple(search_trace(results)), ordered=True, shown=shown)
    if results.search:
        yield rounds_table(results, results.search)
        alt = say("search.chart.alt", n=len(results.search.rounds))
        note = say("search.chart.note")
        yield Figure(partial(compute_chart, results), alt, notes=(note,))


def search_trace(results: Results) -> list[str]:
    """The search, a sentence or two for each step. Without rounds, the last one is the regret.

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
        return lines + [_round(trace, *each) for each in enumerate(search.rounds, 1)]
    return [*lines, *trace.regret(best.evaluation)]


def _round(trace: Trace, number: int, found: Round) -> str:
    """What a round began with, and what its networks gained."""
    start = Label.of(found.start).title
    sentences = [trace.say("round", number=number, network=start)]
    own = [move for move in found.moves if move.start == found.start]
    if any(move.task for move in own):
        sentences.append(trace.next(found.criterion, found.candidates[0]))
    for move in own:
        key, gain = "extended" if move.task else "continued", trace.gain(move.gain, move.error)
        sentences.append(trace.say(key, task=task_title(move.task), gain=gain))
    for move in found.moves:
        if move not in own:
            gain, rival = trace.gain(move.gain, move.error), Label.of(move.start).title
            sentences.append(trace.say("rival", network=rival, gain=gain, start=start))
    return " ".join(sentences)


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
        spots = apart({network: (costs[network], y) for network, y in panel.values.items()})
        for start, end, kind in lines:
            if start in spots and end in spots:
                both = zip(spots[start], spots[end], strict=True)
                ax.plot(*both, color=Label.of(end).colour, linewidth=1.3, **LINES[kind])
        for place, standing in reversed([*enumerate(search.standings, 1)]):
            if standing.network in spots:
                tint = Label.of(standing.network).colour
                _dot(ax, *spots[standing.network], place, tint)
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


def apart(points: Mapping[Network, tuple[float, float]]) -> dict[Network, tuple[float, float]]:
    """The points of a panel; one whose dot would cover an earlier one goes to its right."""
    spans = [max(axis) - min(axis) for axis in zip(*points.values(), strict=True)]
    wide, high = ((span or 1.0) / DOTS for span in spans or (0.0, 0.0))
    placed: dict[Network, tuple[float, float]] = {}
    for network, (x, y) in points.items():
        while any(math.hypot((x - a) / wide, (y - b) / high) < 0.999 for a, b in placed.values()):
            x += wide
        placed[network] = x, y
    return placed


def _kind(start: Network, end: Network) -> str:
    """How a network came from another one, a key of `LINES`."""
    if end.objective == "student":
        return "search.chart.taught"
    return "search.chart.continued" if {*end.members} == {*start.members} else "search.chart.task"


def _dot(ax: Axes, x: float, y: float, place: int, tint: str) -> None:
    """A network with its place in the table; the first one is kept."""
    look: dict[str, Any] = {"markersize": 11, "markerfacecolor": PAPER, "zorder": 3}
    ax.plot(x, y, "o", color=tint, markeredgewidth=2.6 if place == 1 else 1.2, **look)
    ax.text(x, y, str(place), ha="center", va="center", color=INK, fontsize=7, zorder=3)
