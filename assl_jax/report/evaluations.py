"""What a run evaluated, and the metric that its selection looks at."""

from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Estimate, Evaluation, Pool, Results, SelfASSLGroup
from assl_jax.report.names import Label

SMALL = 200  # patients; with fewer, a 95 % interval is wider than most gains


class Tested(NamedTuple):
    """A network that was tested.

    Attributes:
      label: its backbone, pool and variant; the backbone is "" if the run has only one.
      evaluation: how good it is.
    """

    label: Label
    evaluation: Evaluation


def shown_metric(results: Results) -> str:
    """The metric of the test set in headlines and charts.

    It is the one that selection looks at, or the accuracy if that one is no share of 1.
    """
    return results.metric if METRICS[results.metric].share else "accuracy"


def named_metric(results: Results) -> str:
    """The title of `shown_metric`; "" for the accuracy, the default."""
    shown = shown_metric(results)
    return "" if shown == "accuracy" else METRICS[shown].title


def deciding_metric(results: Results) -> str:
    """The title of the metric that selection looks at; "" for the accuracy."""
    return "" if results.metric == "accuracy" else METRICS[results.metric].title


def score(results: Results, evaluation: Evaluation | None) -> Estimate | None:
    """On the test set, the `shown_metric`; None if it was not measured."""
    return evaluation.metrics.get(shown_metric(results)) if evaluation else None


def decided_on(results: Results, evaluation: Evaluation | None) -> float | None:
    """The value that the search compares: of the cross-validation, or of the test set."""
    if evaluation is None:
        return None
    on_test = results.select_on == "test"
    estimate = evaluation.metrics.get(results.metric) if on_test else evaluation.selection
    return estimate.mean if estimate else None


def self_assl_groups(results: Results) -> tuple[SelfASSLGroup, ...]:
    """The backbones of a comparison with and without Self-ASSL; empty for other experiments."""
    return results.self_assl.backbones if results.self_assl else ()


def overview(results: Results) -> dict[Pool, Evaluation]:
    """Scratch (the empty pool), every single task and the best pool."""
    found: dict[Pool, Evaluation] = {(): results.scratch} if results.scratch else {}
    found |= {(task,): single for task, single in results.singles.items()}
    if results.best:
        found.setdefault(results.best.pool, results.best.evaluation)
    return found


def every_network(results: Results, *, candidates: bool = True) -> list[Tested]:
    """Every network that was tested, each once.

    Args:
      results: of a run.
      candidates: include the pools that the search tried.
    """
    pools = overview(results)
    tried = [c for step in results.iterations for c in step.candidates] if candidates else []
    for extension in (*tried, *results.pairs):
        if extension.evaluation:
            pools.setdefault(extension.members, extension.evaluation)
    networks = [Tested(Label("", pool), evaluation) for pool, evaluation in pools.items()]
    groups = self_assl_groups(results)
    for group in groups:
        backbone = group.backbone if len(groups) > 1 else ""
        networks.append(Tested(Label(backbone, ()), group.scratch))
        networks += [
            Tested(Label(backbone, row.pool, variant), evaluation)
            for row in group.rows
            for variant, evaluation in row.evaluations.items()
        ]
    return networks
