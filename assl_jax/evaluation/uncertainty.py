"""How sure a metric is: bootstrap intervals, paired gains, and means over repetitions."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from assl_jax.evaluation.scores import METRICS, Labels, Probabilities, confusion, measure, scores
from assl_jax.records import Estimate, Evaluation

REPLICATES = 1000  # draws of a bootstrap
LEVEL = 0.95  # share of the replicates inside an interval
NORMAL = 1.96  # standard errors to each end of a 95 % interval
BLOCK = 64  # replicates at a time: their weights stay in the processor's cache

Groups = Shaped[np.ndarray, " n"]


def bootstrap(
    labels: Labels, runs: Sequence[Probabilities], groups: Groups
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the mean over `runs` of every metric.

    Source: Efron 1979, with patients as the units (a cluster bootstrap). Patients are drawn with
    replacement, each with all of its images, and the same ones for every run. The intervals tell
    how much the choice of test patients matters. They do not cover training images or seeds.

    Args:
      labels: true classes, 0 to k - 1.
      runs: probabilities of the same images, one array for each run.
      groups: the patient of each image.

    Returns:
      Lower and upper end of each metric. A replicate in which a metric is undefined does not
      count; a metric that no replicate defines is left out.
    """
    unit, drawn = _draw(groups)
    blocks = [
        measure(labels, runs, drawn[start : start + BLOCK].T[unit])
        for start in range(0, len(drawn), BLOCK)
    ]
    intervals = {}
    for name in METRICS:
        values = np.concatenate([block[name] for block in blocks])
        defined = values[~np.isnan(values)]
        if len(defined):
            intervals[name] = _interval(defined)
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


class Resampled(NamedTuple):
    """A metric of one network on some images; a higher value is better.

    Attributes:
      values: `[1 + replicates]` on all images, and on patients that are drawn again, the same ones
        for every network; means over the runs.
      pretrainings: `[p]` on all images, for each pretraining.
    """

    values: Float[np.ndarray, " m"]
    pretrainings: Float[np.ndarray, " p"]


def resampled(
    metric: str,
    labels: Labels,
    runs: Sequence[Probabilities],
    groups: Groups,
    *,
    pretrainings: int = 1,
) -> Resampled:
    """A metric of a network, and how much it depends on the patients.

    Args:
      metric: a name in `METRICS`.
      labels: true classes.
      runs: the network's probabilities of the same images, one array for each run.
      groups: the patient of each image.
      pretrainings: how many pretrainings the runs belong to; those of one come after those of
        another.
    """
    function, sign = METRICS[metric].function, 1 if METRICS[metric].higher_is_better else -1
    unit, drawn = _draw(groups)
    weights = np.concatenate([np.ones((len(labels), 1), np.int32), drawn.T[unit]], axis=1)
    each = sign * np.array([function(labels, p, weights) for p in runs])
    return Resampled(each.mean(0), each[:, 0].reshape(pretrainings, -1).mean(1))


def mean_of(parts: Sequence[Resampled]) -> Resampled:
    """The mean over several divisions of the images into folds."""
    return Resampled(*(np.mean(each, axis=0) for each in zip(*parts, strict=True)))


def paired_gain(before: Resampled, after: Resampled) -> Gain:
    """The gain from one network to another, on the same images: what both find hard cancels.

    The standard error is that of a bootstrap over patients. With several pretrainings the squared
    standard error of the mean over them is added. In the interval it has the quantile of Student's
    t: a spread over few values is uncertain.
    """
    mean, *others = after.values - before.values
    error = float(np.nanstd(others))
    gain = Gain(float(mean), error, NORMAL * error)
    each = after.pretrainings - before.pretrainings
    if len(each) > 1:
        over = statistics.stdev(each.tolist()) / math.sqrt(len(each))
        reach = math.hypot(gain.reach, student(len(each)) * over)
        gain = Gain(gain.mean, math.hypot(error, over), reach)
    return gain


class JointScores(NamedTuple):
    """One metric of several networks on the same images.

    Attributes:
      scores: `[k]`, a higher one is better.
      covariance: `[k, k]` of their errors, over patients and over pretrainings.
    """

    scores: Float[np.ndarray, " k"]
    covariance: Float[np.ndarray, "k k"]


def joint_scores(networks: Sequence[Mapping[int, Resampled]]) -> JointScores:
    """The scores of several networks, of which each may lack some divisions into folds.

    A division may be easy or hard, so the score of a network in a division is modelled as the sum
    of two parts, one for the network and one for the division, fitted by least squares. Where no
    network lacks a division, the scores are the means over the divisions.

    Args:
      networks: for each network its metric, by the number of the division.
    """
    divisions = sorted({number for network in networks for number in network})
    k, design, values, over_seeds = len(networks), [], [], np.zeros(len(networks))
    for i, network in enumerate(networks):
        for number, found in network.items():
            row = np.zeros(k + len(divisions))
            row[[i, k + divisions.index(number)]] = 1
            design.append(row)
            values.append(found.values)
        seeds = mean_of([*network.values()]).pretrainings
        over_seeds[i] = seeds.var(ddof=1) / len(seeds) if len(seeds) > 1 else 0
    design.append(np.repeat([0.0, 1.0], [k, len(divisions)]))  # the divisions' parts add up to 0
    values.append(np.zeros_like(values[0]))
    fitted = np.linalg.lstsq(np.array(design), np.array(values))[0][:k]
    drawn = fitted[:, 1:]
    covariance = np.cov(drawn[:, np.isfinite(drawn).all(0)]).reshape(k, k)
    return JointScores(fitted[:, 0], covariance + np.diag(over_seeds))


def student(values: int) -> float:
    """Standard errors of a mean of so many values to each end of its 95 % interval."""
    from scipy.stats import t

    return float(t.ppf(0.975, values - 1))


def paired_difference(gained: Float[np.ndarray, " n"], groups: Groups) -> tuple[float, float]:
    """Percentile interval of the mean of per-image differences between two networks.

    Patients are drawn with replacement, as in `bootstrap`. Images that both networks find hard or
    easy cancel, so the interval is narrower than those of the two accuracies. `gained` tells for
    each image how much more often the second network is right, in [-1, 1].
    """
    unit, drawn = _draw(groups)
    return _interval(drawn @ np.bincount(unit, gained) / (drawn @ np.bincount(unit)))


def estimate(
    values: Sequence[float], interval: tuple[float, float] | None = None, pretrainings: int = 1
) -> Estimate:
    """Mean and sample standard deviation of one or more values, and their interval if known.

    The values of one pretraining come after those of another.
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
      labels, runs, groups: as in `bootstrap`.
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


def _draw(groups: Groups) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "replicates units"]]:
    """The unit of each image, and how often each unit is drawn."""
    names, unit = np.unique(groups, return_inverse=True)
    rng, units = np.random.default_rng(0), len(names)
    draws = (rng.integers(units, size=units, dtype=np.int32) for _ in range(REPLICATES))
    return unit, np.array([np.bincount(d, minlength=units) for d in draws], np.int32)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return low, high
