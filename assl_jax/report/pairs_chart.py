"""Similarity of two tasks against what they gain together, one dot per pair."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assl_jax.report.pairs import GAINS, coefficient
from assl_jax.report.record import GREY, INK, colour, display
from assl_jax.report.svg import canvas, known, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHORT = {
    "mcpc": "MC",
    "sc_assl": "SC",
    "rotation": "Rot",
    "jigsaw": "Jig",
    "inpaint": "Inp",
    "simclr": "Sim",
    "models_genesis": "MG",
    "rubiks_cube": "Cube",
}
SIZE = (4.9, 3.7)  # inches of one panel
LETTER = (0.066, 0.135)  # inches of one letter of a label, with its share of space
# Where a label may stand beside its dot, in inches, the first choice first.
PLACES = [
    (x, y)
    for reach in (1.0, 1.8, 2.8)
    for x, y in (
        *((0.09 * reach, 0.0), (-0.09 * reach, 0.0), (0.0, 0.13 * reach), (0.0, -0.13 * reach)),
        *((0.07 * reach, 0.1 * reach), (0.07 * reach, -0.1 * reach)),
        *((-0.07 * reach, 0.1 * reach), (-0.07 * reach, -0.1 * reach)),
    )
]
NEAR = len(PLACES) // 3  # these need no line to their dot
Box = tuple[float, float, float, float]  # left, bottom, right, top


@svg
def pairs_chart(results: Mapping[str, Any]) -> "Figure | None":
    """Average and maximum gain over the similarity; a dot has the colours of its two tasks.

    Bars are the standard deviations over repeated fine-tunings. Each panel's title has its
    correlation.
    """
    measured = [p for p in results.get("pairs") or [] if known(p.get("similarity"))]
    shown = {key: [p for p in measured if known(p.get(key))] for key in GAINS}
    shown = {key: pairs for key, pairs in shown.items() if pairs}
    if not shown:
        return None
    figure = canvas(SIZE[0] * len(shown), SIZE[1])
    axes = figure.subplots(1, len(shown), squeeze=False).ravel()
    for ax, (key, pairs) in zip(axes, shown.items(), strict=True):
        _panel(ax, key, pairs)
        of = (results.get("correlation") or {}).get(key) or {}
        said = [
            f"{name.capitalize()} {coefficient(of[name])}"
            for name in ("spearman", "pearson")
            if known(of.get(name))
        ]
        ax.set_title(f"{GAINS[key].capitalize()}: {', '.join(said)}" if said else GAINS[key])
        ax.set_xlabel("similarity")
        ax.set_ylabel("gain (points)")
    return figure


def _panel(ax: "Axes", key: str, pairs: Sequence[Mapping[str, Any]]) -> None:
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    points = []
    for pair in pairs:
        x, y, (first, second) = pair["similarity"], 100 * pair[key], pair["pool"]
        if known(pair.get("std")):
            ax.errorbar(x, y, yerr=100 * pair["std"], color="#bbbbbb", linewidth=0.8, zorder=1)
        ax.plot(
            *(x, y, "o"),
            markersize=8,
            fillstyle="left",
            markerfacecolor=colour(first),
            markerfacecoloralt=colour(second),
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
        points.append((x, y))
    ax.margins(0.16, 0.12)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    # The axes take about this much of a panel; labels need no more exact an idea of it.
    width, height = (SIZE[0] - 0.8) / (right - left), (SIZE[1] - 0.9) / (high - low)
    inches = [((x - left) * width, (y - low) * height) for x, y in points]
    labels = ["+".join(short(task) for task in pair["pool"]) for pair in pairs]
    frame = (0.0, 0.0, SIZE[0] - 0.8, SIZE[1] - 0.9)
    for point, label, place in zip(points, labels, places(inches, labels, frame), strict=True):
        dx, dy = place
        far = PLACES.index(place) >= NEAR
        ax.annotate(
            label,
            point,
            (72 * dx, 72 * dy),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": GREY} if far else None,
            ha="center" if dx == 0 else "left" if dx > 0 else "right",
            va="center",
            fontsize=7.5,
            color=INK,
        )


def short(task: str) -> str:
    return SHORT.get(task, display(task))


def places(
    dots: Sequence[tuple[float, float]], labels: Sequence[str], frame: Box
) -> list[tuple[float, float]]:
    """Where each label stands beside its dot, so that it covers no other label and no dot.

    From left to right each takes the first of `PLACES` with the least overlap. All in inches.
    """
    taken: list[Box] = [(x - 0.06, y - 0.06, x + 0.06, y + 0.06) for x, y in dots]
    chosen: dict[int, tuple[float, float]] = {}
    for i in sorted(range(len(dots)), key=lambda i: dots[i]):

        def cost(place: tuple[float, float], i: int = i) -> float:
            box = _box(dots[i], labels[i], place)
            outside = (box[2] - box[0]) * (box[3] - box[1]) - overlap(box, frame)
            others = (overlap(box, other) for k, other in enumerate(taken) if k != i)
            return round(sum(others) + outside, 6)

        chosen[i] = min(PLACES, key=cost)
        taken.append(_box(dots[i], labels[i], chosen[i]))
    return [chosen[i] for i in range(len(dots))]


def _box(dot: tuple[float, float], label: str, place: tuple[float, float]) -> Box:
    """The rectangle that a label covers at a place beside its dot."""
    (x, y), (dx, dy) = dot, place
    width, height = LETTER[0] * len(label), LETTER[1]
    left = x + dx - (0.5 * width if dx == 0 else 0.0 if dx > 0 else width)
    return left, y + dy - height / 2, left + width, y + dy + height / 2


def overlap(a: Box, b: Box) -> float:
    """The area that two rectangles share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
