"""Every metric of the test set, with its interval."""

from assl_jax.evaluation.scores import METRICS, shares
from assl_jax.records import Results
from assl_jax.report import forms
from assl_jax.report.evaluations import (
    SMALL,
    every_network,
    kept,
    named_metric,
    spread,
    test_set,
    title_of,
)
from assl_jax.report.names import capitalised
from assl_jax.report.table import Cell, Row, Table


def metrics_table(results: Results) -> Table | None:
    """A row for each network, a column for each metric; None if nothing was tested.

    The best value of each column is strong. If learning rates were chosen, they are a column.
    """
    networks = every_network(results, candidates=False)
    metrics = {
        name: [network.evaluation.metrics.get(name) for network in networks] for name in shares()
    }
    metrics = {name: estimates for name, estimates in metrics.items() if any(estimates)}
    if not metrics:
        return None
    columns = []
    for name, estimates in metrics.items():
        means = [estimate.mean if estimate else None for estimate in estimates]
        best = forms.winner(means, _percent, higher_is_better=METRICS[name].higher_is_better)
        columns.append(
            [
                Cell(forms.with_interval(estimate), _percent(mean) == best)
                for estimate, mean in zip(estimates, means, strict=True)
            ]
        )
    rates = [network.evaluation.learning_rate for network in networks]
    chosen = any(rates)
    if chosen:
        columns.append([Cell(format(rate, "g") if rate else forms.DASH) for rate in rates])
    rows = tuple(
        Row(
            (Cell(title_of(results, network.label)), *cells),
            verdict="chosen" if network.label == kept(results) else "",
        )
        for network, cells in zip(networks, zip(*columns, strict=True), strict=True)
    )
    caption = f"Test set, in %: {spread(results)}; {test_set(results)}"
    if any(forms.interval(e) for estimates in metrics.values() for e in estimates):
        units = f"{_units(results)} of the test set"
        units += "" if results.patients else "; patients unknown"
        caption += f" [95 % interval of the mean of the runs, by bootstrap over {units}]"
    if chosen:
        caption += ". A cross-validation inside the labelled set chose the learning rates"
    heads = [capitalised(METRICS[name].title) for name in metrics] + ["Learning rate"] * chosen
    return Table(caption, ("Pretraining", *heads), rows)


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
    lines = []
    for name, metric in shares().items():
        if name in best:
            end = f", from scratch {forms.with_interval(scratch[name])}" if name in scratch else ""
            lines.append(f"{capitalised(metric.title)} {forms.with_interval(best[name])}{end}")
    brackets = any(map(forms.interval, best.values()))
    note = f" [95 % interval, by bootstrap over {_units(results)}]" if brackets else ""
    return [f"{title_of(results, label)} on the test set, in %{note}:", *lines]


def _percent(value: float | None) -> str:
    return forms.percent(value, digits=1)


def _units(results: Results) -> str:
    """The units that the bootstrap draws, and their number."""
    patients, images = results.patients, results.test_images
    return f"{patients:,} patients" if patients else f"{images:,} images"
