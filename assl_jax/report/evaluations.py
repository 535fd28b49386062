"""What a run evaluated, and the metric that its selection looks at."""

from typing import NamedTuple

from assl_jax.evaluation.scores import METRICS, on_test_set
from assl_jax.evaluation.uncertainty import student
from assl_jax.records import (
    Estimate,
    Evaluation,
    Extension,
    Network,
    Results,
    Search,
    SelfASSLGroup,
)
from assl_jax.report import forms
from assl_jax.report.names import SCRATCH, START, Label
from assl_jax.words import say

NO_GAIN = 5e-4  # a smaller gain prints as 0.0 points
SMALL = 200  # patients; with fewer, a 95 % interval is wider than most gains


class Tested(NamedTuple):
    """A network that was tested, and how good it is."""

    label: Label
    evaluation: Evaluation


def shown_metric(results: Results) -> str:
    """The metric of the test set in headlines and charts.

    It is the one that selection looks at, or the accuracy if that one is no share of 1.
    """
    return on_test_set(results.metric)


def named_metric(results: Results) -> str:
    """The title of `shown_metric`; "" for the accuracy, the default."""
    shown = shown_metric(results)
    return "" if shown == "accuracy" else METRICS[shown].title


def deciding_metric(results: Results) -> str:
    """The title of the metric that selection looks at; "" for the accuracy."""
    return "" if results.metric == "accuracy" else METRICS[results.metric].title


def test_set(results: Results) -> str:
    """The size of the test set, for every table and figure of test results."""
    if results.patients is None:
        return say("test_set", images=results.test_images)
    return say("test_set.patients", images=results.test_images, patients=results.patients)


def spread(results: Results) -> str:
    """What stands after "±" in tables of test results."""
    tested = (score(results, network.evaluation) for network in every_network(results))
    repeated = any(estimate.pretrainings for estimate in tested if estimate)
    return say("spread.pretrainings" if repeated else "spread")


def nothing_beat_scratch(results: Results) -> bool:
    """Whether networks were pretrained, and none is better on the test set than from scratch."""
    tested = [(t.label, score(results, t.evaluation)) for t in every_network(results)]
    base = {label.backbone: e.mean for label, e in tested if e and not label.pool}
    gains = [
        e.mean - base[label.backbone]
        for label, e in tested
        if e and label.pool and label.backbone in base
    ]
    return bool(gains) and max(gains) < NO_GAIN


def within_noise(gain: Estimate) -> bool:
    """Whether a difference may be due to the choice of test images, or of fine-tunings.

    So it is if its 95 % interval over the test images contains 0 or has no width, or if it is
    smaller than two standard errors over the fine-tunings. Over pretrainings, the quantile of
    Student's t replaces the two.
    """
    interval = forms.ends(gain)
    if interval is None or interval[0] <= 0 <= interval[1]:
        return True
    errors = student(len(gain.pretrainings)) if gain.pretrainings else 2
    return gain.error is not None and abs(gain.mean) < errors * gain.error


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


def kept(results: Results) -> Label | None:
    """The label of the network that the run ends with."""
    return Label.of(results.best.network) if results.best else None


def title_of(results: Results, label: Label) -> str:
    """A network's title; that of start weights says what they are."""
    start = results.start_weights
    if label.variant != START.variant or start is None:
        return label.title
    return f"{label.title} ({start.title or start.source})"


def overview(results: Results) -> list[Tested]:
    """Networks without pretraining, every single task, what the rounds trained, and the kept."""
    found = {SCRATCH: results.scratch} if results.scratch else {}
    if results.start:
        found[START] = results.start
    found |= {Label.trained(task): single for task, single in results.singles.items()}
    if results.search:
        standings = {s.network: s.evaluation for s in results.search.standings}
        moves = [move.network for each in results.search.rounds for move in each.moves]
        for network in (*moves, *standings):
            found.setdefault(Label.of(network), standings[network])
    label = kept(results)
    if results.best and label:
        found.setdefault(label, results.best.evaluation)
    return [Tested(label, evaluation) for label, evaluation in found.items()]


def further(search: Search) -> list[tuple[Network, Network]]:
    """Each network of a search, and what goes on from it or is its student."""
    moves = [(move.start, move.network) for each in search.rounds for move in each.moves]
    students = [s.network for s in search.standings if s.network.objective == "student"]
    return moves + [(teacher, each) for each in students for teacher in each.teachers]


def tried(results: Results) -> list[Extension]:
    """Every extension of a pool that Algorithm 1 looked at."""
    return [candidate for step in results.iterations for candidate in step.candidates]


def every_network(results: Results, *, candidates: bool = True) -> list[Tested]:
    """Every network that was tested, each once, with or without the pools that a search tried."""
    found = dict(overview(results))
    for extension in (*(tried(results) if candidates else ()), *results.pairs):
        if extension.evaluation:
            found.setdefault(Label.trained(*extension.members), extension.evaluation)
    networks = [Tested(label, evaluation) for label, evaluation in found.items()]
    groups = self_assl_groups(results)
    for group in groups:
        backbone = group.backbone if len(groups) > 1 else ""
        networks.append(Tested(SCRATCH._replace(backbone=backbone), group.scratch))
        if group.start:
            networks.append(Tested(START._replace(backbone=backbone), group.start))
        networks += [
            Tested(Label(row.pool, variant, backbone), evaluation)
            for row in group.rows
            for variant, evaluation in row.evaluations.items()
        ]
    return networks
