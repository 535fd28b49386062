"""Test images as the kept network sees them: a map of its features, and nearest neighbours."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assl_jax.evaluation.embedding import Embedding
from assl_jax.report import glyphs
from assl_jax.report.colours import GREY, INK
from assl_jax.report.confusion import short_name
from assl_jax.report.figures import example_images
from assl_jax.report.html import Picture
from assl_jax.report.svg import canvas, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, which people with any colour vision tell apart, without yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = "os^DvPX*"  # eight markers with seven colours: 56 classes look different
WIDTH = 5.4  # inches
MOST = 20  # classes in the legend; the rarer ones are grey


class Neighbours(NamedTuple):
    """An image and its nearest neighbours; `near` has a picture and a class each."""

    image: Picture
    name: str
    near: list[tuple[Picture, str]]


@svg
def embedding_chart(embedding: Embedding | None, classes: Sequence[str]) -> "Figure | None":
    """The map; each class has a colour and a marker.

    Args:
      embedding: of test images.
      classes: their names.
    """
    if embedding is None:
        return None
    names = [short_name(name) for name in glyphs.in_chart(classes)]
    common = [k for k, _ in Counter(embedding.classes.tolist()).most_common(MOST)]
    shown = min(len(names), MOST + 1)
    lines = math.ceil(shown / max(1, int(WIDTH / (0.5 + 0.075 * max(map(len, names))))))
    figure = canvas(WIDTH, 4.6 + 0.2 * lines)
    ax = figure.subplots()
    rare = ~np.isin(embedding.classes, common)
    if rare.any():
        x, y = embedding.points[rare].T
        ax.scatter(x, y, s=10, color=GREY, alpha=0.5, label="other classes")
    for k in sorted(common):
        x, y = embedding.points[embedding.classes == k].T
        ax.scatter(
            x,
            y,
            s=22,
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            alpha=0.8,
            linewidths=0,
            label=names[k],
        )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=math.ceil(shown / lines))
    return figure


def neighbours(embedding: Embedding | None, classes: Sequence[str]) -> list[Neighbours]:
    """The images and their neighbours as pictures; empty if there are no neighbours."""
    if embedding is None or embedding.images.shape[1] < 2:
        return []
    rows = []
    for images, named in zip(embedding.images, embedding.named, strict=True):
        names = [classes[k] for k in named]
        pngs = [example_images(image, image[np.newaxis])[0] for image in images]
        words = ["Image", *(f"Neighbour {i}" for i in range(1, len(names)))]
        pictures = [
            Picture(png, f"{word}: {name}")
            for png, word, name in zip(pngs, words, names, strict=True)
        ]
        near = list(zip(pictures[1:], names[1:], strict=True))
        rows.append(Neighbours(pictures[0], names[0], near))
    return rows
