"""Self-ASSL: Table 4 with its chart, and what shows whether a shortcut satisfied the penalty."""

import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from assl_jax.records import Estimate, Evaluation, Results, SelfASSLGroup, SelfASSLRow
from assl_jax.report import forms, paper
from assl_jax.report.colours import GREY, INK, PAPER
from assl_jax.report.columns import Column, printed, tabulate
from assl_jax.report.evaluations import self_assl_groups, spread, test_set, within_noise
from assl_jax.report.names import START, backbone_title, pool_title
from assl_jax.report.pairs import beside_paper
from assl_jax.report.record import RunRecord
from assl_jax.report.svg import Axes, Canvas, beside, canvas, legend, name_rows, percent_axis, svg
from assl_jax.sections import Figure, Part, Shown, Table, Text
from assl_jax.tasks import describe
from assl_jax.words import WORDS, say

NETWORKS = ("plain", "second_run", "self_assl")  # variants, in the order of the guards
# Fields of a row, and how a value prints.
GUARDS = {"similarity": forms.similar, "untrained": forms.similar, "effective_rank": forms.rank}


def parts(run: RunRecord) -> Iterator[Part | None]:
    """The chart, how certain the differences are, Table 4 and the guards."""
    results = run.results
    if table := self_assl_table(results):
        values = "; ".join(" ".join(cell.text for cell in row.cells[:5]) for row in table.rows)
        draw = partial(self_assl_chart, results)
        yield Figure(draw, say("self_assl.alt", values=values))
    yield Text(tuple(self_assl_lines(results)), shown=Shown.EVERYWHERE)
    yield from beside_paper(table, self_assl_table(results, with_paper=True), guard_table(results))


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


def difference_text(difference: Estimate) -> str:
    """A difference in points, with its interval."""
    found = forms.ends(difference)
    interval = f" [{forms.gain(found[0])}, {forms.gain(found[1])}]" if found else ""
    return forms.gain(difference.mean) + interval


class Method(NamedTuple):
    """A row of Table 4: a pool, or a network without one, which has no row of results."""

    backbone: str
    title: str
    evaluations: dict[str, Evaluation]
    row: SelfASSLRow | None = None
    printed: paper.Improvement | None = None


def self_assl_table(results: Results, *, with_paper: bool = False) -> Table | None:
    """The layout of the paper's Table 4, with the plain second run if there is one; or None.

    The paper's values may follow; the table is None if the paper has none of the rows.
    """
    rank, every = len(results.space), rows_of(results)
    methods = [_methods(rank, group) for group in self_assl_groups(results)]
    if with_paper and not any(each.printed for group in methods for each in group if each.row):
        return None
    second = any(row.second_run for row in every)
    columns = [
        Column(say("head.backbone"), lambda each: each.backbone, once=True),
        Column(say("head.method"), lambda each: each.title),
        _accuracy("self_assl.head.before", "plain"),
        _accuracy("self_assl.head.after", "self_assl"),
        Column(say("self_assl.head.difference"), _difference),
        *([_accuracy("self_assl.head.second", "second_run")] if second else []),
    ]
    if with_paper:
        columns += printed(
            paper.DATA[rank],
            lambda each: each.printed,
            {
                "self_assl.head.before": ("plain", forms.printed),
                "self_assl.head.after": ("self_assl", forms.printed),
                "self_assl.head.difference": ("difference", forms.printed_gain),
            },
        )
    sure = any(forms.ends(row.difference) for row in every)
    caption = say(
        "self_assl.caption",
        spread=spread(results),
        interval=say("self_assl.caption.interval") if sure else "",
        test_set=test_set(results),
        second=say("self_assl.caption.second") if second else "",
    )
    return tabulate(caption, columns, methods, names=2, shown=Shown.EVERYWHERE)


def _methods(rank: int, group: SelfASSLGroup) -> list[Method]:
    backbone = backbone_title(group.backbone)
    scratch = paper.Improvement(paper.SCRATCH[rank, paper.network(group.backbone)], None, None)
    title = say("self_assl.from_scratch")
    methods = [Method(backbone, title, {"plain": group.scratch}, printed=scratch)]
    if group.start:
        methods.append(Method(backbone, START.title, {"plain": group.start}))
    for row in group.rows:
        single = len(row.pool) == 1  # the paper has no others
        values = paper.improvement(rank, group.backbone, row.pool[0]) if single else None
        methods.append(Method(backbone, pool_title(row.pool), row.evaluations, row, values))
    return methods


def _accuracy(head: str, variant: str) -> Column:
    """Accuracies of a variant; the best one with a pool is strong."""

    def accuracy(each: Method) -> Estimate | str | None:
        found = each.evaluations.get(variant)
        value = found.accuracy if found else None
        return value if each.row else forms.mean_std(value)

    return Column(say(head), accuracy)


def _difference(each: Method) -> str:
    return difference_text(each.row.difference) if each.row else forms.DASH


def guard_table(results: Results) -> Table | None:
    """How far f' is from f_p, and whether its features are still useful; None without them."""
    rows = [
        [
            (
                "" if i else backbone_title(group.backbone),
                pool_title(row.pool),
                say(f"network.{variant}"),
                *(form(getattr(row, name).get(variant)) for name, form in GUARDS.items()),
            )
            for variant in NETWORKS
            if variant in row.evaluations
        ]
        for group in self_assl_groups(results)
        for i, row in enumerate(group.rows)
    ]
    heads = ["head.backbone", "head.method", "head.network", *(f"guard.{name}" for name in GUARDS)]
    columns = [Column(say(head), itemgetter(i), once=i < 2) for i, head in enumerate(heads)]
    return tabulate(say("self_assl.guards"), columns, rows, names=3, shown=Shown.EVERYWHERE)


def self_assl_headline(results: Results) -> str:
    """The outcome in one sentence: the average difference, and how many tasks gained clearly."""
    groups = [group for group in self_assl_groups(results) if group.rows]
    parts: list[str] = []
    for i, group in enumerate(groups):
        again = i > 0 and len(group.rows) == len(groups[i - 1].rows)
        words = _gained(group.rows, again=again, first=i == 0)
        if len(self_assl_groups(results)) > 1:
            backbone = backbone_title(group.backbone)
            words = say("self_assl.with", difference=words, backbone=backbone)
        parts.append(words)
    differences = ", ".join(parts) or say("headline.self_assl.nothing")
    return say("headline.self_assl", differences=differences)


def _gained(rows: Sequence[SelfASSLRow], *, again: bool, first: bool) -> str:
    """The average difference over some pools; `again` over as many as said before."""
    found = [row.difference for row in rows]
    sure = [difference for difference in found if not within_noise(difference)]
    points = forms.points(statistics.fmean(each.mean for each in found))
    points = say("self_assl.points", points=points) if first else points
    if len(rows) == 1:
        key = "self_assl.one" if sure else "self_assl.one.noise"
        return say(key, points=points, pool=pool_title(rows[0].pool))
    up, clear = (sum(each.mean > 0 for each in some) for some in (found, sure))
    key = "self_assl.again" if again else "self_assl.several"
    return say(key, points=points, number=len(rows), up=up, clear=clear)


def self_assl_lines(results: Results) -> list[str]:
    """How certain the differences are, what longer training alone gains, and the settings."""
    rows = rows_of(results)
    settings = results.self_assl.settings if results.self_assl else {}
    lines = []
    found = [interval for row in rows if (interval := forms.ends(row.difference))]
    if len(found) > 1:
        up, down = sum(low > 0 for low, _ in found), sum(high < 0 for _, high in found)
        lines.append(say("self_assl.certain", up=up, number=len(found), down=down))
    gained = [
        row.second_run.accuracy.mean - row.plain.accuracy.mean for row in rows if row.second_run
    ]
    if gained:
        key = "self_assl.second.average" if len(gained) > 1 else "self_assl.second"
        lines.append(say(key, points=forms.points(statistics.fmean(gained))))
    elif settings.get("init_from") == "f_p":
        lines.append(say("self_assl.longer"))
    phrases = [phrase for setting in settings.items() if (phrase := _phrase(*setting))]
    if phrases:
        lines.append(say("self_assl.settings", settings=", ".join(phrases)))
    return lines


def _phrase(setting: str, value: Any) -> str:
    """A setting in words; "" if it has none, or is off."""
    if (key := f"setting.{setting}.{value}") in WORDS:
        return say(key)
    if (key := f"setting.{setting}") in WORDS:
        return say(key, value=value) if value or setting == "weight" else ""
    return str(value) if setting in ("sign", "standardise", "use") else ""


def rows_of(results: Results) -> list[SelfASSLRow]:
    """The rows of all backbones."""
    return [row for group in self_assl_groups(results) for row in group.rows]
