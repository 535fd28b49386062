"""Self-ASSL as charts: what it changes, and the penalty over training."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from assl_jax.records import Estimate, LogRecord, Pool, Results, SelfASSLGroup
from assl_jax.report import forms
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.curves import Points, moving_mean, thinned
from assl_jax.report.evaluations import self_assl_groups, test_set
from assl_jax.report.names import Label, backbone_title, pool_title, task_colour
from assl_jax.report.record import RunRecord, latest
from assl_jax.report.svg import canvas, known, percent_axis, svg
from assl_jax.report.words import say
from assl_jax.sections import Figure, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Logged values with curves. All but those of `BATCH` are measured on held-out images.
QUANTITIES = (
    "penalty",
    "similarity",
    "similarity_to_frozen",
    "similarity_to_untrained",
    "effective_rank",
)
SECOND = ("second_run", "self_assl")  # variants
BATCH = ("penalty", "similarity")  # logged for mini-batches and noisy: drawn faint


def section(run: RunRecord) -> Section:
    """The curves of the penalty and of what it changes, a figure for each backbone."""
    backbones = curve_backbones(run.metrics)
    figures = []
    for backbone in backbones:
        title = backbone_title(backbone) if backbone else ""
        figures.append(
            Figure(
                partial(self_assl_curves, run.metrics, backbone),
                say("penalty.alt", backbone=title),
                title=title,
                notes=(say("penalty.note"),) if backbone == backbones[-1] else (),
            )
        )
    return Section.of(say("penalty"), *figures)


def difference_text(difference: Estimate) -> str:
    """A difference in points, with its interval."""
    found = forms.ends(difference)
    interval = f" [{forms.gain(found[0])}, {forms.gain(found[1])}]" if found else ""
    return forms.gain(difference.mean) + interval


@svg
def self_assl_chart(results: Results) -> "Canvas | None":
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
    ax.set_yticks(range(len(group.rows)), [pool_title(row.pool) for row in group.rows])
    ax.set_ylim(len(group.rows) - 0.4, -0.6)
    ax.set_title(backbone_title(group.backbone))
    ax.grid(axis="y", visible=False)


def _legend(figure: "Canvas", groups: Sequence[SelfASSLGroup]) -> None:
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


def _curves(
    metrics: Sequence[LogRecord], backbone: str
) -> dict[Pool, dict[str, dict[str, Points]]]:
    """Points by pool, variant and quantity, from the pretrainings of one backbone."""
    curves: dict[Pool, dict[str, dict[str, Points]]] = {}
    for record in latest(metrics):
        label = Label.parse(record.label)
        if record.kind != "pretrain" or label.backbone != backbone or label.variant not in SECOND:
            continue
        for quantity in QUANTITIES:
            if known(value := record.values.get(quantity)):
                quantities = curves.setdefault(label.pool, {}).setdefault(label.variant, {})
                quantities.setdefault(quantity, []).append((record.step, value))
    return curves


def curve_backbones(metrics: Sequence[LogRecord]) -> list[str]:
    """The backbones that have curves; "" if the run has one backbone."""
    labels = (Label.parse(record.label) for record in metrics if record.kind == "pretrain")
    return list(dict.fromkeys(label.backbone for label in labels if label.variant in SECOND))


@svg
def self_assl_curves(metrics: Sequence[LogRecord], backbone: str = "") -> "Canvas | None":
    """Penalty, similarities and effective rank over steps: a row for each pool.

    Coloured lines are Self-ASSL, dotted ones the second run without the penalty. Values of
    mini-batches are drawn with their moving mean. The other values are of held-out images.
    """
    curves = _curves(metrics, backbone)
    logged = {q for variants in curves.values() for found in variants.values() for q in found}
    shown = [quantity for quantity in QUANTITIES if quantity in logged]
    if not shown:
        return None
    figure = canvas(max(4.2, 2.35 * len(shown)), 0.6 + 1.75 * len(curves))
    axes = figure.subplots(len(curves), len(shown), squeeze=False, sharex="row")
    for row, (pool, variants) in zip(axes, curves.items(), strict=True):
        for ax, quantity in zip(row, shown, strict=True):
            for variant, found in variants.items():
                if quantity in found:
                    _draw(ax, found[quantity], pool, variant, quantity)
            ax.tick_params(labelsize=8)
            ax.locator_params(nbins=4)
        row[0].set_ylabel(pool_title(pool), fontsize=9)
    for ax, quantity in zip(axes[0], shown, strict=True):
        ax.set_title(say(f"curve.{quantity}"), fontsize=9)
    figure.supxlabel(say("step"), fontsize=9)
    return figure


def _draw(ax: "Axes", points: Points, pool: Pool, variant: str, quantity: str) -> None:
    steps, values = np.array(points, dtype=float).T
    style: dict[str, Any] = {"color": INK, "linestyle": ":"}
    if variant == "self_assl":
        style = {"color": task_colour(pool[-1])}
    if quantity in BATCH:
        ax.plot(*thinned(steps, values), alpha=0.25, linewidth=0.8, color=style["color"])
        values = moving_mean(values, max(1, math.ceil(len(values) / 12)))
    else:
        style["marker"], style["markersize"] = "o", 2.5
    ax.plot(*thinned(steps, values), linewidth=1.5, **style)
