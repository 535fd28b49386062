"""The files that a run leaves, as typed records: results, stages, networks, the log.

Each record is declared here once. Strategies fill it; the report and the commands read its
attributes. Writing checks nothing; reading checks every field, so that a damaged file is one clear
line and never a wrong table.
"""

import json
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from assl_jax import files
from assl_jax.errors import InputError, require
from assl_jax.ops.intensity import Intensity

VERSION = 1  # of all files below; raise it when a field changes its meaning

RESULTS = "results.json"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
DONE = "done.json"
BACKBONE = "backbone.json"
MODEL = "model.json"
PROBES = "probes.json"
BACKBONE_FOLDER = "backbone"  # with BACKBONE and the weights, in a workdir or a stage
MODEL_FOLDER = "model"  # with MODEL and the weights, in a stage

Pool = tuple[str, ...]  # names of proxy tasks
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """Named values, read only."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


class Estimate(Record, frozen=True, kw_only=True):
    """A quantity over repetitions (fine-tunings, folds).

    Attributes:
      mean: their mean.
      std: their sample standard deviation; 0 for a single one.
      runs: the value of each repetition; empty where they are not kept.
      low, high: ends of a 95 % bootstrap interval of the mean; None without one.
    """

    mean: float
    std: float
    runs: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None


class Evaluation(Record, frozen=True, kw_only=True):
    """How good a network is.

    Attributes:
      metrics: by name (`evaluation.scores.METRICS`), on the test set; a metric that is not defined
        there, such as AUC where a class is missing, is left out.
      confusion: `[k, k]` numbers of test images, rows the true classes, mean over the runs.
      selection: the metric that selection looks at, over the folds of a cross-validation inside
        the labelled set; None without folds.
    """

    metrics: dict[str, Estimate]
    confusion: tuple[tuple[float, ...], ...]
    selection: Estimate | None = None

    @property
    def accuracy(self) -> Estimate:
        return self.metrics["accuracy"]


class Best(Record, frozen=True, kw_only=True):
    """The pool that a run ends with; its weights lie in `BACKBONE_FOLDER` of the workdir."""

    pool: Pool
    evaluation: Evaluation


class Extension(Record, frozen=True, kw_only=True):
    """A pool and one more task, measured against both: a row of Tables 1, 2 and 3.

    Attributes:
      pool: the tasks before.
      task: the task that joins them.
      similarity: LCKA between the features of pool and task.
      avg, max: mean and maximum of the two test accuracies.
      evaluation: of the network trained on all of them; None where it was not trained.
    """

    pool: Pool
    task: str
    similarity: float
    avg: float
    max: float
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
      candidates: its extensions, the least similar first.
      chosen: the task whose extension was decided on.
      accepted: whether it became the incumbent.
    """

    pool: Pool
    candidates: tuple[Extension, ...]
    chosen: str
    accepted: bool


class Similarity(Record, frozen=True, kw_only=True):
    """LCKA between the single tasks' features of `n` images: a `[k, k]` matrix."""

    tasks: Pool
    n: int
    layer: str
    estimator: str
    matrix: tuple[tuple[float, ...], ...]


class Correlation(Record, frozen=True, kw_only=True):
    """Of similarity with a gain over all pairs, in [-1, 1]; None where it is not defined.

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
    """All pools on one backbone, and training from scratch."""

    backbone: str
    scratch: Evaluation
    rows: tuple[SelfASSLRow, ...]


class SelfASSL(Record, frozen=True, kw_only=True):
    """Table 4; `settings` are those of the group `self_assl` of the config."""

    settings: dict[str, Any]
    backbones: tuple[SelfASSLGroup, ...]


class Findings(Record, frozen=True, kw_only=True):
    """What a strategy found; each strategy fills the fields that it has something for.

    Attributes:
      scratch: fine-tuning without pretraining.
      singles: each task alone.
      similarity: of the single tasks' features.
      iterations: of Algorithm 1.
      pairs: every pair of tasks (Table 1).
      correlation: of similarity with "avg_gain" and "max_gain" over the pairs.
      self_assl: with and without Self-ASSL (Table 4).
      best: the pool that the run ends with.
    """

    scratch: Evaluation | None = None
    singles: dict[str, Evaluation] = {}
    similarity: Similarity | None = None
    iterations: tuple[Iteration, ...] = ()
    pairs: tuple[Extension, ...] = ()
    correlation: dict[str, Correlation] = {}
    self_assl: SelfASSL | None = None
    best: Best | None = None


class NetworkRecord(Record, frozen=True, kw_only=True):
    """A network that was evaluated.

    Attributes:
      label: as in the report, `rotation+src` or `vgg16/rotation.self_assl`.
      pool: its tasks; empty from scratch.
      variant: "scratch", "plain", "second_run" or "self_assl".
      backbone: name of the architecture.
      pretrain, finetune: names of its stages' folders; no pretraining from scratch.
    """

    label: str
    pool: Pool
    variant: str
    backbone: str
    finetune: str
    pretrain: str | None = None


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
      skipped: files that were left out, with reasons.
      stages: folder of the stages, relative to the workdir.
      networks: every network that was evaluated.
      reused: folders of stages that other code computed and `--reuse=settings` took.
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
    skipped: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    version: int = VERSION


class Pretrained(Record, frozen=True, kw_only=True, tag_field="type", tag="pretrained"):
    """Result of a pretraining stage: its files hold everything."""


class Folds(Record, frozen=True, kw_only=True, tag_field="type", tag="folds"):
    """Result of a cross-validation: each metric's value on every fold."""

    metrics: dict[str, tuple[float, ...]]


class Features(Record, frozen=True, kw_only=True, tag_field="type", tag="features"):
    """Result of a feature extraction: the shape `[n, d]` of `features.npy`."""

    n: int
    d: int


class Finetuned(Record, frozen=True, kw_only=True, tag_field="type", tag="finetuned"):
    """Result of the fine-tunings on all labels."""

    evaluation: Evaluation


StageResult = Pretrained | Folds | Features | Finetuned


class StageRecord(Record, frozen=True, kw_only=True):
    """`done.json`: a finished stage.

    Attributes:
      kind: "pretrain", "finetune", "select" or "features".
      label: the network's.
      settings: everything that determines the result beside the code.
      code: digest of the source that the stage can reach, see `strategies.identity`.
      commit: of the source tree; "" outside git.
      result: what was computed, beside the stage's files.
      seconds: how long it took.
      images_per_s: throughput of training.
      peak_host_bytes, peak_device_bytes: see `training.memory`.
    """

    kind: str
    label: str
    settings: dict[str, Any]
    code: str
    commit: str
    result: StageResult
    seconds: float
    images_per_s: float | None = None
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None
    version: int = VERSION


class BackboneRecord(Record, frozen=True, kw_only=True):
    """`backbone.json`: what the weights of a pretrained backbone belong to.

    Attributes:
      backbone: keyword arguments of `models.make_backbone`.
      intensity: how stored integers become network inputs.
      pool: the proxy tasks it was trained on.
    """

    backbone: dict[str, Any]
    intensity: Intensity
    pool: Pool
    version: int = VERSION


class ModelRecord(Record, frozen=True, kw_only=True):
    """`model.json`: what the weights of a fine-tuned network belong to; see `BackboneRecord`.

    Attributes:
      classes: names, in the order of the logits.
    """

    backbone: dict[str, Any]
    intensity: Intensity
    classes: tuple[str, ...]
    version: int = VERSION


class Probed(Record, frozen=True, kw_only=True):
    """What a network's frozen features know of the classes.

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


class LogRecord(Record, frozen=True, kw_only=True):
    """One line of `metrics.jsonl`.

    Attributes:
      stage: folder of the stage.
      kind, label: of the stage.
      task: the proxy task, "target", "held_out" (measured from outside) or "memory".
      step, steps: steps taken, and in all.
      run: which fine-tuning; "" where there is one training.
      values: what was measured, by name.
    """

    stage: str
    kind: str
    label: str
    task: str
    step: int
    steps: int = 0
    run: str = ""
    values: dict[str, float] = {}

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a record is of: a resumed training repeats steps, and the last record counts."""
        return self.stage, self.run, self.task, self.step

    def to_line(self) -> str:
        """One flat JSON object, the values next to the other fields."""
        flat = msgspec.structs.asdict(self)
        return json.dumps(flat | flat.pop("values"))

    @classmethod
    def from_line(cls, line: str) -> "LogRecord":
        """The inverse of `to_line`. Raises `ValueError` for anything else."""
        flat = json.loads(line)
        if not isinstance(flat, dict):
            raise ValueError("not a JSON object")
        known = {name: flat.pop(name) for name in cls.__struct_fields__ if name in flat}
        return msgspec.convert({**known, "values": flat}, cls)


def read(path: Path, kind: type[T]) -> T:
    """Read a record of type `kind`.

    Raises:
      InputError: no such file, one that is damaged or truncated, or one of another version.
    """
    content = _content(path)
    try:
        version = msgspec.json.decode(content, type=_Versioned).version
        require(
            version == VERSION,
            f"{path} has format version {version}, this program reads version {VERSION}; "
            "delete it and run the same command again",
        )
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise _damaged(path, error) from error


def write(path: Path, record: Record) -> None:
    """Write a record atomically, as indented JSON."""
    files.write_bytes(path, msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of nested settings, `config.json` or `environment.json`; lists become tuples.

    Raises:
      InputError: as `read`.
    """
    try:
        found = msgspec.json.decode(_content(path))
    except msgspec.MsgspecError as error:
        raise _damaged(path, error) from error
    require(isinstance(found, dict), f"{path} holds no JSON object; delete it and run again")
    return as_settings(found)


def as_settings(tree: Any) -> Any:
    """Nested settings as they come back from JSON: every list is a tuple."""
    if isinstance(tree, dict):
        return {key: as_settings(value) for key, value in tree.items()}
    return tuple(map(as_settings, tree)) if isinstance(tree, list | tuple) else tree


class _Versioned(msgspec.Struct):
    version: int = 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; run it first") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"{path} is damaged ({reason}); delete it and run the same command again")
