"""The similarity of the single tasks' features: its table and its heat map."""

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from assl_jax.records import Similarity
from assl_jax.report import forms
from assl_jax.report.colours import GREY, INK, ON_SHADE, PANEL
from assl_jax.report.names import task_title
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import canvas, shades, svg
from assl_jax.report.words import say
from assl_jax.sections import Cell, Figure, Folded, Part, Row, Shown, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def parts(run: RunRecord) -> Iterator[Part]:
    """The heat map, and its numbers below it."""
    if similarity := run.results.similarity:
        table, draw = similarity_table(similarity), partial(similarity_heatmap, similarity)
        words = {"caption": table.caption, "tasks": ", ".join(table.columns[1:])}
        notes = (say("similarity.note", **words),)
        yield Figure(draw, say("similarity.alt", **words), notes=notes)
        yield Folded((table,), say("the_numbers"), shown=Shown.FILES)


def similarity_table(similarity: Similarity) -> Table:
    """The matrix of similarities between the candidates' features."""
    titles = [task_title(task) for task in similarity.tasks]
    rows = tuple(
        Row((Cell(title), *(Cell(forms.similar(v)) for v in values)))
        for title, values in zip(titles, similarity.matrix, strict=True)
    )
    caption = say(
        "similarity.caption",
        estimator=similarity.estimator,
        layer=similarity.layer,
        n=similarity.n,
    )
    return Table(caption, ("", *titles), rows, shown=Shown.FILES)


@svg
def similarity_heatmap(similarity: Similarity) -> "Canvas":
    """The similarity matrix, its numbers in the cells; the diagonal, always 1, is left grey."""
    titles = [task_title(task) for task in similarity.tasks]
    k = len(titles)
    matrix = np.array(similarity.matrix, float)
    shown = np.ma.masked_where(np.eye(k, dtype=bool) | ~np.isfinite(matrix), matrix)
    top = float(shown.max()) if shown.count() else 1.0
    figure = canvas(2.4 + 0.75 * k, 1.2 + 0.6 * k)
    ax = figure.subplots()
    ax.set_facecolor(PANEL)
    image = ax.imshow(shown, cmap=shades(), vmin=0.0, vmax=max(top, 1e-6), aspect="auto")
    for i, j in np.ndindex(k, k):
        if math.isfinite(matrix[i, j]):
            dark = i != j and matrix[i, j] > 0.6 * top
            ink = ON_SHADE if dark else GREY if i == j else INK
            ax.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=ink)
    ax.set_xticks(range(k), titles, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(k), titles)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    if shown.count():
        bar = figure.colorbar(image, ax=ax, label=say("similarity.axis"), pad=0.02)
        bar.outline.set_visible(False)
    return figure
