"""Every metric of the test set, with its interval, and the confusions."""

from functools import partial

from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.records import Results
from assl_jax.report import confusion, forms, glyphs
from assl_jax.report.columns import Column, estimated, tabulate
from assl_jax.report.evaluations import (
    SMALL,
    Tested,
    every_network,
    kept,
    named_metric,
    spread,
    test_set,
    title_of,
)
from assl_jax.report.names import capitalised
from assl_jax.report.record import RunRecord
from assl_jax.report.words import say
from assl_jax.sections import Figure, Folded, Part, Section, Shown, Table, Text


def section(run: RunRecord) -> Section:
    """The table and the confusions, folded where an experiment has its own tables."""
    results = run.results
    parts: list[Part | None] = [metrics_table(results), _confusions(results)]
    lines = Text(tuple(metric_lines(results)), shown=Shown.TERMINAL)
    if results.pairs or results.self_assl:
        parts = [Folded(tuple(filter(None, parts)), say("metrics.every"), shown=Shown.FILES)]
    return Section.of(say("metrics.title"), *parts, lines)


def metrics_table(results: Results) -> Table | None:
    """A row for each network, a column for each metric; None if nothing was tested.

    The best value of each column is strong. If learning rates were chosen, they are a column.
    """
    networks = every_network(results, candidates=False)
    measured = [name for name in shares() if any(name in n.evaluation.metrics for n in networks)]
    if not measured:
        return None
    columns = [
        Column(say("head.pretraining"), lambda network: title_of(results, network.label)),
        *(_column(name) for name in measured),
    ]
    caption = say("metrics.caption", spread=spread(results), test_set=test_set(results))
    if any(forms.interval(n.evaluation.metrics.get(name)) for n in networks for name in measured):
        known = "metrics.interval" if results.patients else "metrics.interval.images"
        caption += say(known, units=_units(results))
    if any(network.evaluation.learning_rate for network in networks):
        columns.append(Column(say("metrics.head.rate"), _rate))
        caption += say("metrics.rates")
    return tabulate(
        caption,
        columns,
        [networks],
        opens=False,
        verdict=lambda network: "chosen" if network.label == kept(results) else "",
        sortable=True,
    )


def _column(name: str) -> Column:
    return estimated(
        capitalised(METRICS[name].title),
        lambda network: network.evaluation.metrics.get(name),
        forms.tenths,
        show=forms.with_interval,
        higher_is_better=METRICS[name].higher_is_better,
    )


def _rate(network: Tested) -> str:
    rate = network.evaluation.learning_rate
    return format(rate, "g") if rate else forms.DASH


def metric_lines(results: Results) -> list[str]:
    """The metrics of the best pool and of scratch, a line each, for the end of a run.

    Empty unless the accuracies alone may mislead: the search decides on another metric, or the
    test set has fewer than `SMALL` patients (images, if patients are not known).
    """
    small = (results.patients or results.test_images) < SMALL
    label = kept(results)
    if results.best is None or label is None or not (small or named_metric(results)):
        return []
    best = results.best.evaluation.metrics
    scratch = results.scratch.metrics if results.scratch else {}
    brackets = any(map(forms.interval, best.values()))
    key = "metrics.summary.interval" if brackets else "metrics.summary"
    lines = [say(key, title=title_of(results, label), units=_units(results))]
    for name in (name for name in shares() if name in best):
        lines.append(
            say(
                "metrics.line.scratch" if name in scratch else "metrics.line",
                metric=capitalised(METRICS[name].title),
                score=forms.with_interval(best[name]),
                scratch=forms.with_interval(scratch.get(name)),
            )
        )
    return lines


def _confusions(results: Results) -> Figure | None:
    matrices = confusion.confusions(results)
    if not matrices:
        return None
    parts = []
    for title, counts in matrices.items():
        right = zip(results.classes, confusion.shares(counts).diagonal(), strict=True)
        words = [
            say("confusion.share", name=name, percent=forms.percent(share, digits=0))
            for name, share in right
        ]
        parts.append(f"{title}: {', '.join(words)}")
    notes = [say("confusion.note", test_set=test_set(results)), glyphs.note(results.classes)]
    draw = partial(confusion.confusion_chart, results)
    return Figure(
        draw, say("confusion.alt", values="; ".join(parts)), notes=tuple(filter(None, notes))
    )


def _units(results: Results) -> str:
    """The units that the bootstrap draws, and their number."""
    if results.patients:
        return say("units.patients", number=results.patients)
    return say("units.images", number=results.test_images)
