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
      criterion: which task is tried next, as in `search.next`.
    """

    pool: Pool
    candidates: tuple[Extension, ...]
    chosen: str
    accepted: bool
    criterion: str


class Move(Record, frozen=True, kw_only=True):
    """A network of a round.

    Gains are in the metric of the selection, paired by image, above 0 if the network is better.

    Attributes:
      task: that extends the network of the round; "" goes on as before.
      start: what it goes on from: the network of the round, or one that was nearly as good.
      network: what was trained.
      gain, error: how much better it is than the network of the round, and the standard error.
      added, added_error: the same against going on, which costs as much; None for going on itself.
    """

    task: str
    start: Network
    network: Network
    gain: float
    error: float
    added: float | None = None
    added_error: float | None = None


class Round(Record, frozen=True, kw_only=True):
    """A round of a search: a network that goes on in several ways of the same cost.

    Attributes:
      start: the network.
      candidates: its extensions, in the order in which the search prefers them.
      moves: the networks that were trained.
      criterion: which task is tried next, as in `search.next`.
      expected: how much better the best of them is expected to be than `start`.
    """

    start: Network
    candidates: tuple[Extension, ...]
    moves: tuple[Move, ...]
    criterion: str
    expected: float


class Standing(Record, frozen=True, kw_only=True):
    """What a search thinks of a network at its end.

    Attributes:
      network: the network.
      evaluation: how good it is.
      estimate, error: of the metric of the selection, shrunk towards the mean of all networks, and
        its standard deviation; see `strategies.selection`.
      probability: that it is the best of all.
      divisions: number of divisions into folds on which it was cross-validated.
    """

    network: Network
    evaluation: Evaluation
    estimate: float
    error: float
    probability: float
    divisions: int


class Search(Record, frozen=True, kw_only=True):
    """The rounds of a search, and what it ends with.

    Attributes:
      rounds: in their order.
      standings: of all networks, best first; the first one is kept.
      stopped: why no further round was begun: "gain", "budget" or "tasks".
      spent, budget: floating-point operations of all trainings, and what they might cost.
    """

    rounds: tuple[Round, ...]
    standings: tuple[Standing, ...]
    stopped: str
    spent: float
    budget: float


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
