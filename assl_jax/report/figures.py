"""Charts as SVG text and example images as PNG text, for embedding in a page."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assl_jax.report import planes, record
from assl_jax.report.metrics_table import decides, score
from assl_jax.report.record import (
    GREY,
    INK,
    colour,
    display,
    display_label,
    display_pool,
)
from assl_jax.report.svg import canvas, known, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@svg
def similarity_heatmap(similarity: Mapping[str, Any]) -> "Figure | None":
    """The similarity matrix, its numbers in the cells; the diagonal, always 1, is left grey."""
    if not similarity.get("tasks"):
        return None
    names = [display(task) for task in similarity["tasks"]]
    k = len(names)
    matrix = np.array(similarity["matrix"], dtype=float)
    shown = np.ma.masked_where(np.eye(k, dtype=bool) | ~np.isfinite(matrix), matrix)
    top = float(shown.max()) if shown.count() else 1.0
    figure = canvas(2.4 + 0.75 * k, 1.2 + 0.6 * k)
    ax = figure.subplots()
    ax.set_facecolor("#eeeeee")
    image = ax.imshow(shown, cmap="Blues", vmin=0.0, vmax=max(top, 1e-6), aspect="auto")
    for i, j in np.ndindex(k, k):
        if math.isfinite(matrix[i, j]):
            dark = i != j and matrix[i, j] > 0.6 * top
            ink = "white" if dark else GREY if i == j else INK
            ax.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=ink)
    ax.set_xticks(range(k), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(k), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    if shown.count():
        bar = figure.colorbar(image, ax=ax, label="similarity", pad=0.02)
        bar.outline.set_visible(False)
    return figure


def _accuracy_rows(
    results: Mapping[str, Any],
) -> list[tuple[tuple[str, ...], Mapping[str, Any], str]]:
    """Pool, figures and place on the search path of everything that was tested."""
    iterations = results.get("iterations") or []
    start = list(iterations[0]["pool"]) if iterations else []
    rows: list[tuple[tuple[str, ...], Mapping[str, Any], str]] = []
    if results.get("scratch"):
        rows.append((("scratch",), results["scratch"], ""))
    for task, single in (results.get("singles") or {}).items():
        rows.append(((task,), single, "accepted" if [task] == start else ""))
    for step in iterations:
        verdict = "accepted" if step.get("accepted") else "stopped"
        for candidate in sorted(step["candidates"], key=record.by_similarity):
            task = candidate["task"]
            place = verdict if task == step.get("chosen") else ""
            rows.append(((*step["pool"], task), candidate, place))
    for pair in sorted(results.get("pairs") or [], key=record.by_similarity):
        rows.append((tuple(pair["pool"]), pair, ""))
    best = results.get("best")
    if best and tuple(best["pool"]) not in [pool for pool, *_ in rows]:
        rows.append((tuple(best["pool"]), best, "accepted"))
    return [row for row in rows if known(score(results, row[1])[0])]


@svg
def accuracy_chart(results: Mapping[str, Any]) -> "Figure | None":
    """Test accuracies with their standard deviations and runs, and the search's path through them.

    Circles are single tasks, diamonds pools in the colour of the task they add, hollow when they
    were not accepted; pairs stand in the order of their similarity. The small dots below are the
    repeated fine-tunings. Where the search decides on another metric, that one is drawn, without
    the runs.
    """
    rows = _accuracy_rows(results)
    if not rows:
        return None
    metric = decides(results)
    figure = canvas(8.4, 1.3 + 0.34 * len(rows))
    ax = figure.subplots()
    path: list[tuple[float, int, str]] = []
    for y, (pool, entry, place) in enumerate(rows):
        tint = colour(pool[-1])
        mean, std = score(results, entry)
        x = 100 * mean
        runs = [100 * run for run in entry.get("runs") or [] if known(run) and not metric]
        ax.scatter(runs, [y + 0.28] * len(runs), s=9, color=tint, alpha=0.5, linewidths=0)
        if known(std):
            ax.errorbar(x, y, xerr=100 * std, color=tint, capsize=3, linewidth=1)
        single = len(pool) == 1
        face = tint if single or place == "accepted" else "white"
        marker = "o" if single else "D"
        ax.plot(x, y, marker, markersize=7, color=tint, markerfacecolor=face, zorder=4)
        if place:
            path.append((x, y, place))
    for (x0, y0, _), (x1, y1, place) in zip(path, path[1:], strict=False):
        line = "-" if place == "accepted" else ":"
        ax.plot([x0, x1], [y0, y1], line, color=INK, linewidth=1.3, zorder=3)
    if rows[0][0] == ("scratch",):
        ax.axvline(100 * score(results, rows[0][1])[0], color=GREY, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [display_pool(pool) for pool, *_ in rows])
    for tick, (*_, place) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if place == "accepted" else "normal")
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(f"test {metric or 'accuracy'} (%)")
    ax.grid(axis="y", visible=False)
    if len(path) > 1:
        _path_legend(figure)
    return figure


def _path_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=INK, label="search path"),
        Line2D([], [], color=INK, linestyle=":", label="stopped"),
        Line2D([], [], color=GREY, linestyle="none", marker="D", label="accepted pool"),
        Line2D([], [], color=GREY, linestyle="none", marker="D", mfc="white", label="other pool"),
    ]
    figure.legend(handles=keys, loc="outside upper right", ncols=4)


@svg
def time_chart(stages: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Time per label, its kinds of stages in shades of one bar, with their images per second."""
    from matplotlib.patches import Patch

    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for stage in stages:
        if known(stage.get("seconds")):
            kinds = groups.setdefault(stage["label"], {})
            kinds.setdefault(stage["kind"], []).append(stage)
    if not groups:
        return None
    seconds = {
        label: {kind: sum(s["seconds"] for s in group) for kind, group in kinds.items()}
        for label, kinds in groups.items()
    }
    longest = max(sum(kinds.values()) for kinds in seconds.values())
    scale, unit = (60.0, "minutes") if longest > 600 else (1.0, "seconds")
    order = dict.fromkeys(stage["kind"] for stage in stages)
    shades = {kind: 0.55**i for i, kind in enumerate(order)}
    figure = canvas(8.4, 1.2 + 0.3 * len(groups))
    ax = figure.subplots()
    for y, (label, spent) in enumerate(seconds.items()):
        left = 0.0
        for kind, time in spent.items():
            width, tint = time / scale, colour(label)
            ax.barh(y, width, 0.62, left, color=tint, alpha=shades[kind], linewidth=0)
            left += width
        speeds = [(kind, _speed(group)) for kind, group in groups[label].items()]
        words = [f"{left:,.1f} {'s' if scale == 1 else 'min'}"]
        words += [f"{kind} {speed}" for kind, speed in speeds if speed]
        beside = ax.get_yaxis_transform()
        ax.text(1.02, y, " · ".join(words), va="center", fontsize=8, transform=beside)
    ax.set_yticks(range(len(groups)), [display_label(label) for label in groups], fontsize=9)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlim(0, 1.02 * longest / scale or 1.0)
    ax.set_xlabel(unit)
    ax.grid(axis="y", visible=False)
    keys = [Patch(color=INK, alpha=a, linewidth=0, label=kind) for kind, a in shades.items()]
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))
    return figure


def _speed(group: Sequence[Mapping[str, Any]]) -> str:
    """Images per second over all stages of a group, or ""."""
    timed = [s for s in group if known(s.get("images_per_s"))]
    spent = sum(s["seconds"] for s in timed)
    images = sum(s["images_per_s"] * s["seconds"] for s in timed)
    return f"{images / spent:,.0f} images/s" if spent else ""


def example_images(image: np.ndarray, views: np.ndarray) -> tuple[str, str]:
    """One original `[*space, c]` and its `[v, *space, c]` views, side by side, as base64 PNGs.

    A volume is a column of its three middle slices (see `assl_jax.report.planes`).
    """
    return _png(planes.tile(image)), _png(planes.strip(views))


def _png(picture: np.ndarray) -> str:
    """`[h, w, c + 1]` in [0, 1] as a base64 PNG; the last channel, alpha, only where it is used."""
    from PIL import Image

    levels = (np.nan_to_num(picture).clip(0, 1) * 255).round().astype(np.uint8)
    levels = levels[..., :-1] if (levels[..., -1] == 255).all() else levels
    out = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")
