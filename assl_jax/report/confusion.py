"""Confusion matrices: how many test images of each class are taken for which class."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from assl_jax.records import Results
from assl_jax.report import glyphs
from assl_jax.report.colours import INK, ON_SHADE
from assl_jax.report.evaluations import kept
from assl_jax.report.names import SCRATCH
from assl_jax.report.svg import canvas, shades, svg
from assl_jax.report.words import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def shares(counts: np.ndarray) -> np.ndarray:
    """Each row of `[k, k]` counts as shares of its sum; zeros if a class was not tested."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)


@svg
def confusion_chart(results: Results) -> "Figure | None":
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
    figure = canvas(columns * (side + labels), rows * (side + 0.6 * labels + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, (title, counts) in enumerate(panels.items()):
        _panel(axes[i], counts, names)
        axes[i].set_title(textwrap.fill(title, int(13 * side)))
        axes[i].set_xlabel(say("confusion.predicted"))
        axes[i].set_ylabel(say("confusion.true") if i % columns == 0 else "")
    return figure


def _panel(ax: "Axes", counts: np.ndarray, names: list[str]) -> None:
    k = len(counts)
    shade = shares(counts)
    ax.imshow(shade, cmap=shades(), vmin=0.0, vmax=1.0, aspect="auto")
    for i, j in np.ndindex(k, k):
        if counts[i, j]:
            ink = ON_SHADE if shade[i, j] > 0.6 else INK
            text = f"{counts[i, j]:.{0 if counts[i, j] >= 100 else 1}f}".removesuffix(".0")
            size = 10 if k <= ROOMY else 8
            ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=size)
    ax.set_xticks(range(k), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(k), names, fontsize=8)
    ax.tick_params(length=0)
    ax.grid(False)
