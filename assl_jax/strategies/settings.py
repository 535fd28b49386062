"""Settings that the strategies share; each class checks its own choices."""

import dataclasses

from assl_jax.errors import choice, require
from assl_jax.evaluation.scores import METRICS
from assl_jax.lcka import ESTIMATORS
from assl_jax.training.loop import Training
from assl_jax.training.penalty import Penalty

BUDGETS = ("total", "per_task")
SELECT_ON = ("cv", "test")
CANDIDATES = ("argmin", "all")
INIT_FROM = ("scratch", "f_p")
USE = ("f_prime", "both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a backbone is pretrained.

    Attributes:
      training: of a single task.
      budget: with "total", a pool gets the same number of steps as one task; with "per_task", it
        gets that number for each of its tasks.

    Raises:
      InputError: an unknown budget.
    """

    training: Training
    budget: str = "total"

    def __post_init__(self) -> None:
        choice(self.budget, BUDGETS, "pretrain.budget")

    def training_of(self, tasks: int) -> Training:
        """The training settings for a pool of `tasks` tasks."""
        if self.budget == "total":
            return self.training
        return dataclasses.replace(self.training, steps=self.training.steps * tasks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """How a backbone is evaluated.

    Attributes:
      training: of one fine-tuning.
      seeds: number of fine-tunings on all labels. They are tested on the test set. Each seed gives
        the same head and batches to every network, so that networks can be compared in pairs.
      folds: number of cross-validation folds inside the labelled set, for selection; 0 for none.
        All images of a patient lie in one fold.
      shift, flip: augmentation, see `Classification`.

    Raises:
      InputError: fewer than one seed.
    """

    training: Training
    seeds: int = 3
    folds: int = 5
    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        require(self.seeds >= 1, f"target.seeds={self.seeds} must be at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilaritySettings:
    """Which features are compared, and how.

    Attributes:
      n: number of unlabeled images, at least 4; all images if there are fewer.
      layer: "pooled" or a stage of the backbone.
      estimator: "biased" or "unbiased", see `lcka_matrix`.
      reestimate_bn: first re-estimate BatchNorm's running statistics on plain images.

    Raises:
      InputError: too few images, or an unknown estimator.
    """

    n: int = 4096
    layer: str = "pooled"
    estimator: str = "biased"
    reestimate_bn: bool = True

    def __post_init__(self) -> None:
        least = max(ESTIMATORS.values())
        require(self.n >= least, f"similarity.n={self.n} must be at least {least} images")
        choice(self.estimator, ESTIMATORS, "similarity.estimator")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a search decides.

    Attributes:
      select_on: "cv" decides by cross-validation inside the labelled set, "test" by the test set
        as the paper does.
      metric: what it compares, one of `METRICS`.
      candidates: "argmin" trains only the least similar extension of a pool; "all" trains every
        extension (Tables 2 and 3). In both cases the search accepts or rejects only the least
        similar one.

    Raises:
      InputError: an unknown value of a setting.
    """

    select_on: str = "cv"
    metric: str = "accuracy"
    candidates: str = "argmin"

    def __post_init__(self) -> None:
        choice(self.select_on, SELECT_ON, "search.select_on")
        choice(self.metric, METRICS, "search.metric")
        choice(self.candidates, CANDIDATES, "search.candidates")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondRun:
    """The same tasks trained once more: Self-ASSL (paper, section 4), or its control.

    Attributes:
      penalty: see `Penalty`. Weight 0 gives a plain second run. All second runs use the same random
        numbers, for any weight. The first run uses different ones.
      init_from: where f' starts, "scratch" or "f_p" (the first network and its heads).
      use: what is fine-tuned, "f_prime" or "both": f_p and f' side by side.

    Raises:
      InputError: an unknown `init_from` or `use`.
    """

    penalty: Penalty = Penalty()
    init_from: str = "f_p"
    use: str = "f_prime"

    def __post_init__(self) -> None:
        choice(self.init_from, INIT_FROM, "self_assl.init_from")
        choice(self.use, USE, "self_assl.use")

    @property
    def variant(self) -> str:
        """The name in labels."""
        return "self_assl" if self.penalty.weight else "second_run"

    def control(self) -> "SecondRun":
        """The same without the penalty."""
        return dataclasses.replace(self, penalty=Penalty(weight=0.0))
