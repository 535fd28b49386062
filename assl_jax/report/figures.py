"""Charts of a run as SVG text, and example images as PNG text, for embedding in a page."""

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assl_jax.records import Estimate, Evaluation, Pool, Results, Similarity, StageRecord
from assl_jax.report import planes
from assl_jax.report.colours import GREY, INK, ON_SHADE, PANEL, PAPER
from assl_jax.report.evaluations import kept, named_metric, overview, score, test_set
from assl_jax.report.names import (
    STAGES,
    START_LABEL,
    Label,
    label_title,
    pool_colour,
    task_title,
)
from assl_jax.report.pairs import by_similarity
from assl_jax.report.svg import canvas, known, percent_axis, shades, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@svg
def similarity_heatmap(similarity: Similarity | None) -> "Figure | None":
    """The similarity matrix, its numbers in the cells; the diagonal, always 1, is left grey."""
    if similarity is None:
        return None
    titles = [task_title(task) for task in similarity.tasks]
    k = len(titles)
    matrix = np.array(similarity.matrix, float)
    shown = np.ma.masked_where(np.eye(k, dtype=bool) | ~np.isfinite(matrix), matrix)
    top = float(shown.max()) if shown.count() else 1.0
    figure = canvas(2.4 + 0.75 * k, 1.2 + 0.6 * k)
    ax = figure.subplots()
    ax.set_facecolor(PANEL)
    image = ax.imshow(shown, cmap=shades(), vmin=0.0, vmax=max(top, 1e-6), aspect="auto")
    for i, j in np.ndindex(k, k):
        if math.isfinite(matrix[i, j]):
            dark = i != j and matrix[i, j] > 0.6 * top
            ink = ON_SHADE if dark else GREY if i == j else INK
            ax.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=ink)
    ax.set_xticks(range(k), titles, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(k), titles)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    if shown.count():
        bar = figure.colorbar(image, ax=ax, label="similarity", pad=0.02)
        bar.outline.set_visible(False)
    return figure


class Trained(NamedTuple):
    """A row of the chart of accuracies.

    Attributes:
      label: the tasks and the variant; no tasks from scratch.
      estimate: on the test set, the metric that selection looks at.
      verdict: of the search: "accepted", "stopped", or "" off its path.
    """

    label: Label
    estimate: Estimate
    verdict: str


def trained_pools(results: Results) -> list[Trained]:
    """Everything for which the metric was measured, in the order of the chart."""
    start = results.iterations[0].pool if results.iterations else ()
    rows: list[tuple[Pool, Evaluation | None, str]] = [((), results.scratch, "")]
    for task, single in results.singles.items():
        rows.append(((task,), single, "accepted" if (task,) == start else ""))
    for step in results.iterations:
        decision = "accepted" if step.accepted else "stopped"
        for candidate in sorted(step.candidates, key=by_similarity):
            verdict = decision if candidate.task == step.chosen else ""
            rows.append((candidate.members, candidate.evaluation, verdict))
    for pair in sorted(results.pairs, key=by_similarity):
        rows.append((pair.members, pair.evaluation, ""))
    labelled = [(Label("", pool), evaluation, verdict) for pool, evaluation, verdict in rows]
    if results.start:
        labelled.insert(1, (Label("", (), START_LABEL), results.start, ""))
    present = {label for label, *_ in labelled}
    for label, evaluation in overview(results):  # a run of one pool, or the control of a pool
        if label not in present:
            verdict = "accepted" if label == kept(results) else ""
            labelled.append((label, evaluation, verdict))
    found = (
        (label, score(results, evaluation), verdict) for label, evaluation, verdict in labelled
    )
    return [Trained(label, estimate, verdict) for label, estimate, verdict in found if estimate]


@svg
def accuracy_chart(results: Results) -> "Figure | None":
    """Test accuracies with standard deviations and single runs, and the path of the search.

    Circles are single tasks. Diamonds are pools in the colour of the task that they add, hollow
    unless they were accepted. Pairs are in the order of their similarity. The small dots below are
    the repeated fine-tunings. If the search decides on another metric, that one is drawn, without
    the single runs.
    """
    rows = trained_pools(results)
    if not rows:
        return None
    metric = named_metric(results)
    figure = canvas(8.4, 1.3 + 0.34 * len(rows))
    ax = figure.subplots()
    path: list[tuple[float, int, str]] = []
    for y, (label, estimate, verdict) in enumerate(rows):
        tint = pool_colour(label.pool)
        x = 100 * estimate.mean
        runs = [] if metric else [100 * run for run in estimate.runs]
        ax.scatter(
            runs, [y + 0.28] * len(runs), s=9, color=tint, alpha=0.5, linewidths=0, clip_on=False
        )
        if known(estimate.std):
            ax.errorbar(x, y, xerr=100 * estimate.std, color=tint, capsize=3, linewidth=1)
        extended = len(label.pool) > 1
        face = PAPER if extended and verdict != "accepted" else tint
        marker = "D" if extended else "o"
        ax.plot(
            x, y, marker, markersize=7, color=tint, markerfacecolor=face, zorder=4, clip_on=False
        )
        if verdict:
            path.append((x, y, verdict))
    for (x0, y0), (x1, y1, verdict) in _legs(path):
        line = "-" if verdict == "accepted" else ":"
        ax.plot([x0, x1], [y0, y1], line, color=INK, linewidth=1.3, zorder=3)
    if scratch := score(results, results.scratch):
        ax.axvline(100 * scratch.mean, color=GREY, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [row.label.title for row in rows])
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.verdict == "accepted" else "normal")
    ax.set_ylim(len(rows) - 0.4, -0.6)
    percent_axis(ax, f"test {metric or 'accuracy'} (%); {test_set(results)}")
    ax.grid(axis="y", visible=False)
    if len(path) > 1:
        _path_legend(figure)
    return figure


def _legs(
    path: Sequence[tuple[float, int, str]],
) -> list[tuple[tuple[float, int], tuple[float, int, str]]]:
    """Each network on the path with the accepted one before it."""
    legs, accepted = [], path[0][:2] if path else (0.0, 0)
    for x, y, verdict in path[1:]:
        legs.append((accepted, (x, y, verdict)))
        accepted = (x, y) if verdict == "accepted" else accepted
    return legs


def _path_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=INK, label="search path"),
        Line2D([], [], color=INK, linestyle=":", label="stopped"),
        Line2D([], [], color=GREY, linestyle="none", marker="D", label="accepted pool"),
        Line2D([], [], color=GREY, linestyle="none", marker="D", mfc=PAPER, label="other pool"),
    ]
    figure.legend(handles=keys, loc="outside upper right", ncols=4)


@svg
def time_chart(stages: Sequence[StageRecord]) -> "Figure | None":
    """Time per label, its kinds of stages in shades of one bar, with their images per second."""
    from matplotlib.patches import Patch

    groups: dict[str, dict[str, list[StageRecord]]] = {}
    for stage in stages:
        groups.setdefault(stage.label, {}).setdefault(stage.kind, []).append(stage)
    if not groups:
        return None
    seconds = {
        label: {kind: sum(s.seconds for s in group) for kind, group in kinds.items()}
        for label, kinds in groups.items()
    }
    longest = max(sum(kinds.values()) for kinds in seconds.values())
    scale, unit = (60.0, "minutes") if longest > 600 else (1.0, "seconds")
    order = dict.fromkeys(stage.kind for stage in stages)
    shades = {kind: 0.55**i for i, kind in enumerate(order)}
    figure = canvas(8.4, 1.2 + 0.3 * len(groups))
    ax = figure.subplots()
    right_of_axes = ax.get_yaxis_transform()
    for y, (label, spent) in enumerate(seconds.items()):
        left = 0.0
        for kind, time in spent.items():
            width, tint = time / scale, pool_colour(Label.parse(label).pool)
            ax.barh(y, width, 0.62, left, color=tint, alpha=shades[kind], linewidth=0)
            left += width
        speeds = [(kind, images_per_second(group)) for kind, group in groups[label].items()]
        words = [f"{left:,.1f} {'s' if scale == 1 else 'min'}"]
        words += [f"{STAGES[kind]} {speed}" for kind, speed in speeds if speed]
        ax.text(1.02, y, " · ".join(words), va="center", fontsize=8, transform=right_of_axes)
    ax.set_yticks(range(len(groups)), [label_title(label) for label in groups], fontsize=9)
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlim(0, 1.02 * longest / scale or 1.0)
    ax.set_xlabel(unit)
    ax.grid(axis="y", visible=False)
    keys = [Patch(color=INK, alpha=a, linewidth=0, label=STAGES[k]) for k, a in shades.items()]
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))
    return figure


def images_per_second(stages: Sequence[StageRecord]) -> str:
    """The throughput over all stages that measured it, or ""."""
    timed = [(s.images_per_s, s.seconds) for s in stages if s.images_per_s is not None]
    spent = sum(seconds for _, seconds in timed)
    return f"{sum(speed * s for speed, s in timed) / spent:,.0f} images/s" if spent else ""


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
