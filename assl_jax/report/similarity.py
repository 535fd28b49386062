"""The similarity of the single tasks' features: its table and its heat map."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from assl_jax.records import Similarity
from assl_jax.report import forms
from assl_jax.report.colours import PANEL
from assl_jax.report.names import task_title
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Canvas, canvas, heat_map, name_cells, svg
from assl_jax.sections import Cell, Figure, Folded, Part, Row, Shown, Table
from assl_jax.words import say


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
def similarity_heatmap(similarity: Similarity) -> Canvas:
    """The similarity matrix, its numbers in the cells; the diagonal, always 1, is left grey."""
    titles = [task_title(task) for task in similarity.tasks]
    k = len(titles)
    matrix = np.array(similarity.matrix, float)
    shown = np.ma.masked_where(np.eye(k, dtype=bool) | ~np.isfinite(matrix), matrix)
    top = float(shown.max()) if shown.count() else 1.0
    figure, (ax,) = canvas(2.4 + 0.75 * k, 1.2 + 0.6 * k)
    ax.set_facecolor(PANEL)

    def text(i: int, j: int) -> str:
        return f"{matrix[i, j]:.2f}" if math.isfinite(matrix[i, j]) else ""

    image = heat_map(ax, shown, text, top=top)
    name_cells(ax, titles, rotation=30)
    ax.spines[:].set_visible(False)
    if shown.count():
        bar = figure.colorbar(image, ax=ax, label=say("similarity.axis"), pad=0.02)
        bar.outline.set_visible(False)
    return figure
