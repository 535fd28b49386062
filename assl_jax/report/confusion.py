"""Confusion matrices: which classes of the test set are taken for which."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from assl_jax.report.record import INK, display_pool
from assl_jax.report.svg import canvas, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = (2, 20)  # fewest and most that a figure has room for
BESIDE = 10  # matrices of more classes stand one below the other
ROOMY = 6  # matrices of more classes have small cells
LETTERS = 20  # of a class's name


def confusions(results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Counts `[k, k]`, rows the true classes, of the best pool and of scratch, by name.

    Means over the test runs. Empty where none were counted or a figure has no room for them.
    """
    best, scratch = results.get("best") or {}, results.get("scratch") or {}
    entries = {display_pool(best.get("pool") or []): best, display_pool(["scratch"]): scratch}
    counts = {
        name: np.array(entry["confusion"], dtype=float)
        for name, entry in entries.items()
        if entry.get("confusion")
    }
    fewest, most = CLASSES
    return {name: matrix for name, matrix in counts.items() if fewest <= len(matrix) <= most}


def shares(counts: np.ndarray) -> np.ndarray:
    """Each row of `[k, k]` counts as shares of its sum; zeros where a class was not tested."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)


def class_names(results: Mapping[str, Any], k: int) -> list[str]:
    """The names of `k` classes; their numbers where the names are of other classes."""
    names = [str(name) for name in results.get("classes") or []]
    return names if len(names) == k else [str(i) for i in range(k)]


@svg
def confusion_chart(results: Mapping[str, Any]) -> "Figure | None":
    """The confusion matrix of the best pool beside that from scratch, counts in the cells.

    The shade is the share of the true class, so that rare classes can be read as well.
    """
    panels = confusions(results)
    if not panels:
        return None
    k = max(map(len, panels.values()))
    side = max(2.0, (0.62 if k <= ROOMY else 0.44) * k)
    labels = 0.8 + 0.075 * max(len(_short(name)) for name in class_names(results, k))
    columns = len(panels) if k <= BESIDE else 1
    rows = len(panels) // columns
    figure = canvas(columns * (side + labels), rows * (side + 0.6 * labels + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, (name, counts) in enumerate(panels.items()):
        _panel(axes[i], counts, class_names(results, len(counts)))
        axes[i].set_title(textwrap.fill(name, int(13 * side)))
        axes[i].set_xlabel("predicted class")
        axes[i].set_ylabel("true class" if i % columns == 0 else "")
    return figure


def _panel(ax: "Axes", counts: np.ndarray, names: list[str]) -> None:
    k = len(counts)
    shade = shares(counts)
    ax.imshow(shade, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for i, j in np.ndindex(k, k):
        if counts[i, j]:
            ink = "white" if shade[i, j] > 0.6 else INK
            text = f"{counts[i, j]:.{0 if counts[i, j] >= 100 else 1}f}".removesuffix(".0")
            size = 10 if k <= ROOMY else 8
            ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=size)
    short = [_short(name) for name in names]
    ax.set_xticks(range(k), short, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(k), short, fontsize=8)
    ax.tick_params(length=0)
    ax.grid(False)


def _short(name: str) -> str:
    """A long name without its middle: names often differ at their ends."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[1 - half :]}"
