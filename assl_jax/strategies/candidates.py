"""The candidates of a search: which tasks go on, and which one is the next for a network."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Extension, Network, Pool, Rung, Similarity
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.settings import NEXT, SearchSettings
from assl_jax.strategies.study import Study

STAY = 2  # tasks that no rung leaves out


def begins_with(study: Study, settings: SearchSettings) -> list[Network]:
    """The networks that a search begins with: all tasks, up to the first rung, and the teachers."""
    tasks = study.tasks
    share = next(iter(settings.rungs), 1.0) if len(tasks) > STAY else 1.0
    return [study.single(name, 1.0 if name in study.given else share) for name in study.members()]


def climb(evidence: Evidence, settings: SearchSettings) -> Generator[Any, None, tuple[Rung, ...]]:
    """Pretrain the tasks from rung to rung, and leave out the worse half at each."""
    study, higher = evidence.study, METRICS[settings.metric].higher_is_better
    rungs: list[Rung] = []
    for share in settings.rungs:
        left = rungs[-1].kept if rungs else tuple(study.tasks)
        if len(left) <= STAY:
            break
        networks = {name: study.single(name, share) for name in left}
        yield from evidence.evaluated(list(networks.values()), tested=False)
        values = {name: evidence.selection(network) for name, network in networks.items()}
        order = sorted(left, key=lambda name: values[name].mean, reverse=higher)
        best = order[: (len(order) + 1) // 2]
        rungs.append(
            Rung(
                share=share,
                values={name: values[name] for name in order},
                kept=tuple(name for name in left if name in best),
            )
        )
    return tuple(rungs)


class Candidates(NamedTuple):
    """The tasks that may extend a network.

    Attributes:
      order: their names; the first one is the next.
      similar: LCKA between the features of network and task.
      complement: how much a task's features add to the network's; None if nobody asks.
      criterion: by which they are ordered, a key of `NEXT`.
    """

    order: list[str]
    similar: dict[str, float]
    complement: dict[str, float | None]
    criterion: str


def candidates(
    evidence: Evidence, settings: SearchSettings, network: Network, names: Sequence[str]
) -> Generator[Any, None, Candidates]:
    """Compare a network with the single networks of some tasks, and order these."""
    study = evidence.study
    singles = [study.single(name) for name in names]
    yield from evidence.compared([network, *singles])
    criterion = NEXT[settings.next]
    asked = singles if settings.complement or criterion.complement else []
    yield from evidence.complemented(network, asked)
    row = evidence.similarities([network, *singles])[0, 1:].tolist()
    similar = dict(zip(names, row, strict=True))
    complement = {
        name: evidence.complement(network, each) if asked else None
        for name, each in zip(names, singles, strict=True)
    }
    order = sorted(names, key=lambda name: criterion.rank(similar[name], complement[name]))
    return Candidates(order, similar, complement, settings.next)


def extension(
    pool: Pool,
    task: str,
    similarity: float,
    incumbent: Evaluation,
    single: Evaluation,
    evaluation: Evaluation | None,
    complement: float | None = None,
) -> Extension:
    """A pool extended by `task`, measured against the accuracies of its two parts."""
    accuracies = (incumbent.accuracy.mean, single.accuracy.mean)
    return Extension(
        pool=pool,
        task=task,
        similarity=round(similarity, 6),
        avg=sum(accuracies) / 2,
        max=max(accuracies),
        evaluation=evaluation,
        complement=None if complement is None else round(complement, 6),
    )


def similarity_of(evidence: Evidence, tasks: Sequence[str]) -> Similarity:
    """The similarity of every pair of single tasks."""
    study = evidence.study
    matrix = evidence.similarities([study.single(name) for name in tasks])
    return Similarity(
        tasks=tuple(tasks),
        n=min(study.similarity.n, len(study.dataset.unlabeled)),
        layer=study.similarity.layer,
        estimator=study.similarity.estimator,
        matrix=tuple(tuple(round(float(s), 6) for s in row) for row in matrix),
    )
