"""The penalty of Self-ASSL over training, and what it changes."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from assl_jax.records import LogRecord, Pool
from assl_jax.report.colours import INK
from assl_jax.report.curves import Points, draw_curve
from assl_jax.report.names import Labels, backbone_title, pool_title
from assl_jax.report.record import RunRecord, latest
from assl_jax.report.svg import Canvas, canvas, known, svg
from assl_jax.sections import Figure, Part
from assl_jax.tasks import describe
from assl_jax.words import say

# Logged values with curves: those of mini-batches, which are noisy, and of held-out images.
BATCH = ("penalty", "similarity")
QUANTITIES = (*BATCH, "similarity_to_frozen", "similarity_to_untrained", "effective_rank")
SECOND = ("second_run", "self_assl")  # variants
Curves = dict[tuple[str, str], Points]  # by variant and quantity


def parts(run: RunRecord) -> Iterator[Part]:
    """The curves of the penalty and of what it changes, a figure for each backbone."""
    backbones = curve_backbones(run.labels)
    for backbone in backbones:
        title = backbone_title(backbone) if backbone else ""
        draw = partial(self_assl_curves, run.metrics, run.labels, backbone)
        notes = (say("penalty.note"),) if backbone == backbones[-1] else ()
        yield Figure(draw, say("penalty.alt", backbone=title), title, notes)


def curve_backbones(labels: Labels) -> list[str]:
    """The backbones that have curves; "" if the run has one backbone."""
    second = (label.backbone for label in labels.values() if label.variant in SECOND)
    return list(dict.fromkeys(second))


@svg
def self_assl_curves(
    metrics: Sequence[LogRecord], labels: Labels, backbone: str = ""
) -> Canvas | None:
    """Penalty, similarities and effective rank over steps: a row for each pool.

    Coloured lines are Self-ASSL, dotted ones the second run without the penalty. Values of
    mini-batches are drawn with their moving mean. The other values are of held-out images.
    """
    pools = _curves(metrics, labels, backbone)
    logged = {quantity for curves in pools.values() for _, quantity in curves}
    shown = [quantity for quantity in QUANTITIES if quantity in logged]
    if not shown:
        return None
    width, height, n = max(4.2, 2.35 * len(shown)), 0.6 + 1.75 * len(pools), len(shown)
    figure, axes = canvas(width, height, len(pools), n, sharex="row")
    for i, (pool, curves) in enumerate(pools.items()):
        panels = dict(zip(shown, axes[i * n : (i + 1) * n], strict=True))
        for (variant, quantity), points in curves.items():
            own = variant == "self_assl"
            look: dict[str, Any] = {"linestyle": "-" if own else ":", "linewidth": 1.5}
            look |= {} if quantity in BATCH else {"marker": "o", "markersize": 2.5}
            tint = describe(pool[-1]).colour if own else INK
            draw_curve(panels[quantity], points, tint, smooth=quantity in BATCH, **look)
        for ax in panels.values():
            ax.tick_params(labelsize=8)
            ax.locator_params(nbins=4)
        axes[i * n].set_ylabel(pool_title(pool), fontsize=9)
    for ax, quantity in zip(axes, shown, strict=False):
        ax.set_title(say(f"curve.{quantity}"), fontsize=9)
    figure.supxlabel(say("step"), fontsize=9)
    return figure


def _curves(metrics: Sequence[LogRecord], labels: Labels, backbone: str) -> dict[Pool, Curves]:
    """The curves of each pool, from the pretrainings of one backbone."""
    pools: dict[Pool, Curves] = {}
    for record in latest(metrics):
        label = labels[record.label]
        if record.kind != "pretrain" or label.backbone != backbone or label.variant not in SECOND:
            continue
        for quantity in QUANTITIES:
            if known(value := record.values.get(quantity)):
                curves = pools.setdefault(label.pool, {})
                curves.setdefault((label.variant, quantity), []).append((record.step, value))
    return pools
