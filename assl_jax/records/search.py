"""What Algorithm 1 looked at and decided."""

from assl_jax.records.base import Pool, Record
from assl_jax.records.evaluation import Estimate, Evaluation
from assl_jax.records.network import Network


class Best(Record, frozen=True, kw_only=True):
    """The network that a run ends with; its weights lie in `BACKBONE_FOLDER` of the workdir.

    Attributes:
      network: the network; `SCRATCH` if nothing was better than training from scratch, so that
        there is no pretrained backbone.
      evaluation: how good it is.
    """

    network: Network
    evaluation: Evaluation


class Control(Record, frozen=True, kw_only=True):
    """A pool's first task alone, with all the compute of the pool and of its parts.

    Attributes:
      network: of the single task.
      as_long_as: the pool: the last one that was accepted, or the one that was rejected first.
      evaluation: how good the control is.
    """

    network: Network
    as_long_as: Network
    evaluation: Evaluation


class Finalist(Record, frozen=True, kw_only=True):
    """A network that the last word of a search looked at.

    Attributes:
      network: the network.
      score: the mean metric of the selection over all folds that all finalists share, or on the
        test set if the search looks at it.
      error: standard error of the difference between its score and the kept network's, paired by
        image.
    """

    network: Network
    score: float
    error: float


class LastWord(Record, frozen=True, kw_only=True):
    """Which of its networks a search keeps.

    Attributes:
      divisions: number of divisions into folds that all finalists share; 0 on the test set.
      finalists: best first; the first one is kept.
    """

    divisions: int
    finalists: tuple[Finalist, ...]


class Extension(Record, frozen=True, kw_only=True):
    """A pool and one more task, measured against both: a row of Tables 1, 2 and 3.

    Attributes:
      pool: the tasks before.
      task: the task that joins them.
      similarity: LCKA between the features of pool and task.
      avg, max: mean and maximum of the two test accuracies.
      complement: how much the task's features add to the pool's, see `Evidence.complement`; None
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
      criterion: which task is tried next, as in `search.next`; "" in a file of an earlier version.
      rule: when a larger pool is accepted, as in `search.accept`; "" as before.
    """

    pool: Pool
    candidates: tuple[Extension, ...]
    chosen: str
    accepted: bool
    gain: float | None = None
    error: float | None = None
    needed: float | None = None
    criterion: str = ""
    rule: str = ""


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


class Rung(Record, frozen=True, kw_only=True):
    """A look at unfinished pretrainings, after which the worse half of the tasks is left out.

    Attributes:
      share: how much of every pretraining was done.
      values: the metric of the selection over the folds, by task, best first.
      kept: the tasks that go on.
    """

    share: float
    values: dict[str, Estimate]
    kept: Pool


class Similarity(Record, frozen=True, kw_only=True):
    """LCKA between the single tasks' features of `n` images: a `[k, k]` matrix."""

    tasks: Pool
    n: int
    layer: str
    estimator: str
    matrix: tuple[tuple[float, ...], ...]
