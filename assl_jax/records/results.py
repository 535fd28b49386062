"""`results.json` and `probes.json`: what a run found."""

import math
import statistics
from typing import Any

import msgspec

from assl_jax.records.base import VERSION, Pool, Record
from assl_jax.records.data import DataSummary


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


class Best(Record, frozen=True, kw_only=True):
    """The network that a run ends with; its weights lie in `BACKBONE_FOLDER` of the workdir.

    Attributes:
      pool: its tasks.
      evaluation: how good it is.
      as_long_as: the pool whose operations it was trained with, if it is the `Control`.
    """

    pool: Pool
    evaluation: Evaluation
    as_long_as: Pool = ()

    @property
    def variant(self) -> str:
        """As in `NetworkRecord`: "longer", "plain", or "start" for the empty pool."""
        return "longer" if self.as_long_as else "plain" if self.pool else "start"


class Control(Record, frozen=True, kw_only=True):
    """The pool's first task alone, with all the operations of the accepted pool and of its parts.

    Attributes:
      pool: the single task.
      as_long_as: the accepted pool.
      evaluation: how good the control is.
      gain, error: how much better the pool is in the metric of the selection, and the standard
        error. Images are paired, on folds that have chosen nothing or, if the search looks at it,
        on the test set.
      over_start, over_start_error: the same, of the better of the two over the first network.
      needed: what `over_start` had to exceed. These three are None in an older file.
    """

    pool: Pool
    as_long_as: Pool
    evaluation: Evaluation
    gain: float
    error: float
    over_start: float | None = None
    over_start_error: float | None = None
    needed: float | None = None


class Extension(Record, frozen=True, kw_only=True):
    """A pool and one more task, measured against both: a row of Tables 1, 2 and 3.

    Attributes:
      pool: the tasks before.
      task: the task that joins them.
      similarity: LCKA between the features of pool and task.
      avg, max: mean and maximum of the two test accuracies.
      complement: how much the task's features add to the pool's, see `Comparing.complement`; None
        if unknown.
      evaluation: of the network trained on all of them; None where it was not trained.
    """

    pool: Pool
    task: str
    similarity: float
    avg: float
    max: float
    complement: float | None = None
    evaluation: Evaluation | None = None

    @property
    def members(self) -> Pool:
        return (*self.pool, self.task)

    @property
    def avg_gain(self) -> float | None:
        """Gain in test accuracy over `avg`; None where nothing was trained."""
        return self._gain(self.avg)

    @property
    def max_gain(self) -> float | None:
        """Gain in test accuracy over `max`; None where nothing was trained."""
        return self._gain(self.max)

    def _gain(self, base: float) -> float | None:
        return self.evaluation.accuracy.mean - base if self.evaluation else None


class Iteration(Record, frozen=True, kw_only=True):
    """One turn of Algorithm 1's loop.

    Attributes:
      pool: the incumbent.
      candidates: its extensions, in the order in which the search prefers them.
      chosen: the candidate task that was accepted or rejected.
      accepted: whether it became the incumbent.
      gain: how much better than the incumbent it is in the metric of the selection, on folds that
        chose no network, paired by image; None if the decision did not look at it.
      error: standard error of the gain.
      needed: the gain that the rule asked for.
    """

    pool: Pool
    candidates: tuple[Extension, ...]
    chosen: str
    accepted: bool
    gain: float | None = None
    error: float | None = None
    needed: float | None = None


class Lead(Record, frozen=True, kw_only=True):
    """How sure the choice of the first pool is.

    Attributes:
      second: the task that came second.
      gain: how much better the best task is, on the folds that chose it, paired by image.
      error: standard error of the gain.
    """

    second: str
    gain: float
    error: float


class Similarity(Record, frozen=True, kw_only=True):
    """LCKA between the single tasks' features of `n` images: a `[k, k]` matrix."""

    tasks: Pool
    n: int
    layer: str
    estimator: str
    matrix: tuple[tuple[float, ...], ...]


class Correlation(Record, frozen=True, kw_only=True):
    """Correlations of similarity with a gain over all pairs, in [-1, 1]; None if undefined.

    The p-values are those of Mantel's permutation test.
    """

    spearman: float | None = None
    pearson: float | None = None
    spearman_p: float | None = None
    pearson_p: float | None = None


class SelfASSLRow(Record, frozen=True, kw_only=True):
    """One pool with and without Self-ASSL.

    Attributes:
      pool: its tasks.
      plain, self_assl: f_p and f'.
      second_run: the control, a second training without the penalty; None without one.
      difference: of test accuracies, f' minus f_p, paired by fine-tuning.
      similarity: LCKA with f_p on held-out images, of "self_assl" and "second_run".
      untrained: LCKA with an untrained network, of each variant.
      effective_rank: of the features, of each variant.
    """

    pool: Pool
    plain: Evaluation
    self_assl: Evaluation
    difference: Estimate
    similarity: dict[str, float]
    untrained: dict[str, float]
    effective_rank: dict[str, float]
    second_run: Evaluation | None = None

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """By variant, without those that were not trained."""
        found = {"plain": self.plain, "second_run": self.second_run, "self_assl": self.self_assl}
        return {variant: evaluation for variant, evaluation in found.items() if evaluation}


class SelfASSLGroup(Record, frozen=True, kw_only=True):
    """All pools on one backbone, training from scratch, and the start weights if there are any."""

    backbone: str
    scratch: Evaluation
    start: Evaluation | msgspec.UnsetType = msgspec.UNSET
    rows: tuple[SelfASSLRow, ...]


class SelfASSL(Record, frozen=True, kw_only=True):
    """Table 4; `settings` are those of the group `self_assl` of the config."""

    settings: dict[str, Any]
    backbones: tuple[SelfASSLGroup, ...]


class Findings(Record, frozen=True, kw_only=True):
    """The results of a strategy. Each strategy sets only the fields that it computes.

    Attributes:
      scratch: fine-tuning without pretraining.
      start: the same with the start weights (`init.path`); unset without them.
      singles: each task alone.
      similarity: of the single tasks' features.
      lead: of the single task that Algorithm 1 starts with; None with a single task.
      left_out: tasks that are no better than scratch, which the search did not try to add.
      iterations: of Algorithm 1.
      control: of the accepted pool; None without one.
      pairs: every pair of tasks (Table 1).
      correlation: of similarity with "avg_gain" and "max_gain" over the pairs.
      complement_correlation: of the complement with the same gains; empty if one is unknown.
      self_assl: with and without Self-ASSL (Table 4).
      best: the pool that the run ends with.
      pretrained: that pool, if the data have no labels and nothing was tested.
    """

    scratch: Evaluation | None = None
    start: Evaluation | msgspec.UnsetType = msgspec.UNSET
    singles: dict[str, Evaluation] = {}
    similarity: Similarity | None = None
    lead: Lead | None = None
    left_out: tuple[str, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    control: Control | None = None
    pairs: tuple[Extension, ...] = ()
    correlation: dict[str, Correlation] = {}
    complement_correlation: dict[str, Correlation] = {}
    self_assl: SelfASSL | None = None
    best: Best | None = None
    pretrained: Pool = ()


class NetworkRecord(Record, frozen=True, kw_only=True):
    """A network that was evaluated.

    Attributes:
      label: as in the report, `rotation+src` or `vgg16/rotation.self_assl`.
      pool: its tasks; empty without pretraining.
      variant: "scratch", "start", "plain", "longer", "second_run" or "self_assl".
      backbone: name of the architecture.
      pretrain, finetune: folder names of its stages; `pretrain` is None from scratch.
      flops: floating-point operations of its pretraining and of the networks that it builds on; 0
        from scratch, None if unknown. Times are in the records of the stages, because results must
        not differ between two runs.
    """

    label: str
    pool: Pool
    variant: str
    backbone: str
    finetune: str
    pretrain: str | None = None
    flops: float | None = None


class Results(Findings, frozen=True, kw_only=True):
    """`results.json`: what was run, and what it found.

    Attributes:
      experiment, seed: of the config.
      data: name of the data source.
      space: shape of an image.
      select_on: "cv" or "test".
      metric: the metric that selection looks at.
      labels: size of the labelled set.
      test_images: number of test images.
      classes: their names.
      patients: number of test patients; None where patients are not known.
      over_scratch: what `best` gains over scratch in the metric of the test set, paired by image
        and fine-tuning; None where it is not known.
      skipped: files that were left out, with reasons.
      stages: folder of the stages, relative to the workdir.
      networks: every network that was evaluated.
      reused: folders of stages that other code computed and `--reuse=settings` took.
      images, data_digest: what was read; None and "" in a file of an earlier version.
    """

    experiment: str
    data: str
    space: tuple[int, ...]
    seed: int
    select_on: str
    metric: str
    labels: int
    test_images: int
    classes: tuple[str, ...]
    stages: str
    networks: tuple[NetworkRecord, ...]
    patients: int | None = None
    over_scratch: Estimate | None = None
    skipped: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    images: DataSummary | None = None
    data_digest: str = ""
    version: int = VERSION

    @property
    def kept(self) -> NetworkRecord | None:
        """The network that the run ends with; None if the experiment only compares networks."""
        if self.best is None:
            return None
        kept = self.best.pool, self.best.variant
        return next(n for n in self.networks if (n.pool, n.variant) == kept)


class Probed(Record, frozen=True, kw_only=True):
    """How well a network's frozen features separate the classes.

    Attributes:
      label: of the network.
      folder: of its weights; None for untrained ones.
      features: their number, d.
      effective_rank: of the features of the labelled and test images together.
      probes: by name (`evaluation.probes.PROBES`).
    """

    label: str
    folder: str | None
    features: int
    effective_rank: float
    probes: dict[str, Evaluation]


class Probes(Record, frozen=True, kw_only=True):
    """`probes.json`: the probed networks of a run.

    Attributes:
      data: name of the data source.
      layer: the features' layer.
      k: neighbours of k-NN.
      classes: their names.
      labels, labelled_sets: size of a labelled set, and number of sets.
      test_images, patients: of the test set; None where patients are not known.
      networks: untrained ones first.
    """

    data: str
    layer: str
    k: int
    classes: tuple[str, ...]
    labels: int
    labelled_sets: int
    test_images: int
    patients: int | None
    networks: tuple[Probed, ...]
    version: int = VERSION
