"""Settings that the strategies share."""

import dataclasses

from assl_jax.errors import lookup
from assl_jax.training.loop import Training
from assl_jax.training.penalty import Penalty

METRICS = ("accuracy", "balanced_accuracy", "auc")
INIT_FROM = ("scratch", "f_p")
USE = ("f_prime", "both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """How a backbone is judged.

    Attributes:
      training: of one fine-tuning.
      seeds: fine-tunings on all labels, tested on the test set; each has its own head and batches,
        the same for every pool, so that pools are compared in pairs.
      folds: of the cross-validation inside the labelled set that selection looks at; 0 for none.
        All images of a patient lie in one fold.
      metric: what selection looks at, one of `METRICS`.
      shift, flip: augmentation, see `Classification`.
    """

    training: Training
    seeds: int = 3
    folds: int = 5
    metric: str = "accuracy"
    shift: int = 0
    flip: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilaritySettings:
    """Which features are compared, and how.

    Attributes:
      n: number of unlabeled images; fewer if there are not so many.
      layer: "pooled" or a stage of the backbone.
      estimator: "biased" or "unbiased", see `lcka_matrix`.
      reestimate_bn: estimate BatchNorm's running statistics anew on plain images first.
    """

    n: int = 4096
    layer: str = "pooled"
    estimator: str = "biased"
    reestimate_bn: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondRun:
    """The same tasks trained once more: Self-ASSL (paper, section 4), or its control.

    Attributes:
      penalty: see `Penalty`; of weight 0 it is a plain second run, with other random numbers than
        the first's. All weights share them.
      init_from: where f' starts, "scratch" or "f_p" (the first network and its heads).
      use: what is fine-tuned, "f_prime" or "both": f_p and f' side by side.

    Raises:
      InputError: another start or use.
    """

    penalty: Penalty = Penalty()
    init_from: str = "scratch"
    use: str = "f_prime"

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(INIT_FROM), self.init_from, "self_assl.init_from")
        lookup(dict.fromkeys(USE), self.use, "self_assl.use")

    @property
    def variant(self) -> str:
        """The name in labels."""
        return "self_assl" if self.penalty.weight else "second_run"

    def control(self) -> "SecondRun":
        """The same without the penalty."""
        return dataclasses.replace(self, penalty=Penalty())
