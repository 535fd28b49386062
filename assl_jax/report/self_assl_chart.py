"""From plain to Self-ASSL, one line for each pool."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assl_jax.records import Estimate, Results, SelfASSLGroup
from assl_jax.report import forms
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.evaluations import self_assl_groups, test_set
from assl_jax.report.names import backbone_title, pool_title, task_colour
from assl_jax.report.svg import canvas, name_rows, percent_axis, svg
from assl_jax.report.words import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def difference_text(difference: Estimate) -> str:
    """A difference in points, with its interval."""
    found = forms.ends(difference)
    interval = f" [{forms.gain(found[0])}, {forms.gain(found[1])}]" if found else ""
    return forms.gain(difference.mean) + interval


@svg
def self_assl_chart(results: Results) -> "Figure | None":
    """From plain to Self-ASSL: a line for each pool, a panel for each backbone.

    Hollow circles are plain networks, filled ones Self-ASSL, crosses the second run without the
    penalty. The bar is the interval of the difference, drawn from the plain accuracy. The dashed
    line is training from scratch.
    """
    groups = self_assl_groups(results)
    if not groups:
        return None
    heights = [len(group.rows) for group in groups]
    figure = canvas(8.4, 0.5 + sum(0.9 + 0.4 * n for n in heights))
    axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)
    for ax, group in zip(axes.ravel(), groups, strict=True):
        _dumbbells(ax, group)
    percent_axis(axes[-1, 0], say("self_assl.axis", test_set=test_set(results)))
    _legend(figure, groups)
    return figure


def _dumbbells(ax: "Axes", group: SelfASSLGroup) -> None:
    right_of_axes = ax.get_yaxis_transform()
    for y, row in enumerate(group.rows):
        tint = task_colour(row.pool[-1])
        before, after = 100 * row.plain.accuracy.mean, 100 * row.self_assl.accuracy.mean
        if interval := forms.ends(row.difference):
            low, high = (before + 100 * end for end in interval)
            ax.plot([low, high], [y, y], color=tint, alpha=0.22, linewidth=7, solid_capstyle="butt")
        ax.plot([before, after], [y, y], color=tint, linewidth=1.8)
        dot: dict[str, Any] = {"marker": "o", "markersize": 7, "color": tint, "clip_on": False}
        ax.plot(before, y, **dot, markerfacecolor=PAPER, zorder=3)
        ax.plot(after, y, **dot, zorder=4)
        if row.second_run:
            second = 100 * row.second_run.accuracy.mean
            ax.plot(second, y, "x", markersize=6, color=INK, markeredgewidth=1.2, zorder=5)
        text = difference_text(row.difference)
        ax.text(1.02, y, text, va="center", fontsize=8, transform=right_of_axes)
    ax.axvline(100 * group.scratch.accuracy.mean, color=GREY, linestyle="--", linewidth=1)
    name_rows(ax, [pool_title(row.pool) for row in group.rows])
    ax.set_title(backbone_title(group.backbone))


def _legend(figure: "Figure", groups: Sequence[SelfASSLGroup]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = [row for group in groups for row in group.rows]
    dot: dict[str, Any] = {"color": GREY, "linestyle": "none", "marker": "o"}
    keys: list[Any] = [Line2D([], [], **dot, mfc=PAPER, label=say("legend.plain"))]
    keys.append(Line2D([], [], **dot, label=say("legend.self_assl")))
    if any(row.second_run for row in rows):
        cross: dict[str, Any] = {"color": INK, "linestyle": "none", "marker": "x"}
        keys.append(Line2D([], [], **cross, label=say("legend.second_run")))
    if any(forms.ends(row.difference) for row in rows):
        keys.append(Patch(color=GREY, alpha=0.3, linewidth=0, label=say("legend.interval")))
    keys.append(Line2D([], [], color=GREY, linestyle="--", label=say("legend.scratch")))
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))
