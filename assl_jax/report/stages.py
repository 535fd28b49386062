"""How long each stage took, and its memory."""

from collections.abc import Iterator, Sequence
from functools import partial

from assl_jax.records import StageRecord
from assl_jax.report import forms
from assl_jax.report.colours import INK
from assl_jax.report.columns import Column, tabulate
from assl_jax.report.names import Labels, stage_title
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Canvas, beside, canvas, legend, name_rows, svg
from assl_jax.sections import Figure, Folded, Part, Shown, Table
from assl_jax.training.memory import GIB
from assl_jax.words import say

# Field of `StageRecord`: divisor and number format.
QUANTITIES = {
    "seconds": (1, ",.1f"),
    "images_per_s": (1, ",.0f"),
    "peak_host_bytes": (GIB, ".2f"),
    "peak_device_bytes": (GIB, ".2f"),
}
MINUTES = 600  # seconds; a longer bar is in minutes


def parts(run: RunRecord) -> Iterator[Part]:
    """The chart, and its numbers below it."""
    if table := stages_table(run.stages, run.labels):
        words = {"seconds": sum(s.seconds for s in run.stages), "stages": len(run.stages)}
        yield Figure(partial(time_chart, run.stages, run.labels), say("time.alt", **words))
        yield Folded((table,), say("time.table"))


def stages_table(stages: Sequence[StageRecord], labels: Labels) -> Table | None:
    """Time, throughput and peak memory of each stage, in the order they ran; None without stages.

    A value that was not measured is a dash. A quantity that no stage has, such as device memory on
    a CPU, has no column.
    """

    def text(stage: StageRecord, field: str) -> str:
        unit, form = QUANTITIES[field]
        value = getattr(stage, field)
        return forms.DASH if value is None else format(value / unit, form)

    columns = [
        Column(say("head.network"), lambda stage: labels[stage.label].title),
        Column(say("time.head.stage"), lambda stage: stage_title(stage.kind)),
    ]
    for field in QUANTITIES:
        if any(getattr(stage, field) is not None for stage in stages):
            columns.append(Column(say(f"time.head.{field}"), partial(text, field=field)))
    return tabulate(say("time.caption"), columns, [stages], names=2, opens=False, shown=Shown.PAGE)


@svg
def time_chart(stages: Sequence[StageRecord], labels: Labels) -> Canvas | None:
    """Time per label, its kinds of stages in shades of one bar, with their images per second."""
    groups: dict[str, dict[str, list[StageRecord]]] = {}
    for stage in stages:
        groups.setdefault(stage.label, {}).setdefault(stage.kind, []).append(stage)
    if not groups:
        return None
    longest = max(sum(s.seconds for s in stages if s.label == label) for label in groups)
    scale, unit, form = (60, "minutes", "min") if longest > MINUTES else (1, "seconds", "s")
    shades = {kind: 0.55**i for i, kind in enumerate(dict.fromkeys(s.kind for s in stages))}
    figure, (ax,) = canvas(8.4, 1.2 + 0.3 * len(groups))
    for y, (label, kinds) in enumerate(groups.items()):
        left, words = 0.0, []
        for kind, group in kinds.items():
            width, tint = sum(s.seconds for s in group) / scale, labels[label].colour
            ax.barh(y, width, 0.62, left, color=tint, alpha=shades[kind], linewidth=0)
            left += width
            words += [f"{stage_title(kind)} {speed}"] if (speed := images_per_second(group)) else []
        beside(ax, y, " · ".join([say(f"time.{form}", time=left), *words]))
    name_rows(ax, [labels[label].title for label in groups], fontsize=9)
    ax.set_xlim(0, 1.02 * longest / scale or 1.0)
    ax.set_xlabel(say(f"time.{unit}"))
    legend(figure, {stage_title(k): {"color": INK, "alpha": a} for k, a in shades.items()})
    return figure


def images_per_second(stages: Sequence[StageRecord]) -> str:
    """The throughput over all stages that measured it, or ""."""
    timed = [(s.images_per_s, s.seconds) for s in stages if s.images_per_s is not None]
    spent = sum(seconds for _, seconds in timed)
    return say("time.speed", speed=sum(n * s for n, s in timed) / spent) if spent else ""
