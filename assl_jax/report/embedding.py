"""Test images as the kept network sees them: a map of its features, and nearest neighbours."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from assl_jax.evaluation.embedding import Embedding
from assl_jax.report import glyphs
from assl_jax.report.colours import GREY, INK
from assl_jax.report.evaluations import kept, test_set
from assl_jax.report.names import inside
from assl_jax.report.pictures import image_png
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Canvas, canvas, svg
from assl_jax.sections import Figure, Heading, Part, Picture, Pictures, Text
from assl_jax.words import say

# The colours of Okabe and Ito, which people with any colour vision tell apart, without yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = "os^DvPX*"  # eight markers with seven colours: 56 classes look different
WIDTH = 5.4  # inches
MOST = 20  # classes in the legend; the rarer ones are grey


def parts(run: RunRecord) -> Iterator[Part]:
    """The map of the test images, and the nearest neighbours of some."""
    shown, results = run.embedding, run.results
    if shown is None:
        return
    label, units = kept(results), test_set(results)
    words = {"title": inside(label.title) if label else "", "number": len(shown.points)}
    notes = say("embedding.note", **words, test_set=units), glyphs.note(results.classes)
    draw = partial(embedding_chart, shown, results.classes)
    yield Figure(draw, say("embedding.alt", **words), notes=notes)
    if pictures := neighbours(shown, results.classes):
        about = [say("neighbours.note"), say("neighbours.patients") if results.patients else ""]
        about.append(say("planes") if pictures.tall else "")
        yield Heading(say("neighbours"))
        yield Text((" ".join(filter(None, about)),), soft=True)
        yield pictures


@svg
def embedding_chart(embedding: Embedding, classes: Sequence[str]) -> Canvas:
    """The map of test images; each class has a colour and a marker."""
    names = [glyphs.short_name(name) for name in glyphs.in_chart(classes)]
    common = [k for k, _ in Counter(embedding.classes.tolist()).most_common(MOST)]
    shown = min(len(names), MOST + 1)
    lines = math.ceil(shown / max(1, int(WIDTH / (0.5 + 0.075 * max(map(len, names))))))
    figure, (ax,) = canvas(WIDTH, 4.6 + 0.2 * lines)
    rare = ~np.isin(embedding.classes, common)
    if rare.any():
        x, y = embedding.points[rare].T
        ax.scatter(x, y, s=10, color=GREY, alpha=0.5, label=say("embedding.other"))
    for k in sorted(common):
        x, y = embedding.points[embedding.classes == k].T
        tint, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        ax.scatter(x, y, 22, tint, marker=marker, alpha=0.8, linewidths=0, label=names[k])
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=math.ceil(shown / lines))
    return figure


def neighbours(embedding: Embedding, classes: Sequence[str]) -> Pictures:
    """The images and their neighbours; without rows if there are no neighbours."""
    rows = []
    for images, named in zip(embedding.images, embedding.named, strict=True):
        names = [classes[k] for k in named]
        row = []
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            alt = say("neighbours.alt" if i else "neighbours.image", name=name, number=i)
            row.append(Picture(image_png(image), alt, name, marked=name != names[0]))
        rows.append(tuple(row))
    number = embedding.images.shape[1]
    heads = (*say("neighbours.heads").split(", "), *[""] * number)[:number]
    tall = embedding.images.ndim == 6
    return Pictures(tuple(rows) if number > 1 else (), heads, say("neighbours"), tall=tall)
