"""Metrics of predictions in one table, `METRICS`."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from assl_jax.evaluation.calibration import inverse_temperature, softened

Labels = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "n k"]
Weights = Int[np.ndarray, "n r"]
Values = Float[np.ndarray, " r"]
undefined_is_nan = np.errstate(divide="ignore", invalid="ignore")  # 0 / 0, without a warning


@undefined_is_nan
def accuracy(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Share of the images whose most probable class is the true one."""
    hits = probabilities.argmax(1) == labels
    wrong, right = _sums(hits.astype(np.int64), 2, weights)
    return right / (right + wrong)


@undefined_is_nan
def balanced_accuracy(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean recall of the classes that occur in `labels`; NaN in a draw that lacks one of them."""
    hits, sizes, _ = _by_class(labels, probabilities, weights)
    return (hits / sizes).mean(0)


@undefined_is_nan
def macro_f1(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean F1 of the classes that occur in `labels`; NaN in a draw that lacks one of them.

    The F1 of a class is the harmonic mean of its precision and its recall; 0 without a hit.
    """
    hits, sizes, predicted = _by_class(labels, probabilities, weights)
    f1 = 2 * hits / (sizes + predicted)
    return np.where(sizes > 0, f1, np.nan).mean(0)


@undefined_is_nan
def auc(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Area under the ROC curve: of class 1 of two, else the mean of one class against the rest.

    NaN if `labels` lack a class, and in a draw that lacks one.
    """
    k = probabilities.shape[1]
    if not 1 < len(np.unique(labels)) == k:
        return np.full(weights.shape[1], np.nan)
    curves = [1] if k == 2 else range(k)  # with two classes, both curves have the same area
    each = [_area(labels == c, probabilities[:, c], weights) for c in curves]
    return np.mean(each, axis=0)


@undefined_is_nan
def log_loss(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean negative logarithm of the true class's probability, in nats; at most 27.6 an image."""
    likely = np.take_along_axis(probabilities, labels.reshape(-1, 1), 1)[:, 0]
    losses = -np.log(likely.astype(np.float64).clip(1e-12))
    return losses @ weights / weights.sum(0)


@undefined_is_nan
def calibrated_log_loss(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """The log loss after one temperature has softened the probabilities of all images.

    See `inverse_temperature`, here fitted to the images that are judged. A network that was
    fine-tuned on few labels is often far too sure. A few images then decide its log loss, which
    says little about the features. The temperature is at least 1: a network is not made surer, as
    that would favour one that is right on these few images by luck.
    """
    logits = np.log(probabilities.astype(np.float64).clip(1e-12))
    inverse = inverse_temperature(labels, logits)
    softer = probabilities if inverse == 1 else softened(logits, inverse)
    return log_loss(labels, softer, weights)


class Metric(NamedTuple):
    """A metric of classification.

    Attributes:
      title: for readers, in the form for the middle of a sentence.
      function: from labels `[n]`, probabilities `[n, k]` and weights `[n, r]` to `[r]` values, one
        for each column of the weights. A weight is a whole number: how often the image counts. A
        value that is not defined is NaN.
      higher_is_better: whether a higher value is better.
      share: whether values lie in [0, 1] and are printed in %. Tables of the test set have these
        metrics alone.
    """

    title: str
    function: Callable[[Labels, Probabilities, Weights], Values]
    higher_is_better: bool = True
    share: bool = True

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`."""
        return a > b if self.higher_is_better else a < b


METRICS = {
    "accuracy": Metric("accuracy", accuracy),
    "balanced_accuracy": Metric("balanced accuracy", balanced_accuracy),
    "macro_f1": Metric("macro F1", macro_f1),
    "auc": Metric("AUC", auc),
    "log_loss": Metric("log loss", log_loss, higher_is_better=False, share=False),
    "calibrated_log_loss": Metric(
        "calibrated log loss", calibrated_log_loss, higher_is_better=False, share=False
    ),
}


def on_test_set(name: str) -> str:
    """The metric of the test set: that of the selection, or the accuracy if it is no share of 1."""
    return name if METRICS[name].share else "accuracy"


def shares() -> dict[str, Metric]:
    """The metrics that are shares of 1, by name: those of the tables of the test set."""
    return {name: metric for name, metric in METRICS.items() if metric.share}


def scores(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Every metric of one run by its name in `METRICS`; an undefined metric is left out."""
    once = np.ones((len(labels), 1), np.int32)
    found = {name: float(v[0]) for name, v in measure(labels, [probabilities], once).items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def measure(labels: Labels, runs: Sequence[Probabilities], weights: Weights) -> dict[str, Values]:
    """The mean over runs of each metric, by its name, for every column of `weights`.

    The runs have probabilities of the same images. A column tells how often each image counts. A
    metric that is undefined is NaN.
    """
    return {
        name: np.mean([metric.function(labels, p, weights) for p in runs], axis=0)
        for name, metric in METRICS.items()
    }


def confusion(labels: Labels, probabilities: Probabilities) -> Int[np.ndarray, "k k"]:
    """Numbers of images: rows are true classes, columns predicted ones."""
    return _tables(labels, probabilities, np.ones((len(labels), 1), np.int64))[..., 0]


def _by_class(
    labels: Labels, probabilities: Probabilities, weights: Weights
) -> tuple[Int[np.ndarray, "c r"], Int[np.ndarray, "c r"], Int[np.ndarray, "c r"]]:
    """Numbers of hits, images and predictions of each class that occurs in `labels`."""
    tables, present = _tables(labels, probabilities, weights), np.unique(labels)
    return tables[present, present], tables.sum(1)[present], tables.sum(0)[present]


def _tables(
    labels: Labels, probabilities: Probabilities, weights: Weights
) -> Int[np.ndarray, "k k r"]:
    """A confusion matrix for each column of `weights`."""
    k = probabilities.shape[1]
    cells = labels.astype(np.int64) * k + probabilities.argmax(1)
    return _sums(cells, k * k, weights).reshape(k, k, -1)


def _area(positive: np.ndarray, score: np.ndarray, weights: Weights) -> Values:
    """Area under the ROC curve. The sums are of whole numbers, so they are exact with ties too.

    The area is the share of pairs in which the positive image scores higher than the negative one.
    An equal score counts half.
    """
    levels, level = np.unique(score[positive], return_inverse=True)
    # Slot 2 i + 1 holds the negative images with the score of level i, slot 2 i those between the
    # levels i - 1 and i.
    slots = sum(np.searchsorted(levels, score[~positive], side) for side in ("left", "right"))
    up_to = np.cumsum(_sums(slots, 2 * len(levels) + 1, weights[~positive]), axis=0)
    wins = up_to[:-1:2] + up_to[1::2]  # of each level: a lower score counts 2, an equal one 1
    w = _sums(level, len(levels), weights[positive])
    twice = np.einsum("ir,ir->r", w, wins, dtype=np.int64)
    return twice / (2 * w.sum(0) * up_to[-1].astype(np.int64))


def _sums(groups: Int[np.ndarray, " n"], count: int, weights: Weights) -> Int[np.ndarray, "g r"]:
    """Sums of the rows of `weights` in each group 0 to `count` - 1."""
    from scipy.sparse import csc_array

    n = len(groups)
    members = csc_array((np.ones(n, weights.dtype), groups, np.arange(n + 1)), (count, n))
    return members @ weights
