"""Logged quantities over the steps of a training."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assl_jax.records import HELD_OUT, LogRecord
from assl_jax.report.names import Label, label_title, pool_colour, task_title
from assl_jax.report.record import latest
from assl_jax.report.svg import canvas, known, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = list[tuple[float, float]]
LETTERS = 34  # of a title that a panel has room for


@svg
def training_curves(
    metrics: Sequence[LogRecord], *, kind: str, quantity: str = "loss", columns: int = 3
) -> "Figure | None":
    """A logged quantity over steps, one panel per label, in the order in which the stages ran.

    Faint lines are the logged values, solid lines the moving mean over a twelfth of the curve.
    Folds and seeds of one label share a panel. What was measured from outside has the colour of the
    pool. A panel has a logarithmic axis if its values differ by more than a factor of 20. The
    quantity "accuracy" is that on the training batches.

    Args:
      metrics: the log of all stages.
      kind: of the stages that are shown, "pretrain" or "finetune".
      quantity: name of the logged value.
      columns: panels in a row.
    """
    from matplotlib.lines import Line2D

    # The log has the order of the stages; panels keep it.
    panels: dict[str, dict[tuple[str, str, str], Points]] = {
        record.label: {} for record in metrics if record.kind == kind
    }
    for record in latest(metrics):
        value = record.values.get(quantity)
        if record.kind == kind and known(value):
            curve = (record.stage, record.run, record.task)
            panels[record.label].setdefault(curve, []).append((record.step, value))
    panels = {label: curves for label, curves in panels.items() if curves}
    # A training that went on after a rung has the steps before it too.
    longest: dict[Label, str] = {}
    for label in sorted(panels, key=lambda label: Label.parse(label).share):
        longest[Label.parse(label)._replace(share=1.0)] = label
    panels = {label: panels[label] for label in panels if label in longest.values()}
    if not panels:
        return None
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = canvas(max(4.2, 3.1 * columns), 0.5 + 2.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        _curve_panel(ax, label, curves, by_task=kind == "pretrain")
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.supxlabel("step", fontsize=10)
    figure.supylabel(quantity.replace("_", " "), fontsize=10)
    tasks = dict.fromkeys(task for curves in panels.values() for *_, task in curves)
    tasks.pop(HELD_OUT, None)
    if kind == "pretrain" and len(tasks) > 1:
        keys = [Line2D([], [], color=pool_colour([t]), label=task_title(t)) for t in tasks]
        figure.legend(handles=keys, loc="outside upper right", ncols=min(8, len(keys)))
    return figure


def _curve_panel(
    ax: "Axes", label: str, curves: Mapping[tuple[str, str, str], Points], *, by_task: bool
) -> None:
    lines = []
    for (*_, task), points in curves.items():
        steps, values = np.array(points, dtype=float).T
        lines.append(moving_mean(values, max(1, len(values) // 12)))
        own = by_task and task != HELD_OUT
        tint = pool_colour([task] if own else Label.parse(label).pool)
        mark = "o" if len(values) == 1 else ""
        ax.plot(*thinned(steps, values), color=tint, alpha=0.25, linewidth=0.8)
        ax.plot(*thinned(steps, lines[-1]), f"{mark}-", color=tint, linewidth=1.6)
    ax.set_title(textwrap.fill(label_title(label), LETTERS))
    every = np.concatenate(lines)
    if every.min() > 0 and every.max() > 20 * every.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")


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
