"""Charts as SVG text.

Matplotlib is imported when a chart is drawn, and used through its object interface. The same data
gives the same bytes. A chart has no background and follows the page's mode, see `colours`.
"""

import functools
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from assl_jax.report.colours import GREY, INK, LINE, ON_SHADE, SHADE, follow
from assl_jax.report.glyphs import FONT, fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure as Canvas
    from matplotlib.image import AxesImage
else:  # for annotations alone
    Axes = Canvas = Colormap = AxesImage = object

LETTERS = 46  # of a row's title in a line; it has two, which end with … if that is not enough

STYLE = {
    "font.size": 10,
    "font.family": FONT,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a "$" in a name is a dollar sign
}


def svg(draw: Callable[..., Canvas | None]) -> Callable[..., str]:
    """Decorate a function that draws a figure: it returns SVG text, or "" if there is no figure."""

    @functools.wraps(draw)
    def drawn(*args: Any, **settings: Any) -> str:
        import matplotlib
        from matplotlib.text import Text

        style: Any = {**STYLE, "svg.hashsalt": draw.__name__}
        with matplotlib.rc_context(style):
            figure = draw(*args, **settings)
            if figure is None:
                return ""
            for text in figure.findobj(Text):
                text.set_fontfamily(fonts(text.get_text()))
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="none")
        return follow(out.getvalue())

    return drawn


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **look: Any
) -> tuple[Canvas, list[Axes]]:
    """A figure of so many inches, and its panels, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **look).flat)


def legend(figure: Canvas, looks: Mapping[str, dict[str, Any]]) -> None:
    """A row of keys above the panels: words and the look of a line, or of an area with an alpha."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Patch(label=words, linewidth=0, **look)
        if "alpha" in look
        else Line2D([], [], label=words, **look)
        for words, look in looks.items()
    ]
    figure.legend(handles=keys, loc="outside upper right", ncols=min(8, len(keys)))


def heat_map(
    ax: Axes,
    values: np.ndarray,
    text: Callable[[int, int], str],
    *,
    top: float = 1.0,
    size: float = 10,
) -> AxesImage:
    """Shades of a square matrix from 0 to `top`, and a text in each cell; masked cells are bare."""
    image = ax.imshow(values, cmap=shades(), vmin=0.0, vmax=max(top, 1e-6), aspect="auto")
    for i, j in np.ndindex(values.shape):
        ink = ON_SHADE if values[i, j] > 0.6 * top else INK
        ink = GREY if np.ma.is_masked(values[i, j]) else ink
        if words := text(i, j):
            ax.text(j, i, words, ha="center", va="center", color=ink, fontsize=size)
    ax.tick_params(length=0)
    ax.grid(False)
    return image


def name_cells(ax: Axes, names: Sequence[str], *, rotation: float, **look: Any) -> None:
    """The names of the rows and columns of a square matrix."""
    each = range(len(names))
    ax.set_xticks(each, names, rotation=rotation, ha="right", rotation_mode="anchor", **look)
    ax.set_yticks(each, names, **look)


def shades() -> Colormap:
    """From a clear cell at 0 to `SHADE` at 1, on a page of any colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [SHADE + "00", SHADE + "ff"])


def percent_axis(ax: Axes, label: str) -> None:
    """Label the horizontal axis, and end it at 0 and 100 % at the latest."""
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, 0.0), min(high, 100.0))
    ax.set_xlabel(label)


def name_rows(ax: Axes, titles: Sequence[str], **look: Any) -> None:
    """Rows from top to bottom, with their titles and without lines between them."""
    wrapped = [textwrap.fill(title, LETTERS, max_lines=2, placeholder=" …") for title in titles]
    ax.set_yticks(range(len(titles)), wrapped, linespacing=0.95, **look)
    ax.set_ylim(len(titles) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def beside(ax: Axes, y: float, words: str) -> None:
    """Words to the right of a row."""
    ax.text(1.02, y, words, va="center", fontsize=8, transform=ax.get_yaxis_transform())


def known(value: float | None) -> TypeGuard[float]:
    """Whether a value exists and can be drawn."""
    return value is not None and math.isfinite(value)
