"""Metrics of predictions in one table, `METRICS`, and their bootstrap intervals."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from assl_jax.records import Estimate, Evaluation

NORMAL = 1.96  # standard errors to each end of a 95 % interval
BLOCK = 64  # replicates at a time: their weights stay in the processor's cache

Labels = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "n k"]
Groups = Shaped[np.ndarray, " n"]
Weights = Int[np.ndarray, "n r"]
Values = Float[np.ndarray, " r"]


def accuracy(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Share of the images whose most probable class is the true one."""
    hits = probabilities.argmax(1) == labels
    wrong, right = _sums(hits.astype(np.int64), 2, weights)
    return right / (right + wrong)


def balanced_accuracy(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean recall of the classes that occur in `labels`; NaN in a draw that lacks one of them."""
    hits, sizes, _ = _by_class(labels, probabilities, weights)
    return (hits / sizes).mean(0)


def macro_f1(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean F1 of the classes that occur in `labels`; NaN in a draw that lacks one of them.

    The F1 of a class is the harmonic mean of its precision and its recall; 0 without a hit.
    """
    hits, sizes, predicted = _by_class(labels, probabilities, weights)
    f1 = 2 * hits / (sizes + predicted)
    return np.where(sizes > 0, f1, np.nan).mean(0)


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


def log_loss(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """Mean negative logarithm of the true class's probability, in nats; at most 27.6 an image."""
    likely = np.take_along_axis(probabilities, labels.reshape(-1, 1), 1)[:, 0]
    losses = -np.log(likely.astype(np.float64).clip(1e-12))
    return losses @ weights / weights.sum(0)


def calibrated_log_loss(labels: Labels, probabilities: Probabilities, weights: Weights) -> Values:
    """The log loss after one temperature has softened the probabilities of all images.

    Source: Guo et al. 2017 (arXiv 1706.04599), fitted to the same images. The log loss of a network
    that is far too sure, as after few labels, hangs on a few images. The temperature is at least 1:
    a network is not made surer, which would favour one that is right by luck.
    """
    logits = np.log(probabilities.astype(np.float64).clip(1e-12))
    true = np.take_along_axis(logits, labels.reshape(-1, 1), 1)[:, 0]

    def softened(inverse: float) -> Float[np.ndarray, "n k"]:
        p = np.exp(inverse * (logits - logits.max(1, keepdims=True)))
        return p / p.sum(1, keepdims=True)

    def too_sure(inverse: float) -> bool:  # whether the loss, which is convex, rises there
        return bool(((softened(inverse) * logits).sum(1) - true).mean() > 0)

    if not too_sure(1.0):
        return log_loss(labels, probabilities, weights)
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if too_sure(middle) else (middle, high)
    return log_loss(labels, softened(low), weights)


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
    "log_loss": Metric("log loss", log_loss, False, False),
    "calibrated_log_loss": Metric("calibrated log loss", calibrated_log_loss, False, False),
}


def on_test_set(name: str) -> str:
    """The metric of the test set for readers: the accuracy instead of one that is no share."""
    return name if METRICS[name].share else "accuracy"


def shares() -> dict[str, Metric]:
    """The metrics that are shares of 1, by name: those of the tables of the test set."""
    return {name: metric for name, metric in METRICS.items() if metric.share}


def scores(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Every metric of one run.

    Args:
      labels: true classes, 0 to k - 1.
      probabilities: of every class, or any scores whose largest is the prediction.

    Returns:
      Values by the names of `METRICS`; an undefined metric is left out.
    """
    once = np.ones((len(labels), 1), np.int32)
    found = {name: float(v[0]) for name, v in _measure(labels, [probabilities], once).items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def confusion(labels: Labels, probabilities: Probabilities) -> Int[np.ndarray, "k k"]:
    """Numbers of images: rows are true classes, columns predicted ones."""
    return _tables(labels, probabilities, np.ones((len(labels), 1), np.int64))[..., 0]


def bootstrap(
    labels: Labels,
    runs: Sequence[Probabilities],
    groups: Groups,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the mean over `runs` of every metric.

    Source: Efron 1979, with patients as the units (a cluster bootstrap). Patients are drawn with
    replacement, each with all of its images, and the same ones for every run. The intervals tell
    how much the choice of test patients matters. They do not cover training images or seeds.

    Args:
      labels: true classes, 0 to k - 1.
      runs: probabilities of the same images, one array for each run.
      groups: the patient of each image.
      replicates: number of draws.
      seed: of the draws.
      level: share of the replicates inside an interval.

    Returns:
      Lower and upper end of each metric. A replicate in which a metric is undefined does not
      count; a metric that no replicate defines is left out.
    """
    names, unit = np.unique(groups, return_inverse=True)
    weights = _draw(len(names), replicates, seed)
    blocks = [
        _measure(labels, runs, weights[start : start + BLOCK].T[unit])
        for start in range(0, replicates, BLOCK)
    ]
    intervals = {}
    for name in METRICS:
        values = np.concatenate([block[name] for block in blocks])
        defined = values[~np.isnan(values)]
        if len(defined):
            intervals[name] = _interval(defined, level)
    return intervals


class Gain(NamedTuple):
    """How much better one network is than another on the same images.

    Attributes:
      mean: difference of a metric, above 0 if the second network is better.
      error: its standard error over patients, and over pretrainings if there are several.
      reach: half of the width of its 95 % interval.
    """

    mean: float
    error: float
    reach: float


def paired_gain(
    metric: str,
    labels: Labels,
    before: Sequence[Probabilities],
    after: Sequence[Probabilities],
    groups: Groups,
    *,
    pretrainings: int = 1,
    replicates: int = 1000,
    seed: int = 0,
) -> Gain:
    """The gain in a metric from one network to another, paired by image.

    Args:
      metric: a name in `METRICS`.
      labels: true classes.
      before, after: the networks' probabilities of the same images, one array for each run.
      groups: the patient of each image. The standard error is that of a bootstrap over patients;
        images that both networks find hard or easy cancel.
      pretrainings: how many pretrainings the runs belong to; those of one come after those of
        another. The squared standard error of the mean over them is added to that of the bootstrap.
        In the interval it has the quantile of Student's t: a spread over few values is uncertain.
      replicates, seed: as in `bootstrap`.
    """
    function, sign = METRICS[metric].function, 1 if METRICS[metric].higher_is_better else -1
    names, unit = np.unique(groups, return_inverse=True)
    drawn = _draw(len(names), replicates, seed).T[unit]
    weights = np.concatenate([np.ones((len(labels), 1), np.int32), drawn], axis=1)
    old, new = (np.array([function(labels, p, weights) for p in runs]) for runs in (before, after))
    mean, *resampled = sign * (new.mean(0) - old.mean(0))
    error = float(np.nanstd(resampled))
    gain = Gain(float(mean), error, NORMAL * error)
    if pretrainings > 1:
        each = (new[:, 0] - old[:, 0]).reshape(pretrainings, -1).mean(1).tolist()
        over = statistics.stdev(each) / math.sqrt(pretrainings)
        reach = math.hypot(gain.reach, student(pretrainings) * over)
        gain = Gain(gain.mean, math.hypot(error, over), reach)
    return gain


def student(values: int) -> float:
    """Standard errors of a mean of so many values to each end of its 95 % interval."""
    from scipy.stats import t

    return float(t.ppf(0.975, values - 1))


def paired_difference(
    gained: Float[np.ndarray, " n"],
    groups: Groups,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean of per-image differences between two networks.

    Patients are drawn with replacement, as in `bootstrap`. Images that both networks find hard or
    easy cancel, so the interval is narrower than those of the two accuracies.

    Args:
      gained: for each image, how much more often the second network is right, in [-1, 1].
      groups: the patient of each image.
      replicates, seed, level: as in `bootstrap`.

    Returns:
      Lower and upper end.
    """
    names, unit = np.unique(groups, return_inverse=True)
    weights = _draw(len(names), replicates, seed)
    sums = weights @ np.bincount(unit, gained, len(names))
    return _interval(sums / (weights @ np.bincount(unit)), level)


def estimate(
    values: Sequence[float],
    interval: tuple[float, float] | None = None,
    pretrainings: int = 1,
) -> Estimate:
    """Mean and sample standard deviation of one or more values, and their interval if known.

    Args:
      values: the repetitions; those of one pretraining come after those of another.
      interval: lower and upper end.
      pretrainings: how many there are.
    """
    low, high = interval or (None, None)
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    size = len(values) // pretrainings
    means = [statistics.fmean(values[i * size : (i + 1) * size]) for i in range(pretrainings)]
    return Estimate(
        mean=statistics.fmean(values),
        std=std,
        runs=tuple(values),
        low=low,
        high=high,
        pretrainings=tuple(means) if pretrainings > 1 else (),
    )


def summarise(
    labels: Labels, runs: Sequence[Probabilities], groups: Groups, *, pretrainings: int = 1
) -> Evaluation:
    """Metrics and confusion over several runs on the same images.

    Args:
      labels: true classes, 0 to k - 1.
      runs: probabilities.
      groups: the patient of each image.
      pretrainings: as in `estimate`.

    Returns:
      For each metric that is defined on these images its mean and spread over the runs and the
      95 % interval of `bootstrap`; the confusion matrix, mean over the runs.
    """
    each = [scores(labels, p) for p in runs]
    intervals = bootstrap(labels, runs, groups)
    matrix = np.mean([confusion(labels, p) for p in runs], axis=0)
    return Evaluation(
        metrics={
            name: estimate([run[name] for run in each], intervals.get(name), pretrainings)
            for name in each[0]
        },
        confusion=tuple(map(tuple, matrix.tolist())),
    )


def _measure(labels: Labels, runs: Sequence[Probabilities], weights: Weights) -> dict[str, Values]:
    """The mean over runs of each metric, for every column of `weights`."""
    with np.errstate(invalid="ignore"):  # a missing class becomes NaN as 0 / 0
        return {
            name: np.mean([metric.function(labels, p, weights) for p in runs], axis=0)
            for name, metric in METRICS.items()
        }


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


def _draw(units: int, replicates: int, seed: int) -> Int[np.ndarray, "replicates units"]:
    """How often each unit is drawn."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(units, size=units, dtype=np.int32) for _ in range(replicates))
    return np.array([np.bincount(d, minlength=units) for d in draws], np.int32)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2)).tolist()
    return low, high


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
