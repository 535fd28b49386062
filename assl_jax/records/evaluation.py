"""How good a network is."""

import math
import statistics

import msgspec

from assl_jax.records.base import Record


class Estimate(Record, frozen=True, kw_only=True):
    """A quantity over repetitions (fine-tunings, folds).

    Attributes:
      mean: their mean.
      std: their sample standard deviation; 0 for a single one.
      runs: the value of each repetition; empty where they are not kept.
      low, high: ends of a 95 % bootstrap interval of the mean; None without one.
      pretrainings: the mean of each pretraining; empty with one.
    """

    mean: float
    std: float
    runs: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    pretrainings: tuple[float, ...] = ()

    @property
    def error(self) -> float | None:
        """The standard error of the mean over the repetitions; None for a single one.

        Fine-tunings of one pretraining are not independent. With several pretrainings, these are
        what counts.
        """
        values = self.pretrainings or self.runs
        return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


class Evaluation(Record, frozen=True, kw_only=True):
    """How good a network is.

    Attributes:
      metrics: by name (`evaluation.scores.METRICS`), on the test set; a metric that is not defined
        there, such as AUC where a class is missing, is left out.
      confusion: `[k, k]` numbers of test images, rows the true classes, mean over the runs.
      selection: the metric that selection looks at, over the folds of a cross-validation inside
        the labelled set; None without folds.
      learning_rate: of the fine-tunings, if a cross-validation chose it; otherwise unset.
    """

    metrics: dict[str, Estimate]
    confusion: tuple[tuple[float, ...], ...]
    selection: Estimate | None = None
    learning_rate: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def accuracy(self) -> Estimate:
        return self.metrics["accuracy"]
