"""Similarity of two tasks against the gain of their pair, one dot per pair."""

from collections.abc import Sequence
from typing import Any

from assl_jax.records import Correlation, Extension, Results
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.evaluations import test_set
from assl_jax.report.forms import coefficient
from assl_jax.report.names import capitalised
from assl_jax.report.svg import Axes, Canvas, canvas, known, svg
from assl_jax.tasks import describe
from assl_jax.words import say

FEW = 6  # pairs, those of four tasks; fewer have no correlation worth a headline
GAINS = ("avg_gain", "max_gain")  # fields of an extension
SIZE = (4.9, 3.7)  # inches of one panel
LETTER = (0.066, 0.135)  # inches that one letter of a label takes
# Possible offsets of a label from its dot, in inches, the preferred ones first.
DIRECTIONS = [(0.09, 0.0), (-0.09, 0.0), (0.0, 0.13), (0.0, -0.13)]
DIRECTIONS += [(x, y) for x in (0.07, -0.07) for y in (0.1, -0.1)]
OFFSETS = [(reach * x, reach * y) for reach in (1.0, 1.8, 2.8) for x, y in DIRECTIONS]
NEAR = len(OFFSETS) // 3  # labels at the first offsets need no line to their dot
Box = tuple[float, float, float, float]  # left, bottom, right, top


@svg
def pairs_chart(results: Results) -> Canvas | None:
    """Average and maximum gain over the similarity; a dot has the colours of its two tasks.

    Bars are the standard deviations over repeated fine-tunings. The title of each panel gives the
    correlations, unless the pairs are too few.
    """
    pairs = [pair for pair in results.pairs if pair.evaluation]
    if not pairs:
        return None
    figure, axes = canvas(SIZE[0] * len(GAINS), SIZE[1], columns=len(GAINS))
    for ax, key in zip(axes, GAINS, strict=True):
        _panel(ax, key, pairs)
        of = results.correlation.get(key, Correlation()) if len(pairs) >= FEW else Correlation()
        values = {"Spearman": of.spearman, "Pearson": of.pearson}
        words = [f"{name} {coefficient(value)}" for name, value in values.items() if known(value)]
        title = say(f"gain.{key}")
        panel = say("pairs.panel", gain=capitalised(title), coefficients=", ".join(words))
        ax.set_title(panel if words else title)
        ax.set_xlabel(say("similarity.axis"))
        ax.set_ylabel(say("pairs.axis"))
    figure.supxlabel(test_set(results), fontsize=8)
    return figure


def _panel(ax: Axes, key: str, pairs: Sequence[Extension]) -> None:
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    points = []
    for pair in pairs:
        x, y = pair.similarity, 100 * getattr(pair, key)
        left, right = map(describe, pair.members)
        if pair.evaluation:
            std = 100 * pair.evaluation.accuracy.std
            ax.errorbar(x, y, yerr=std, color=GREY, alpha=0.5, linewidth=0.8, zorder=1)
        look: dict[str, Any] = {"markerfacecolor": left.colour, "markerfacecoloralt": right.colour}
        look |= {"fillstyle": "left", "markeredgecolor": PAPER, "markeredgewidth": 0.6}
        ax.plot(x, y, "o", markersize=8, **look)
        points.append((x, y))
    ax.margins(0.16, 0.12)
    (left_end, right_end), (low, high) = ax.get_xlim(), ax.get_ylim()
    # The axes take about this much of a panel; the labels need no exact value.
    frame = (0.0, 0.0, SIZE[0] - 0.8, SIZE[1] - 0.9)
    width, height = frame[2] / (right_end - left_end), frame[3] / (high - low)
    inches = [((x - left_end) * width, (y - low) * height) for x, y in points]
    labels = ["+".join(describe(task).short for task in pair.members) for pair in pairs]
    for point, label, offset in zip(points, labels, offsets(inches, labels, frame), strict=True):
        dx, dy = offset
        look = {"textcoords": "offset points", "va": "center", "fontsize": 7.5, "color": INK}
        look["ha"] = "center" if dx == 0 else "left" if dx > 0 else "right"
        if OFFSETS.index(offset) >= NEAR:
            look["arrowprops"] = {"arrowstyle": "-", "linewidth": 0.5, "color": GREY}
        ax.annotate(label, point, (72 * dx, 72 * dy), **look)


def offsets(
    dots: Sequence[tuple[float, float]], labels: Sequence[str], frame: Box
) -> list[tuple[float, float]]:
    """Choose the offset of each label from its dot so that it covers no label and no dot.

    From left to right, each label takes the first of `OFFSETS` with the least overlap. All lengths
    are in inches.
    """
    taken: list[Box] = [(x - 0.06, y - 0.06, x + 0.06, y + 0.06) for x, y in dots]
    chosen: dict[int, tuple[float, float]] = {}
    for i in sorted(range(len(dots)), key=lambda i: dots[i]):

        def cost(offset: tuple[float, float], i: int = i) -> float:
            box = label_box(dots[i], labels[i], offset)
            outside = (box[2] - box[0]) * (box[3] - box[1]) - overlap(box, frame)
            others = (overlap(box, other) for k, other in enumerate(taken) if k != i)
            return round(sum(others) + outside, 6)

        chosen[i] = min(OFFSETS, key=cost)
        taken.append(label_box(dots[i], labels[i], chosen[i]))
    return [chosen[i] for i in range(len(dots))]


def label_box(dot: tuple[float, float], label: str, offset: tuple[float, float]) -> Box:
    """The rectangle that a label covers."""
    (x, y), (dx, dy) = dot, offset
    width, height = LETTER[0] * len(label), LETTER[1]
    left = x + dx - (0.5 * width if dx == 0 else 0.0 if dx > 0 else width)
    return left, y + dy - height / 2, left + width, y + dy + height / 2


def overlap(a: Box, b: Box) -> float:
    """The area that two rectangles share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
