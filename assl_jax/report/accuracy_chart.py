"""Every tested network as a dot, and the path of the search between them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from assl_jax.records import Estimate, Results
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.evaluations import kept, named_metric, overview, score, test_set
from assl_jax.report.names import SCRATCH, START, Label
from assl_jax.report.pairs import by_similarity
from assl_jax.report.svg import canvas, known, name_rows, percent_axis, svg
from assl_jax.report.words import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Trained(NamedTuple):
    """A row of the chart of accuracies.

    Attributes:
      label: of the network.
      estimate: on the test set, the metric that selection looks at.
      verdict: of the search: "accepted", "stopped", or "" off its path.
    """

    label: Label
    estimate: Estimate
    verdict: str


def trained_pools(results: Results) -> list[Trained]:
    """Everything for which the metric was measured, in the order of the chart."""
    steps, verdicts = results.iterations, {}
    if steps:
        verdicts[Label.trained(*steps[0].pool)] = "accepted"
    for step in steps:
        tried = Label.trained(*step.pool, step.chosen)
        verdicts[tried] = "accepted" if step.accepted else "stopped"
    extensions = [
        extension
        for group in (*(step.candidates for step in steps), results.pairs)
        for extension in sorted(group, key=by_similarity)
    ]
    first = [SCRATCH, START, *map(Label.trained, results.singles)]
    first += [Label.trained(*extension.members) for extension in extensions]
    if (label := kept(results)) and label not in first:  # a run of one pool, or a control
        verdicts[label] = "accepted"
    tested = dict(overview(results))
    for extension in extensions:
        if extension.evaluation:
            tested.setdefault(Label.trained(*extension.members), extension.evaluation)
    labels = dict.fromkeys((*first, *tested))
    rows = [(each, score(results, tested.get(each)), verdicts.get(each, "")) for each in labels]
    return [Trained(label, value, verdict) for label, value, verdict in rows if value]


@svg
def accuracy_chart(results: Results) -> "Figure | None":
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
    figure = canvas(8.4, 1.3 + 0.34 * len(rows))
    ax = figure.subplots()
    for y, row in enumerate(rows):
        _draw_network(ax, y, row, runs=not metric)
    path = [(100 * row.estimate.mean, y, row.verdict) for y, row in enumerate(rows) if row.verdict]
    for (x0, y0), (x1, y1, verdict) in legs(path):
        line = "-" if verdict == "accepted" else ":"
        ax.plot([x0, x1], [y0, y1], line, color=INK, linewidth=1.3, zorder=3)
    if scratch := score(results, results.scratch):
        ax.axvline(100 * scratch.mean, color=GREY, linestyle="--", linewidth=1)
    name_rows(ax, [row.label.title for row in rows])
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.verdict == "accepted" else "normal")
    units = test_set(results)
    percent_axis(ax, say("overview.axis", metric=metric or say("accuracy"), test_set=units))
    if len(path) > 1:
        _path_legend(figure)
    return figure


def _draw_network(ax: "Axes", y: int, row: Trained, *, runs: bool) -> None:
    """A dot with its deviation, and the repeated fine-tunings below it."""
    tint, estimate, extended = row.label.colour, row.estimate, len(row.label.pool) > 1
    x, each = 100 * estimate.mean, [100 * run for run in estimate.runs] if runs else []
    below = [y + 0.28] * len(each)
    ax.scatter(each, below, s=9, color=tint, alpha=0.5, linewidths=0, clip_on=False)
    if known(estimate.std):
        ax.errorbar(x, y, xerr=100 * estimate.std, color=tint, capsize=3, linewidth=1)
    ax.plot(
        x,
        y,
        "D" if extended else "o",
        markersize=7,
        color=tint,
        markerfacecolor=PAPER if extended and row.verdict != "accepted" else tint,
        zorder=4,
        clip_on=False,
    )


def legs(
    path: Sequence[tuple[float, int, str]],
) -> list[tuple[tuple[float, int], tuple[float, int, str]]]:
    """Each network on the path with the accepted one before it."""
    found, accepted = [], path[0][:2] if path else (0.0, 0)
    for x, y, verdict in path[1:]:
        found.append((accepted, (x, y, verdict)))
        accepted = (x, y) if verdict == "accepted" else accepted
    return found


def _path_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"color": GREY, "linestyle": "none", "marker": "D"}
    keys = [
        Line2D([], [], color=INK, label=say("legend.path")),
        Line2D([], [], color=INK, linestyle=":", label=say("legend.stopped")),
        Line2D([], [], **dot, label=say("legend.accepted")),
        Line2D([], [], **dot, mfc=PAPER, label=say("legend.other")),
    ]
    figure.legend(handles=keys, loc="outside upper right", ncols=4)
