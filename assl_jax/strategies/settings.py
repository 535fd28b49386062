"""Settings that the strategies share; each class checks its own choices."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np

from assl_jax.errors import require
from assl_jax.evaluation.classification import Augmentation
from assl_jax.evaluation.finetune import BALANCE, HEADS
from assl_jax.evaluation.scores import METRICS
from assl_jax.lcka import ESTIMATORS
from assl_jax.objectives.penalty import Penalty
from assl_jax.ranges import (
    Count,
    NonNegative,
    OneOf,
    Part,
    Positive,
    Range,
    Repeats,
    Size,
    check,
    declared,
    mistakes,
)
from assl_jax.training.loop import Training
from assl_jax.training.optimiser import Optimiser


class Criterion(NamedTuple):
    """Which task joins a pool next.

    Attributes:
      rank: from a task's similarity to the pool, and from what its features add to the pool's, to a
        number; the task with the smallest is next.
      complement: whether it reads what the features add, which takes a probe; None if unknown.
    """

    rank: Callable[[float, float | None], float]
    complement: bool = False


NEXT = {
    "lcka": Criterion(lambda similarity, _: similarity),
    # An unknown one comes last.
    "complement": Criterion(lambda _, adds: math.inf if adds is None else -adds, complement=True),
}
# Settings of the search that give Algorithm 1 as the paper prints it.
AS_PRINTED: dict[str, Any] = {"metric": "accuracy", "rungs": (), "next": "lcka"}
# And how its networks are trained.
AS_PRINTED_TRAINING: dict[str, Any] = {"mixing": "alternate", "budget": "steps"}
NUMBER = r"\d+(?:\.\d*)?"
BUDGET = re.compile(rf"{NUMBER}\s*(?:singles?|min|TFLOP(?: \({NUMBER}\s*min\))?)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilSettings:
    """How a pool learns from the single networks of its tasks, see `objectives.distilled`.

    Attributes:
      start: "single" begins where the network of the pool's first task ended, keeps its loss, and
        takes the features of the other networks as further targets. "scratch" begins with
        random weights and learns the features of all of them, from the first task's inputs.
      weight: of the teachers' loss.
      teachers: `NAME=PATH`, separated by commas: networks of the same backbone. A search or a
        distilled pool takes them in as it does tasks. The path is one that `init.path` takes;
        without `NAME=`, the file or folder gives the name.

    Raises:
      InputError: an unknown start, or a weight that is not above 0.
    """

    start: Annotated[str, OneOf(("single", "scratch"))] = "single"
    weight: Positive = 1.0
    teachers: str = ""

    def __post_init__(self) -> None:
        check(self, "distil.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a backbone is pretrained.

    Attributes:
      training: of a single task.
      seeds: number of pretrainings of every network, each with other random numbers. All of them
        are fine-tuned, and the search decides on all. Similarities and the exported backbone are
        of the first one. A teacher has one network.
      budget: what a network may cost. With "compute" all trainings cost the same: as much as
        `steps` steps of the backbone on a batch of whole images. "steps" gives each training
        `steps` steps, and "per_task" a pool that number for each of its tasks.
      mixing: how a pool is trained. "alternate" draws one task for each step, as the paper does.
        "joint" trains all of them in every step, each on its share of the batch. "distil" learns
        from the finished networks of the single tasks.

    Raises:
      InputError: fewer than one seed, an unknown budget or mixing, or micro-batches of a joint
        step.
    """

    training: Part[Training] = Training(steps=1000, batch_size=128)
    seeds: Repeats = 1
    budget: Annotated[str, OneOf(("compute", "steps", "per_task"))] = "steps"
    mixing: Annotated[str, OneOf(("alternate", "joint", "distil"))] = "alternate"

    def __post_init__(self) -> None:
        check(self, "pretrain.")
        require(
            self.mixing != "joint" or self.training.accumulate == 1,
            f"pretrain.accumulate={self.training.accumulate} must be 1 with pretrain.mixing=joint, "
            "which computes one task's share of the batch after the other",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """How a backbone is evaluated.

    Attributes:
      training: of one fine-tuning.
      seeds: number of fine-tunings on all labels. They are tested on the test set. Each seed gives
        the same head and batches to every network, so that networks can be compared in pairs.
      learning_rates: rates to choose from; () takes `learning_rate`. Each network is fine-tuned
        with the one that has the best value of `search.metric` in a cross-validation inside the
        labelled set, on folds that choose nothing else; the first of equally good ones.
      folds: number of cross-validation folds inside the labelled set, for selection and for the
        choice of a learning rate; 0 for none. All images of a patient lie in one fold.
      augmentation: of the training images.
      head: the linear head at the start: "random", or "probe", the linear probe of the pretrained
        features; see `Target`.
      balance: what is done about unbalanced classes: "none"; "sampling", which repeats the images
        of smaller classes; or "weights", which weights the loss of each image so that all classes
        count the same.
      keep: the number of fine-tuned networks that stay on disk, of each network's first ones; later
        predictions are their mean. A change repeats nothing.

    Raises:
      InputError: fewer than one seed, or a value of a setting that is unknown or out of range.
    """

    training: Part[Training] = Training(
        steps=1000, batch_size=128, optimiser=Optimiser(learning_rate=1e-4)
    )
    seeds: Repeats = 3
    learning_rates: tuple[float, ...] = ()
    folds: Size = 5
    augmentation: Part[Augmentation] = Augmentation()
    head: Annotated[str, OneOf(HEADS)] = "random"
    balance: Annotated[str, OneOf(BALANCE)] = "none"
    keep: Count = 3

    def __post_init__(self) -> None:
        check(self, "target.")
        rates = self.learning_rates
        range_of_each = {"learning_rates": declared(Optimiser)["learning_rate"]}
        for rate in rates:
            found = mistakes(range_of_each, {"learning_rates": rate}, "target.")
            require(not found, "; ".join(found))
        require(len(set(rates)) == len(rates), f"target.learning_rates={rates} names one twice")

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to choose from, at least one."""
        return tuple(map(float, self.learning_rates)) or (self.training.optimiser.learning_rate,)

    @property
    def chooses_rate(self) -> bool:
        """Whether a cross-validation chooses the learning rate."""
        return len(self.rates) > 1

    def at(self, rate: float) -> "TargetSettings":
        """The same with one learning rate."""
        optimiser = dataclasses.replace(self.training.optimiser, learning_rate=rate)
        training = dataclasses.replace(self.training, optimiser=optimiser)
        return dataclasses.replace(self, training=training, learning_rates=())


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

    n: Annotated[int, Range(at_least=max(e.least for e in ESTIMATORS.values()))] = 4096
    layer: str = "pooled"
    estimator: Annotated[str, OneOf(ESTIMATORS)] = "biased"
    reestimate_bn: bool = True

    def __post_init__(self) -> None:
        check(self, "similarity.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a search decides.

    Attributes:
      select_on: "cv" decides by cross-validation inside the labelled set, "test" by the test set
        as the paper does.
      metric: what it compares, one of `METRICS`. A log loss is a proper score: on few images it
        orders networks better than the accuracy does, and it hardly ever ties. Calibrated, it does
        not hang on the few images of which an overconfident network was too sure.
      next: which task is tried next: "lcka" the one least similar to the pool, as the paper does;
        "complement" the one whose features add most to the pool's in a linear probe of the
        labelled images, see `Evidence.complement`.
      complement: also show what the features of each candidate add to the pool's, where another
        rule chooses. This takes a probe of each.
      rungs: shares of a pretraining, in rising order, after which all tasks that are left are
        compared in cross-validation and the worse half of them is left out (successive halving,
        Jamieson & Talwalkar 2016); at least two stay. () pretrains every task to the end.
      candidates: "argmin" trains only the extension that is next; "all" trains every extension
        (Tables 2 and 3).
      gain: the search stops if the last round was expected to make the network better by less, in
        the unit of the metric.
      budget: what all trainings of the search may cost, fine-tunings included: "12 singles" (each
        a task's pretraining and what judges it), "6 TFLOP", or "30 min". A new run turns minutes
        into compute by the pace of its machine, and keeps both: "12.3 TFLOP (30 min)". "" allows
        twice as much as the networks that the search begins with.
      as_printed: the paper's rules, see `AS_PRINTED`, in place of the other settings of the search.

    Raises:
      InputError: an unknown value of a setting; rungs outside (0, 1), out of order, or of a search
        that looks at the test set.
    """

    select_on: Annotated[str, OneOf(("cv", "test"))] = "cv"
    metric: Annotated[str, OneOf(METRICS)] = "calibrated_log_loss"
    next: Annotated[str, OneOf(NEXT)] = "lcka"
    complement: bool = False
    rungs: tuple[float, ...] = ()
    candidates: Annotated[str, OneOf(("argmin", "all"))] = "argmin"
    gain: NonNegative = 0.01
    budget: str = ""
    as_printed: bool = False

    def __post_init__(self) -> None:
        check(self, "search.")
        rungs = self.rungs
        require(
            all(0 < rung < 1 for rung in rungs) and list(rungs) == sorted({*rungs}),
            f"search.rungs={rungs} must be rising shares between 0 and 1, as in (0.25,0.5)",
        )
        require(
            not rungs or self.select_on == "cv" or self.as_printed,
            f"search.rungs={rungs} needs search.select_on=cv",
        )
        if self.budget:
            split_budget(self.budget)

    @property
    def in_force(self) -> "SearchSettings":
        """The same with the paper's rules, if it is to follow them."""
        return dataclasses.replace(self, **AS_PRINTED) if self.as_printed else self


def split_budget(text: str) -> dict[str, float]:
    """The numbers of `search.budget` by their units: "singles", "TFLOP" or "min".

    Compute that was turned from minutes has both.

    Raises:
      InputError: another form.
    """
    known = BUDGET.fullmatch(text.strip())
    found = re.findall(rf"({NUMBER})\s*(single|TFLOP|min)", text) if known else []
    amounts = {unit.replace("single", "singles"): float(number) for number, unit in found}
    require(
        bool(amounts) and all(amounts.values()),
        f"search.budget={text!r} must be as '12 singles', '6 TFLOP' or '30 min'",
    )
    return amounts


def in_minutes(budget: str) -> bool:
    """Whether a budget has only minutes, which are not compute yet."""
    return bool(budget) and {*split_budget(budget)} == {"min"}


def in_compute(budget: str, flops_per_s: float) -> str:
    """A budget of minutes as compute at a pace, in three digits: "12.3 TFLOP (30 min)"."""
    tflop = 60 * split_budget(budget)["min"] * flops_per_s / 1e12
    number = np.format_float_positional(
        tflop, precision=3, unique=False, fractional=False, trim="-"
    )
    return f"{number} TFLOP ({budget.strip()})"


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

    penalty: Part[Penalty] = Penalty()
    init_from: Annotated[str, OneOf(("scratch", "f_p"))] = "f_p"
    use: Annotated[str, OneOf(("f_prime", "both"))] = "f_prime"

    def __post_init__(self) -> None:
        check(self, "self_assl.")

    @property
    def variant(self) -> str:
        """The name in labels."""
        return "self_assl" if self.penalty.weight else "second_run"

    def control(self) -> "SecondRun":
        """The same without the penalty."""
        return dataclasses.replace(self, penalty=Penalty(weight=0.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfASSLSettings:
    """What a comparison with Self-ASSL trains.

    Attributes:
      second: how a network is trained once more.
      second_run: also train a second run without the penalty, as a control.
      backbones: names of the backbones that are compared; () means `backbone.name` alone.

    Raises:
      InputError: a list with something else than names, or with one name twice.
    """

    second: Part[SecondRun] = SecondRun()
    second_run: bool = False
    backbones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self, "self_assl.")
        names = self.backbones
        require(len(set(names)) == len(names), f"self_assl.backbones={names} names one twice")
