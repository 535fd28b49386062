"""Charts as SVG text.

Matplotlib is imported when a chart is drawn, and used through its object interface. The same data
gives the same bytes. A chart has no background and follows the page's mode, see `colours`.
"""

import contextlib
import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from assl_jax.report.colours import GREY, INK, LINE, SHADE, follow
from assl_jax.report.glyphs import FONT, fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

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


@contextlib.contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib

    settings: Any = {**STYLE, "svg.hashsalt": salt}
    with matplotlib.rc_context(settings):
        yield


def svg(draw: Callable[..., "Figure | None"]) -> Callable[..., str]:
    """Decorate a function that draws a figure: it returns SVG text, or "" if there is no figure."""

    @functools.wraps(draw)
    def drawn(*args: Any, **settings: Any) -> str:
        from matplotlib.text import Text

        with _style(draw.__name__):
            figure = draw(*args, **settings)
            if figure is None:
                return ""
            for text in figure.findobj(Text):
                text.set_fontfamily(fonts(text.get_text()))
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="none")
        return follow(out.getvalue())

    return drawn


def canvas(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shades() -> "Colormap":
    """From a clear cell at 0 to `SHADE` at 1, on a page of any colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [SHADE + "00", SHADE + "ff"])


def percent_axis(ax: "Axes", label: str) -> None:
    """Label the horizontal axis, and end it at 0 and 100 % at the latest."""
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, 0.0), min(high, 100.0))
    ax.set_xlabel(label)


def name_rows(ax: "Axes", titles: Sequence[str], **look: Any) -> None:
    """Rows from top to bottom, with their titles and without lines between them."""
    ax.set_yticks(range(len(titles)), titles, **look)
    ax.set_ylim(len(titles) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def known(value: float | None) -> TypeGuard[float]:
    """Whether a value exists and can be drawn."""
    return value is not None and math.isfinite(value)
