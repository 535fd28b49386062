"""From plain to Self-ASSL, one line for each pool."""

from collections.abc import Sequence
from typing import Any

from assl_jax.records import Estimate, Results, SelfASSLGroup
from assl_jax.report import forms
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.evaluations import self_assl_groups, test_set
from assl_jax.report.names import backbone_title, pool_title
from assl_jax.report.svg import Axes, Canvas, beside, canvas, legend, name_rows, percent_axis, svg
from assl_jax.tasks import describe
from assl_jax.words import say


def difference_text(difference: Estimate) -> str:
    """A difference in points, with its interval."""
    found = forms.ends(difference)
    interval = f" [{forms.gain(found[0])}, {forms.gain(found[1])}]" if found else ""
    return forms.gain(difference.mean) + interval


@svg
def self_assl_chart(results: Results) -> Canvas | None:
    """From plain to Self-ASSL: a line for each pool, a panel for each backbone.

    Hollow circles are plain networks, filled ones Self-ASSL, crosses the second run without the
    penalty. The bar is the interval of the difference, drawn from the plain accuracy. The dashed
    line is training from scratch.
    """
    groups = self_assl_groups(results)
    if not groups:
        return None
    heights = [len(group.rows) for group in groups]
    height = 0.5 + sum(0.9 + 0.4 * n for n in heights)
    figure, axes = canvas(8.4, height, len(groups), sharex=True, height_ratios=heights)
    for ax, group in zip(axes, groups, strict=True):
        _dumbbells(ax, group)
    percent_axis(axes[-1], say("self_assl.axis", test_set=test_set(results)))
    _legend(figure, groups)
    return figure


def _dumbbells(ax: Axes, group: SelfASSLGroup) -> None:
    for y, row in enumerate(group.rows):
        tint = describe(row.pool[-1]).colour
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
        beside(ax, y, difference_text(row.difference))
    ax.axvline(100 * group.scratch.accuracy.mean, color=GREY, linestyle="--", linewidth=1)
    name_rows(ax, [pool_title(row.pool) for row in group.rows])
    ax.set_title(backbone_title(group.backbone))


def _legend(figure: Canvas, groups: Sequence[SelfASSLGroup]) -> None:
    rows = [row for group in groups for row in group.rows]
    dot = {"color": GREY, "linestyle": "none", "marker": "o"}
    keys: dict[str, dict[str, Any]] = {say("legend.plain"): dot | {"mfc": PAPER}}
    keys[say("network.self_assl")] = dot
    if any(row.second_run for row in rows):
        keys[say("network.second_run")] = dot | {"color": INK, "marker": "x"}
    if any(forms.ends(row.difference) for row in rows):
        keys[say("legend.interval")] = {"color": GREY, "alpha": 0.3}
    legend(figure, keys | {say("legend.scratch"): {"color": GREY, "linestyle": "--"}})
