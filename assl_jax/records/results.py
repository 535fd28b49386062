"""`results.json` and `probes.json`: what a run found."""

from typing import Any

import msgspec

from assl_jax.errors import lookup
from assl_jax.records.base import VERSION, Pool, Record
from assl_jax.records.data import DataSummary
from assl_jax.records.evaluation import Estimate, Evaluation
from assl_jax.records.network import Network
from assl_jax.records.search import Best, Extension, Iteration, Rung, Search, Similarity


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
      rungs: looks at unfinished pretrainings, in order (`search.rungs`).
      singles: each task alone, of those that no rung has left out.
      similarity: of the single tasks' features.
      search: its rounds, and what it thinks of all networks; None with the paper's rules.
      iterations: of Algorithm 1, with the paper's rules.
      pairs: every pair of tasks (Table 1).
      correlation: of similarity with "avg_gain" and "max_gain" over the pairs.
      complement_correlation: of the complement with the same gains; empty if one is unknown.
      self_assl: with and without Self-ASSL (Table 4).
      best: the network that the run ends with.
      pretrained: that network, if the data have no labels and nothing was tested.
    """

    scratch: Evaluation | None = None
    start: Evaluation | msgspec.UnsetType = msgspec.UNSET
    rungs: tuple[Rung, ...] = ()
    singles: dict[str, Evaluation] = {}
    similarity: Similarity | None = None
    search: Search | None = None
    iterations: tuple[Iteration, ...] = ()
    pairs: tuple[Extension, ...] = ()
    correlation: dict[str, Correlation] = {}
    complement_correlation: dict[str, Correlation] = {}
    self_assl: SelfASSL | None = None
    best: Best | None = None
    pretrained: Network | None = None


class OperatingPoint(Record, frozen=True, kw_only=True):
    """Where two classes are told apart.

    Attributes:
      threshold: the calibrated probability from which on an image is of the last class.
      sensitivity: share of the last class's out-of-fold images that are found.
      specificity: the same share of the first class.
    """

    threshold: float
    sensitivity: float
    specificity: float


class Calibration(Record, frozen=True, kw_only=True):
    """What the out-of-fold predictions of a cross-validation tell of a network's probabilities.

    Attributes:
      temperature: divides the logits of each fine-tuned network; above 1 makes it less sure.
      points: of two classes, by rising threshold; empty with more classes.
    """

    temperature: float
    points: tuple[OperatingPoint, ...] = ()


class NetworkRecord(Record, frozen=True, kw_only=True):
    """A network that was evaluated.

    Attributes:
      label: of its logs and stages, `rotation+src` or `vgg16/rotation.self_assl`.
      network: its history.
      backbone: name of the architecture.
      pretrain, finetune: folder names of its stages; `pretrain` is None from scratch.
      flops: floating-point operations of its pretraining and of the networks that it builds on; 0
        from scratch, None if unknown. Times are in the records of the stages, because results must
        not differ between two runs.
      calibration: None without a cross-validation, and in a file of an earlier version.
    """

    label: str
    network: Network
    backbone: str
    finetune: str
    pretrain: str | None = None
    flops: float | None = None
    calibration: Calibration | None = None

    @property
    def temperature(self) -> float:
        """What divides the logits of its fine-tuned networks; 1 if that is not known."""
        return self.calibration.temperature if self.calibration else 1.0


class StartWeights(Record, frozen=True, kw_only=True):
    """The weights that a run starts from (`init.path`).

    Attributes:
      source: name of the run, stage or file that holds them.
      title: of the network there; "" if the file does not say it.
      flops: floating-point operations of its pretraining, with the networks that it builds on; None
        if unknown.
    """

    source: str
    title: str = ""
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
      start_weights: what `start` is; None without start weights, or in an earlier version.
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
    start_weights: StartWeights | None = None
    version: int = VERSION

    @property
    def kept(self) -> NetworkRecord | None:
        """The network that the run ends with; None if the experiment only compares networks."""
        if self.best is None:
            return None
        return next(n for n in self.networks if n.network == self.best.network)

    def network(self, label: str, option: str = "--network") -> NetworkRecord:
        """The network of a label, which the user gave as `option`.

        Raises:
          InputError: an unknown label.
        """
        return lookup({each.label: each for each in self.networks}, label, option)


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
