"""Logged quantities over the steps of a training."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from assl_jax.records import HELD_OUT, LogRecord
from assl_jax.report.names import Label, Labels, capitalised
from assl_jax.report.record import RunRecord, latest
from assl_jax.report.svg import Axes, Canvas, canvas, known, legend, svg
from assl_jax.sections import Figure, Folded, Part
from assl_jax.tasks import describe
from assl_jax.words import say

Points = list[tuple[float, float]]
Curves = dict[tuple[str, str, str], Points]  # by stage, run and task
LETTERS = 34  # of a title that a panel has room for
COLUMNS = 3  # panels in a row
# Logged values that have curves, by the kind of stage.
CURVES = (
    *(("pretrain", name) for name in ("loss", "accuracy", "knn_accuracy", "effective_rank")),
    *(("finetune", name) for name in ("loss", "accuracy")),
)


def parts(run: RunRecord) -> Iterator[Part]:
    """A figure for each logged quantity; all but the first open on a click."""
    first = True
    for kind, quantity in CURVES:
        if any(r.kind == kind and known(r.values.get(quantity)) for r in run.metrics):
            words = say(f"curves.{kind}.{quantity}")
            draw = partial(training_curves, run.metrics, run.labels, kind=kind, quantity=quantity)
            title, alt = capitalised(words), say("curves.alt", quantity=words)
            chart = Figure(draw, alt, notes=(say("curves.note", quantity=title),))
            yield chart if first else Folded((chart,), title)
            first = False


@svg
def training_curves(
    metrics: Sequence[LogRecord], labels: Labels, *, kind: str, quantity: str = "loss"
) -> Canvas | None:
    """A logged quantity over steps, one panel per label, in the order in which the stages ran.

    Faint lines are the logged values, solid lines the moving mean over a twelfth of the curve.
    Folds and seeds of one label share a panel. What was measured from outside has the colour of the
    pool. A panel has a logarithmic axis if its values differ by more than a factor of 20. The
    quantity "accuracy" is that on the training batches.
    """
    panels = _panels(metrics, labels, kind, quantity)
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = canvas(max(4.2, 3.1 * columns), 0.5 + 2.2 * rows, rows, columns)
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        _curve_panel(ax, label, curves, by_task=kind == "pretrain")
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.supxlabel(say("step"), fontsize=10)
    figure.supylabel(quantity.replace("_", " "), fontsize=10)
    tasks = dict.fromkeys(task for curves in panels.values() for *_, task in curves)
    tasks.pop(HELD_OUT, None)
    if kind == "pretrain" and len(tasks) > 1:
        titles = map(describe, tasks)
        legend(figure, {each.title: {"color": each.colour} for each in titles})
    return figure


def _panels(
    metrics: Sequence[LogRecord], labels: Labels, kind: str, quantity: str
) -> dict[Label, Curves]:
    """The curves of each label. The log has the order of the stages; panels keep it."""
    panels: dict[str, Curves] = {record.label: {} for record in metrics if record.kind == kind}
    for record in latest(metrics):
        value = record.values.get(quantity)
        if record.kind == kind and known(value):
            curve = (record.stage, record.run, record.task)
            panels[record.label].setdefault(curve, []).append((record.step, value))
    panels = {label: curves for label, curves in panels.items() if curves}
    # A training that went on after a rung has the steps before it too.
    longest: dict[Label, str] = {}
    for label in sorted(panels, key=lambda label: labels[label].share):
        longest[labels[label]._replace(share=1.0)] = label
    return {labels[label]: panels[label] for label in panels if label in longest.values()}


def _curve_panel(ax: Axes, label: Label, curves: Curves, *, by_task: bool) -> None:
    lines = []
    for (*_, task), points in curves.items():
        own = by_task and task != HELD_OUT
        tint = describe(task).colour if own else label.colour
        lines.append(draw_curve(ax, points, tint, linewidth=1.6))
    ax.set_title(textwrap.fill(label.title, LETTERS))
    every = np.concatenate(lines)
    if every.min() > 0 and every.max() > 20 * every.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")


def draw_curve(
    ax: Axes, points: Points, tint: str, *, smooth: bool = True, **look: Any
) -> np.ndarray:
    """Draw a curve, by default faint with its moving mean over a twelfth; what is solid returns.

    A single point is a dot.
    """
    steps, values = np.array(points, dtype=float).T
    look = {"marker": "o" if len(points) == 1 else "", **look}
    if smooth:
        ax.plot(*thinned(steps, values), color=tint, alpha=0.25, linewidth=0.8)
        values = moving_mean(values, max(1, len(values) // 12))
    ax.plot(*thinned(steps, values), color=tint, **look)
    return values


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over up to `window` values; fewer at the ends."""
    ones = np.ones(window)
    counts = np.convolve(np.ones_like(values), ones, "full")
    sums = np.convolve(values, ones, "full")
    start = (window - 1) // 2
    return (sums / counts)[start : start + len(values)]


def thinned(x: np.ndarray, y: np.ndarray, *, most: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points of a curve, the last one included; this keeps the page small."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(int))
    return x[keep], y[keep]
