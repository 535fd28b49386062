"""Every metric of the test set, with its interval, and the confusions."""

import textwrap
from collections.abc import Iterator
from functools import partial

import numpy as np

from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.records import Estimate, Results
from assl_jax.report import forms, glyphs
from assl_jax.report.columns import Column, measured, tabulate
from assl_jax.report.evaluations import (
    SMALL,
    Tested,
    every_network,
    kept,
    named_metric,
    spread,
    test_set,
    title_of,
)
from assl_jax.report.names import SCRATCH, capitalised
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Axes, Canvas, canvas, heat_map, name_cells, svg
from assl_jax.sections import Figure, Folded, Part, Shown, Table, Text
from assl_jax.words import say


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The table and the confusions, folded where an experiment has its own tables."""
    results = run.results
    own: list[Part] = [p for p in (metrics_table(results), _confusions(results)) if p]
    if results.pairs or results.self_assl:
        own = [Folded(tuple(own), say("metrics.every"), shown=Shown.FILES)]
    yield from own
    yield Text(tuple(metric_lines(results)), shown=Shown.TERMINAL)


def metrics_table(results: Results) -> Table | None:
    """A row for each network, a column for each metric; None if nothing was tested.

    The best value of each column is strong. If learning rates were chosen, they are a column.
    """
    networks = every_network(results, candidates=False)
    measured = [name for name in shares() if any(name in n.evaluation.metrics for n in networks)]
    if not measured:
        return None
    columns = [
        Column(say("head.pretraining"), lambda network: title_of(results, network.label)),
        *(_column(name) for name in measured),
    ]
    caption = say("metrics.caption", spread=spread(results), test_set=test_set(results))
    if any(forms.interval(n.evaluation.metrics.get(name)) for n in networks for name in measured):
        known = "metrics.interval" if results.patients else "metrics.interval.images"
        caption += say(known, units=_units(results))
    if any(network.evaluation.learning_rate for network in networks):
        columns.append(Column(say("metrics.head.rate"), _rate))
        caption += say("metrics.rates")
    return tabulate(
        caption,
        columns,
        [networks],
        opens=False,
        verdict=lambda network: "chosen" if network.label == kept(results) else "",
        sortable=True,
    )


def _column(name: str) -> Column:
    def estimate(network: Tested) -> Estimate | None:
        return network.evaluation.metrics.get(name)

    looks = {"form": forms.tenths, "text": lambda network: forms.with_interval(estimate(network))}
    return measured(capitalised(METRICS[name].title), name, estimate, **looks)


def _rate(network: Tested) -> str:
    rate = network.evaluation.learning_rate
    return format(rate, "g") if rate else forms.DASH


def metric_lines(results: Results) -> list[str]:
    """The metrics of the best pool and of scratch, a line each, for the end of a run.

    Empty unless the accuracies alone may mislead: the search decides on another metric, or the
    test set has fewer than `SMALL` patients (images, if patients are not known).
    """
    small = (results.patients or results.test_images) < SMALL
    label = kept(results)
    if results.best is None or label is None or not (small or named_metric(results)):
        return []
    best = results.best.evaluation.metrics
    scratch = results.scratch.metrics if results.scratch else {}
    brackets = any(map(forms.interval, best.values()))
    key = "metrics.summary.interval" if brackets else "metrics.summary"
    lines = [say(key, title=title_of(results, label), units=_units(results))]
    for name in (name for name in shares() if name in best):
        key = "metrics.line.scratch" if name in scratch else "metrics.line"
        own, other = map(forms.with_interval, (best[name], scratch.get(name)))
        lines.append(say(key, metric=capitalised(METRICS[name].title), score=own, scratch=other))
    return lines


def _confusions(results: Results) -> Figure | None:
    matrices = confusions(results)
    if not matrices:
        return None
    parts = []
    for title, counts in matrices.items():
        right = zip(results.classes, row_shares(counts).diagonal(), strict=True)
        words = [
            say("confusion.share", name=name, percent=forms.percent(share, digits=0))
            for name, share in right
        ]
        parts.append(f"{title}: {', '.join(words)}")
    notes = say("confusion.note", test_set=test_set(results)), glyphs.note(results.classes)
    draw = partial(confusion_chart, results)
    return Figure(draw, say("confusion.alt", values="; ".join(parts)), notes=notes)


def _units(results: Results) -> str:
    """The units that the bootstrap draws, and their number."""
    if results.patients:
        return say("units.patients", number=results.patients)
    return say("units.images", number=results.test_images)


CLASSES = (2, 20)  # fewest and most that a figure has room for
IN_A_ROW = 10  # matrices of more classes stand one below the other
ROOMY = 6  # matrices of more classes have small cells


def confusions(results: Results) -> dict[str, np.ndarray]:
    """Numbers of test images `[k, k]` of the best pool and of scratch, by title.

    Rows are the true classes. Empty if nothing was tested or a figure has no room for the classes.
    """
    best, label = results.best, kept(results)
    tested = {label.title: best.evaluation} if best and label else {}
    tested |= {SCRATCH.title: results.scratch} if results.scratch else {}
    matrices = {title: np.array(e.confusion, float) for title, e in tested.items()}
    fewest, most = CLASSES
    return {title: matrix for title, matrix in matrices.items() if fewest <= len(matrix) <= most}


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Each row of `[k, k]` counts as shares of its sum; zeros if a class was not tested."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)


@svg
def confusion_chart(results: Results) -> Canvas | None:
    """The confusion matrices of the best pool and from scratch, with the counts in the cells.

    The shade is the share of the true class, so that rare classes can be read as well.
    """
    panels = confusions(results)
    if not panels:
        return None
    k = len(results.classes)
    side = max(2.0, (0.62 if k <= ROOMY else 0.44) * k)
    names = [glyphs.short_name(name) for name in glyphs.in_chart(results.classes)]
    labels = 0.8 + 0.075 * max(map(len, names))
    columns = len(panels) if k <= IN_A_ROW else 1
    rows = len(panels) // columns
    width, height = columns * (side + labels), rows * (side + 0.6 * labels + 0.6)
    figure, axes = canvas(width, height, rows, columns)
    for i, (title, counts) in enumerate(panels.items()):
        _panel(axes[i], counts, names)
        axes[i].set_title(textwrap.fill(title, int(13 * side)))
        axes[i].set_xlabel(say("confusion.predicted"))
        axes[i].set_ylabel(say("confusion.true") if i % columns == 0 else "")
    return figure


def _panel(ax: Axes, counts: np.ndarray, names: list[str]) -> None:

    def text(i: int, j: int) -> str:
        count = counts[i, j]
        return f"{count:.{0 if count >= 100 else 1}f}".removesuffix(".0") if count else ""

    heat_map(ax, row_shares(counts), text, size=10 if len(counts) <= ROOMY else 8)
    name_cells(ax, names, rotation=40, fontsize=8)
