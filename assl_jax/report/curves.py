"""Logged quantities over the steps of a training."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assl_jax.report import record
from assl_jax.report.record import colour, display, display_label
from assl_jax.report.svg import canvas, known, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@svg
def training_curves(
    metrics: Sequence[Mapping[str, Any]], *, kind: str, quantity: str = "loss", columns: int = 3
) -> "Figure | None":
    """A logged quantity over steps, one panel per label, in the order in which the stages ran.

    Faint: as logged; solid: the moving mean over a twelfth of the curve. What has one label
    (folds, seeds) shares a panel. A panel whose values differ by more than a factor of 20 has a
    logarithmic axis. Accuracies are those on the training batches.
    """
    from matplotlib.lines import Line2D

    panels: dict[str, dict[tuple[str, str, str], list[tuple[float, float]]]] = {}
    for r in metrics:  # in the order of the log, which is that of the stages
        if r["kind"] == kind:
            panels.setdefault(r["label"], {})
    for r in record.latest(metrics):
        if r["kind"] == kind and known(r.get(quantity)):
            curve = (r["stage"], r.get("run") or "", r.get("task") or r["label"])
            panels[r["label"]].setdefault(curve, []).append((r["step"], r[quantity]))
    panels = {label: curves for label, curves in panels.items() if curves}
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
    figure.supylabel(quantity, fontsize=10)
    tasks = dict.fromkeys(task for curves in panels.values() for *_, task in curves)
    if kind == "pretrain" and len(tasks) > 1:
        keys = [Line2D([], [], color=colour(task), label=display(task)) for task in tasks]
        figure.legend(handles=keys, loc="outside upper right", ncols=min(8, len(keys)))
    return figure


def _curve_panel(
    ax: "Axes", label: str, curves: Mapping[tuple[str, str, str], list[Any]], *, by_task: bool
) -> None:
    lines = []
    for (*_, task), points in curves.items():
        steps, values = np.array(points, dtype=float).T
        lines.append(moving_mean(values, max(1, len(values) // 12)))
        tint = colour(task if by_task else label)
        mark = "o" if len(values) == 1 else ""
        ax.plot(*thinned(steps, values), color=tint, alpha=0.25, linewidth=0.8)
        ax.plot(*thinned(steps, lines[-1]), f"{mark}-", color=tint, linewidth=1.6)
    ax.set_title(display_label(label))
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
    """At most `most` points of a curve, its last among them: a page need not carry every step."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).round().astype(int))
    return x[keep], y[keep]
