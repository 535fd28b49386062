"""Self-ASSL as charts: what it changes, and how the penalty is met over training."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assl_jax.report import record
from assl_jax.report.curves import moving_mean, thinned
from assl_jax.report.record import (
    GREY,
    INK,
    colour,
    display_backbone,
    display_label,
    display_pool,
    parted,
)
from assl_jax.report.self_assl import backbones, difference_text, ends
from assl_jax.report.svg import canvas, known, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is logged, and its words; those after the first two on held-out images.
QUANTITIES = {
    "penalty": "penalty",
    "similarity": "similarity, mini-batch",
    "similarity_to_frozen": "similarity to f_p",
    "similarity_to_untrained": "similarity to untrained",
    "effective_rank": "effective rank",
}
BATCH = ("penalty", "similarity")  # logged of mini-batches: as faint as they are noisy


@svg
def self_assl_chart(results: Mapping[str, Any]) -> "Figure | None":
    """From plain to Self-ASSL, a line per pool and a panel per backbone.

    Hollow: plain; filled: Self-ASSL; a cross: the second run without the penalty; the bar: the
    interval of the difference, from the plain accuracy; dashed: from scratch.
    """
    groups = [
        (group, rows)
        for group in backbones(results)
        if (rows := [row for row in group["rows"] if _both(row)])
    ]
    if not groups:
        return None
    heights = [len(rows) for _, rows in groups]
    figure = canvas(8.4, 0.5 + sum(0.9 + 0.4 * n for n in heights))
    axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)
    for ax, (group, rows) in zip(axes.ravel(), groups, strict=True):
        _dumbbells(ax, group, rows)
    axes[-1, 0].set_xlabel("test accuracy (%)")
    _legend(figure, groups)
    return figure


def _both(row: Mapping[str, Any]) -> bool:
    return all(known((row.get(key) or {}).get("accuracy")) for key in ("plain", "self_assl"))


def _dumbbells(ax: "Axes", group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    for y, row in enumerate(rows):
        tint = colour(row["pool"][-1])
        plain, after = (100 * row[key]["accuracy"] for key in ("plain", "self_assl"))
        if interval := ends(row):
            low, high = (plain + 100 * end for end in interval)
            ax.plot([low, high], [y, y], color=tint, alpha=0.22, linewidth=7, solid_capstyle="butt")
        ax.plot([plain, after], [y, y], color=tint, linewidth=1.8)
        ax.plot(plain, y, "o", markersize=7, color=tint, markerfacecolor="white", zorder=3)
        ax.plot(after, y, "o", markersize=7, color=tint, zorder=4)
        second = (row.get("second_run") or {}).get("accuracy")
        if second is not None and known(second):
            ax.plot(100 * second, y, "x", markersize=6, color=INK, markeredgewidth=1.2, zorder=5)
        beside = ax.get_yaxis_transform()
        ax.text(1.02, y, difference_text(row), va="center", fontsize=8, transform=beside)
    scratch = (group.get("scratch") or {}).get("accuracy")
    if scratch is not None and known(scratch):
        ax.axvline(100 * scratch, color=GREY, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [display_pool(row["pool"]) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_title(display_backbone(group["backbone"]))
    ax.grid(axis="y", visible=False)


def _legend(figure: "Figure", groups: Sequence[tuple[Any, Sequence[Mapping[str, Any]]]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = [row for _, rows in groups for row in rows]
    dot: dict[str, Any] = {"color": GREY, "linestyle": "none", "marker": "o"}
    keys: list[Any] = [Line2D([], [], **dot, mfc="white", label="plain")]
    keys.append(Line2D([], [], **dot, label="Self-ASSL"))
    if any(known((row.get("second_run") or {}).get("accuracy")) for row in rows):
        second: dict[str, Any] = {"color": INK, "linestyle": "none", "marker": "x"}
        keys.append(Line2D([], [], **second, label="second run"))
    if any(ends(row) for row in rows):
        keys.append(Patch(color=GREY, alpha=0.3, linewidth=0, label="95 % of the difference"))
    if any(known((group.get("scratch") or {}).get("accuracy")) for group, _ in groups):
        keys.append(Line2D([], [], color=GREY, linestyle="--", label="from scratch"))
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))


Curves = dict[str, dict[str, dict[str, list[tuple[float, float]]]]]


def _curves(metrics: Sequence[Mapping[str, Any]], backbone: str) -> Curves:
    """Points by pool, variant and quantity, of the pretrainings of one backbone."""
    curves: Curves = {}
    for r in record.latest(metrics):
        where, pool, variant = parted(r["label"])
        if r["kind"] != "pretrain" or where != backbone or not variant:
            continue
        for quantity in QUANTITIES:
            if known(r.get(quantity)):
                of = curves.setdefault(pool, {}).setdefault(variant, {})
                of.setdefault(quantity, []).append((r["step"], r[quantity]))
    return curves


def curve_backbones(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """The backbones that there are curves for; "" where a run has one."""
    labels = (parted(r["label"]) for r in metrics if r["kind"] == "pretrain")
    return list(dict.fromkeys(backbone for backbone, _, variant in labels if variant))


@svg
def self_assl_curves(metrics: Sequence[Mapping[str, Any]], backbone: str = "") -> "Figure | None":
    """Penalty, similarities and effective rank over steps: a row per pool.

    In colour: Self-ASSL; dotted: the second run without the penalty. Of what is logged for
    mini-batches the moving mean is drawn over the values; the rest is of held-out images.
    """
    curves = _curves(metrics, backbone)
    shown = [
        quantity
        for quantity in QUANTITIES
        if any(quantity in of for variants in curves.values() for of in variants.values())
    ]
    if not shown:
        return None
    figure = canvas(max(4.2, 2.35 * len(shown)), 0.6 + 1.75 * len(curves))
    axes = figure.subplots(len(curves), len(shown), squeeze=False, sharex="row")
    for row, (pool, variants) in zip(axes, curves.items(), strict=True):
        for ax, quantity in zip(row, shown, strict=True):
            for variant, of in variants.items():
                if quantity in of:
                    _draw(ax, of[quantity], pool, variant, quantity)
            ax.tick_params(labelsize=8)
            ax.locator_params(nbins=4)
        row[0].set_ylabel(display_label(pool), fontsize=9)
    for ax, quantity in zip(axes[0], shown, strict=True):
        ax.set_title(QUANTITIES[quantity], fontsize=9)
    figure.supxlabel("step", fontsize=9)
    return figure


def _draw(ax: "Axes", points: list[Any], pool: str, variant: str, quantity: str) -> None:
    steps, values = np.array(points, dtype=float).T
    ours = variant == "self_assl"
    style: dict[str, Any] = {"color": colour(pool)} if ours else {"color": INK, "linestyle": ":"}
    if quantity in BATCH:
        ax.plot(*thinned(steps, values), alpha=0.25, linewidth=0.8, color=style["color"])
        values = moving_mean(values, max(1, math.ceil(len(values) / 12)))
    else:
        style["marker"], style["markersize"] = "o", 2.5
    ax.plot(*thinned(steps, values), linewidth=1.5, **style)
