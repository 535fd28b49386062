"""How sure a network may be, learnt from images that it was not trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from assl_jax.errors import choice, require
from assl_jax.ranges import Range
from assl_jax.records import Calibration, OperatingPoint

HOTTEST, COLDEST = 1000.0, 0.2  # temperatures
MOST_POINTS = 100
SMALLEST = float(np.finfo(np.float32).tiny)  # of a stored probability whose logarithm is taken


def softened(logits: Float[np.ndarray, "n k"], inverse: float) -> Float[np.ndarray, "n k"]:
    """Probabilities at a temperature, given as its inverse."""
    p = np.exp(inverse * (logits - logits.max(1, keepdims=True)))
    return p / p.sum(1, keepdims=True)


def inverse_temperature(
    labels: Int[np.ndarray, " n"],
    logits: Float[np.ndarray, "n k"],
    *,
    largest: float = 1.0,
    smoothing: float = 0.0,
) -> float:
    """The inverse of the temperature with the smallest log loss, 0 to `largest`.

    Source: Guo et al. 2017 (arXiv 1706.04599). With 1 as the largest, no network is made surer.

    Args:
      labels: true classes, 0 to k - 1.
      logits: or logarithms of probabilities.
      smoothing: probability of another class than the true one.
    """
    true = np.take_along_axis(logits, labels.reshape(-1, 1), 1)[:, 0]
    if smoothing:
        others = (logits.sum(1) - true) / (logits.shape[1] - 1)
        true = (1 - smoothing) * true + smoothing * others

    def too_sure(inverse: float) -> bool:
        """Whether the loss, which is convex in the inverse temperature, rises there."""
        return bool(((softened(logits, inverse) * logits).sum(1) - true).mean() > 0)

    if not too_sure(largest):
        return largest
    low, high = 0.0, largest
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if too_sure(middle) else (middle, high)
    return low


def calibrate(
    labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n k"]
) -> Calibration:
    """What out-of-fold predictions tell of a network's probabilities.

    A true class counts as 1 - 1 / (n + 2), as in Platt 1999: n predictions that are all right make
    no network certain.
    """
    logits = np.log(probabilities.astype(np.float64).clip(SMALLEST))
    smoothing = 1 / (len(labels) + 2)
    inverse = inverse_temperature(labels, logits, largest=1 / COLDEST, smoothing=smoothing)
    inverse = max(inverse, 1 / HOTTEST)
    points: tuple[OperatingPoint, ...] = ()
    if probabilities.shape[1] == 2:
        points = operating_points(labels == 1, softened(logits, inverse)[:, 1])
    return Calibration(temperature=1 / inverse, points=points)


def operating_points(
    positive: Bool[np.ndarray, " n"], score: Float[np.ndarray, " n"]
) -> tuple[OperatingPoint, ...]:
    """The corners of the ROC curve by rising threshold; at most `MOST_POINTS` of them.

    They are the points that no other threshold beats in the sensitivity or in the specificity
    without a loss in the other. Thresholds are halfway between two scores, the probabilities of the
    positive class, so that no image is on one.
    """
    if positive.all() or not positive.any():
        return ()
    score = np.minimum(score, np.nextafter(1, 0))  # the last threshold is above every score
    levels = np.unique(np.append(score, 1.0))
    thresholds = np.append(0.0, (levels[1:] + levels[:-1]) / 2)
    found, others = np.sort(score[positive]), np.sort(score[~positive])
    sensitivity = 1 - np.searchsorted(found, thresholds) / len(found)
    specificity = np.searchsorted(others, thresholds) / len(others)
    # A corner: a higher threshold is less sensitive, and a lower one is less specific.
    falls = np.append(np.diff(sensitivity) < 0, True)
    rises = np.append(True, np.diff(specificity) > 0)
    corners = np.flatnonzero(falls & rises)
    if len(corners) > MOST_POINTS:
        corners = corners[np.linspace(0, len(corners) - 1, MOST_POINTS).round().astype(int)]
    columns = (values[corners].tolist() for values in (thresholds, sensitivity, specificity))
    return tuple(
        OperatingPoint(threshold=t, sensitivity=a, specificity=b)
        for t, a, b in zip(*columns, strict=True)
    )


class Decision(NamedTuple):
    """How two classes are told apart.

    Attributes:
      positive: name of the class that is looked for.
      point: its rates out of fold, and the probability of the last class from which on an image is
        of that class.
      least: the probability of the class that is looked for from which on an image is of it.
    """

    positive: str
    point: OperatingPoint
    least: float

    def __str__(self) -> str:
        sensitivity, specificity = 100 * self.point.sensitivity, 100 * self.point.specificity
        return (
            f"{self.positive} from a probability of {self.least:.3g} on: out-of-fold sensitivity "
            f"{sensitivity:.1f} %, specificity {specificity:.1f} %"
        )


def decide(
    calibration: Calibration | None,
    classes: Sequence[str],
    *,
    positive: str = "",
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> Decision | None:
    """The operating point that reaches a sensitivity or a specificity, and is best in the other.

    Args:
      calibration: of the network.
      classes: names, in the order of the logits.
      positive: the class that is looked for; "" is the last one.
      sensitivity, specificity: what to reach out of fold, at most one of them; without both there
        is no operating point.
    """
    reach, best = ("specificity", "sensitivity")
    if sensitivity is not None:
        reach, best = best, reach
    target = specificity if sensitivity is None else sensitivity
    if target is None:
        require(not positive, f"--positive={positive}: add --sensitivity or --specificity")
        return None
    Range(above=0, at_most=1).check(target, f"--{reach}")
    require(
        len(classes) == 2,
        f"--{reach}={target:g} needs two classes; the run has {len(classes)}: {', '.join(classes)}",
    )
    positive = positive or classes[-1]
    choice(positive, classes, "--positive")
    points = calibration.points if calibration else ()
    require(
        bool(points),
        f"--{reach}={target:g} needs calibrated probabilities, which a search with "
        "search.select_on=cv has; leave out --raw, or run one",
    )
    last = positive == classes[-1]
    if not last:  # what is specific for one class is sensitive for the other
        points = tuple(
            p.replace(sensitivity=p.specificity, specificity=p.sensitivity) for p in points
        )
    reached = (p for p in points if getattr(p, reach) >= target)
    point = max(reached, key=lambda p: getattr(p, best))
    return Decision(positive, point, point.threshold if last else 1 - point.threshold)
