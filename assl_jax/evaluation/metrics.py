"""How good predictions are, and how sure that is: scores, confusion, intervals over patients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

BLOCK = 64  # replicates at a time: their weights stay in the processor's cache

Labels = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "n k"]
Patients = Shaped[np.ndarray, " n"]


def scores(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Accuracy, balanced accuracy and area under the ROC curve of one run, as in scikit-learn.

    Args:
      labels: true classes, 0 to k - 1.
      probabilities: of every class, or any scores of which the largest is the prediction.

    Returns:
      Values in [0, 1]: "accuracy"; "balanced_accuracy", the mean recall of the classes that occur
      in `labels`; "auc", of class 1 where there are two classes, otherwise the mean over all
      classes of one against the rest. "auc" is left out where `labels` lack a class.
    """
    from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

    predicted, present = probabilities.argmax(1), np.unique(labels)
    found = {
        "accuracy": accuracy_score(labels, predicted),
        # Not `balanced_accuracy_score`: that warns of predicted classes which no label has.
        "balanced_accuracy": recall_score(labels, predicted, labels=present, average="macro"),
    }
    if 1 < len(present) == probabilities.shape[1]:
        each = [roc_auc_score(labels == c, probabilities[:, c]) for c in _ranked(probabilities)]
        found["auc"] = np.mean(each)
    return {name: float(value) for name, value in found.items()}


def confusion(labels: Labels, probabilities: Probabilities) -> Int[np.ndarray, "k k"]:
    """Numbers of images: rows are true classes, columns predicted ones."""
    k = probabilities.shape[1]
    cells = labels.astype(np.int64) * k + probabilities.argmax(1)
    return np.bincount(cells, minlength=k * k).reshape(k, k)


def bootstrap(
    labels: Labels,
    runs: Sequence[Probabilities],
    patients: Patients,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the mean over `runs` of every metric of `scores`.

    Source: Efron 1979, with patients as the units (a cluster bootstrap): patients are drawn with
    replacement, each with all of its images, the same ones for every run. The intervals tell how
    far the choice of test patients matters, not that of training images or seeds.

    Args:
      labels: true classes, 0 to k - 1.
      runs: each run's probabilities of the same images.
      patients: whom each image is of.
      replicates: number of draws.
      seed: draws them.
      level: share of the replicates inside an interval.

    Returns:
      Lower and upper end of each metric. A replicate that lacks a class of `labels` counts for
      "accuracy" alone; a metric without a replicate is left out.
    """
    names, unit = np.unique(patients, return_inverse=True)
    weights = _draw(len(names), replicates, seed)
    ends = ((1 - level) / 2, (1 + level) / 2)
    intervals = {}
    for name, values in _replicate(labels, runs, unit, weights).items():
        defined = values[~np.isnan(values)]
        if len(defined):
            low, high = np.quantile(defined, ends).tolist()
            intervals[name] = (low, high)
    return intervals


def paired_difference(
    gained: Float[np.ndarray, " n"],
    patients: Patients,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean of per-image differences between two networks.

    As `bootstrap`, patients are drawn with replacement; what both networks find hard or easy
    cancels, so that the interval is narrower than those of the two accuracies apart.

    Args:
      gained: for each image, how much more often the second network is right, in [-1, 1].
      patients: whom each image is of.
      replicates, seed, level: as in `bootstrap`.

    Returns:
      Lower and upper end.
    """
    names, unit = np.unique(patients, return_inverse=True)
    weights = _draw(len(names), replicates, seed)
    sums = weights @ np.bincount(unit, gained, len(names))
    ends = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.quantile(sums / (weights @ np.bincount(unit)), ends).tolist()
    return low, high


def summarise(
    labels: Labels, runs: Mapping[str, Probabilities], patients: Patients
) -> dict[str, Any]:
    """Scores and confusion over several runs on the same images, ready for JSON.

    Args:
      labels: true classes, 0 to k - 1.
      runs: each run's probabilities, by its name.
      patients: whom each image is of.

    Returns:
      "metrics": for each metric of `scores` its "mean" and sample standard deviation "std" over
      runs (0 for one run), and the 95% interval "low" to "high" of `bootstrap` (None where that
      has none); "confusion": rows of the matrix, averaged over runs. Rounded to 6 digits.
    """
    each = [scores(labels, p) for p in runs.values()]
    intervals = bootstrap(labels, list(runs.values()), patients)
    metrics = {}
    for name in each[0]:
        values = [s[name] for s in each]
        low, high = intervals.get(name, (None, None))
        std = np.std(values, ddof=1) if len(values) > 1 else 0.0
        entry = {"mean": np.mean(values), "std": std, "low": low, "high": high}
        metrics[name] = {k: None if v is None else round(float(v), 6) for k, v in entry.items()}
    matrix = np.mean([confusion(labels, p) for p in runs.values()], axis=0)
    return {"metrics": metrics, "confusion": matrix.round(6).tolist()}


def _ranked(probabilities: Probabilities) -> Sequence[int]:
    """The classes whose ROC curves count: of two, one curve mirrors the other."""
    k = probabilities.shape[1]
    return [1] if k == 2 else range(k)


def _draw(patients: int, replicates: int, seed: int) -> Int[np.ndarray, "replicates patients"]:
    """How often each patient is drawn."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(patients, size=patients, dtype=np.int32) for _ in range(replicates))
    return np.array([np.bincount(d, minlength=patients) for d in draws], np.int32)


def _replicate(
    labels: Labels,
    runs: Sequence[Probabilities],
    unit: Int[np.ndarray, " n"],
    weights: Int[np.ndarray, "replicates patients"],
) -> dict[str, Float[np.ndarray, " replicates"]]:
    """Each metric's mean over runs in every replicate; NaN where it is not defined.

    `unit` says which column of `weights` an image belongs to.
    """
    shape = (weights.shape[1], runs[0].shape[1])
    right = np.sum([p.argmax(1) == labels for p in runs], axis=0)
    cells = np.ravel_multi_index((unit, labels), shape)

    def per_class(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(cells, values, minlength=shape[0] * shape[1])
        return weights @ sums.reshape(shape)

    hits, sizes = per_class(right) / len(runs), per_class(np.ones(len(labels)))
    auc = np.empty(len(weights))
    with np.errstate(invalid="ignore"):  # 0 / 0 is how a missing class becomes NaN
        for start in range(0, len(weights), BLOCK):
            rows = slice(start, start + BLOCK)
            w = weights[rows].T[unit]
            each = [_auc(labels == c, p[:, c], w) for p in runs for c in _ranked(p)]
            auc[rows] = np.mean(each, axis=0)
        recall = (hits / sizes)[:, np.unique(labels)]
        return {
            "accuracy": hits.sum(1) / sizes.sum(1),
            "balanced_accuracy": recall.mean(1),
            "auc": auc,
        }


def _auc(
    positive: np.ndarray, score: np.ndarray, weights: Int[np.ndarray, "n r"]
) -> Float[np.ndarray, " r"]:
    """Area under the ROC curve with images counted `weights` times: integers, so exact with ties.

    It is the share of pairs in which the positive image scores higher, an equal score being half.
    """
    others = np.flatnonzero(~positive)
    others = others[np.argsort(score[others])]
    below = np.zeros((len(others) + 1, weights.shape[1]), weights.dtype)
    np.cumsum(weights.take(others, 0), axis=0, out=below[1:], dtype=weights.dtype)
    left, right = (np.searchsorted(score[others], score[positive], s) for s in ("left", "right"))
    w = weights[positive]
    twice = np.einsum("ir,ir->r", w, below[left] + below[right], dtype=np.int64)
    return twice / (2 * w.sum(0) * below[-1].astype(np.int64))
