"""MT-ASSL: which proxy tasks to train together (paper, Algorithm 1, as Table 2 runs it)."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import (
    SCRATCH,
    Best,
    Control,
    Evaluation,
    Extension,
    Finalist,
    Findings,
    Iteration,
    LastWord,
    Lead,
    Network,
    Pool,
    Rung,
    Similarity,
)
from assl_jax.strategies import pretraining
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.pretraining import longer
from assl_jax.strategies.settings import ACCEPT, NEXT, SearchSettings
from assl_jax.strategies.stage import Plan
from assl_jax.strategies.study import Study

STAY = 2  # tasks that no rung leaves out


def begins_with(study: Study, settings: SearchSettings) -> list[Network]:
    """The networks that a search begins with: all tasks, up to the first rung, and the teachers."""
    tasks = study.tasks
    share = next(iter(settings.rungs), 1.0) if len(tasks) > STAY else 1.0
    return [study.single(name, 1.0 if name in study.given else share) for name in study.members()]


def search(evidence: Evidence, settings: SearchSettings) -> Plan:
    """Greedily add the most promising task to the pool while the fine-tuned network gets better.

    Every candidate is pretrained from scratch and fine-tuned, unless it is among the worse half at
    one of `settings.rungs`. The best one is the first pool. Then the search adds the remaining task
    whose features have the smallest LCKA with the pool's features, or another one if
    `settings.next` says so. It trains a new backbone on the larger pool, and keeps the pool if it
    satisfies `settings.accept`.

    The candidates are the tasks of the study, of which earlier ones win ties, and its teachers,
    whose networks are given. Each pool of several has a task.

    Returns:
      `scratch`, `rungs`, `singles`, `similarity`, `lead`, `left_out`, `iterations`, `control`,
      `last_word` and `best`.

    Deviations: line 23 of Algorithm 1 evaluates the pool before the enlarged one is trained. Here,
    as in Table 2, the enlarged pool is trained first. The paper compares test accuracies and
    accepts a pool that is not worse. The defaults here compare the calibrated log loss of a
    cross-validation, image by image, on folds other than those that chose the first pool: the best
    of several noisy values is too good by luck, and would be hard to beat on the same folds. Every
    network that is trained is paid for, so the last word is no test: it keeps the one with the
    best mean value over all divisions into folds. See `_last_word`. `AS_PRINTED` has the paper's
    rules.
    """
    study = evidence.study
    rungs = yield from _climb(evidence, settings)
    teachers = [name for name in study.members() if name in study.given]
    names = (*(rungs[-1].kept if rungs else study.tasks), *teachers)
    networks = [study.single(name) for name in names]
    yield from evidence.evaluated([*study.baselines, *networks])
    yield from evidence.compared(networks)
    singles = {name: evidence.evaluate(study.single(name)) for name in names}
    start = evidence.start()
    grown = yield from _grow(evidence, settings, singles)
    last = yield from _last_word(evidence, settings, grown)
    return Findings(
        scratch=evidence.evaluate(SCRATCH),
        start=start,
        rungs=rungs,
        singles=singles,
        similarity=similarity_of(evidence, names),
        lead=grown.lead,
        left_out=grown.left_out,
        iterations=grown.iterations,
        control=last.control,
        last_word=last.word,
        best=Best(network=last.kept, evaluation=evidence.evaluate(last.kept)),
    )


class _Grown(NamedTuple):
    pool: Pool
    lead: Lead | None
    left_out: Pool
    iterations: tuple[Iteration, ...]


def _grow(
    evidence: Evidence, settings: SearchSettings, singles: dict[str, Evaluation]
) -> Generator[Any, None, _Grown]:
    """Begin with the best single network, and enlarge its pool while that is accepted."""
    study, direction = evidence.study, METRICS[settings.metric]
    on_test, teachers = settings.select_on == "test", {*study.given}

    def value(evaluation: Evaluation) -> float:
        return value_of(evaluation, settings)

    base = evidence.start() or evidence.evaluate(SCRATCH)
    higher = direction.higher_is_better
    ranked = sorted(singles, key=lambda name: value(singles[name]), reverse=higher)
    pool: Pool = (ranked[0],)
    best, lead = singles[ranked[0]], None
    if len(ranked) > 1:
        second = study.single(ranked[1])
        ahead = evidence.gain(second, study.single(ranked[0]), on_test=on_test)
        lead = Lead(second=ranked[1], gain=ahead.mean, error=ahead.error)
    left_out = tuple(
        name
        for name in singles
        if settings.gate and not direction.better(value(singles[name]), value(base))
    )
    iterations: list[Iteration] = []
    while remaining := [
        name for name in singles if name not in (*pool, *left_out) and not {*pool, name} <= teachers
    ]:
        turn = yield from _extend(evidence, settings, pool, remaining, len(iterations) + 1)
        extended = evidence.evaluate(study.pool((*pool, turn.chosen)))
        accepted = turn.accepted
        if turn.gain is None:
            accepted = not direction.better(value(best), value(extended))
        rows = tuple(
            extension(
                pool,
                name,
                turn.similar[name],
                best,
                singles[name],
                evidence.evaluate(study.pool((*pool, name))) if name in turn.trained else None,
                turn.complement[name],
            )
            for name in turn.order
        )
        iterations.append(
            Iteration(
                pool=pool,
                candidates=rows,
                chosen=turn.chosen,
                accepted=accepted,
                gain=turn.gain,
                error=turn.error,
                needed=turn.needed,
                criterion=settings.next,
                rule=settings.accept,
            )
        )
        if not accepted:
            break
        pool, best = (*pool, turn.chosen), extended
    return _Grown(pool, lead, left_out, tuple(iterations))


class _Turn(NamedTuple):
    similar: dict[str, float]
    complement: dict[str, float | None]
    order: list[str]
    trained: Sequence[str]
    accepted: bool = False
    gain: float | None = None
    error: float | None = None
    needed: float | None = None

    @property
    def chosen(self) -> str:
        return self.order[0]


def _extend(
    evidence: Evidence, settings: SearchSettings, pool: Pool, remaining: Sequence[str], turn: int
) -> Generator[Any, None, _Turn]:
    """Choose the task that joins a pool next, train the larger pool, and compare the two.

    Args:
      evidence, settings: of the search.
      pool, remaining: the pool, and the tasks that may join it.
      turn: number of the turn, from 1, and of a division into folds that has neither chosen nor
        accepted a network before.
    """
    study = evidence.study
    before, networks = study.pool(pool), [study.single(name) for name in remaining]
    yield from evidence.compared([before, *networks])
    criterion = NEXT[settings.next]
    asked = networks if settings.complement or criterion.complement else []
    yield from evidence.complemented(before, asked)
    row = evidence.similarities([before, *networks])[0, 1:].tolist()
    similar = dict(zip(remaining, row, strict=True))
    complement = {
        name: evidence.complement(before, network) if asked else None
        for name, network in zip(remaining, networks, strict=True)
    }
    order = sorted(remaining, key=lambda name: criterion.rank(similar[name], complement[name]))
    trained = remaining if settings.candidates == "all" else order[:1]
    larger = [study.pool((*pool, name)) for name in trained]
    yield from evidence.evaluated(larger)
    found = _Turn(similar, complement, order, trained)
    errors, on_test = ACCEPT[settings.accept], settings.select_on == "test"
    if errors is None:
        return found
    after = study.pool((*pool, found.chosen))
    if not on_test:
        yield from evidence.evaluated([before, after], [turn])
    gain = evidence.gain(before, after, on_test=on_test, divisions=[turn])
    needed = errors * gain.error
    return found._replace(
        accepted=gain.mean > needed, gain=gain.mean, error=gain.error, needed=needed
    )


def _climb(evidence: Evidence, settings: SearchSettings) -> Generator[Any, None, tuple[Rung, ...]]:
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


class _Last(NamedTuple):
    kept: Network
    word: LastWord | None
    control: Control | None


def _last_word(
    evidence: Evidence, settings: SearchSettings, grown: _Grown
) -> Generator[Any, None, _Last]:
    """Keep the network with the best mean value over all divisions into folds.

    It is one of those that were paid for: the first network, every pool, the control, which is
    trained here, and with a gate the baselines. On each division all of them are cross-validated.
    The test set counts alone if the search looks at it.
    """
    study, iterations = evidence.study, grown.iterations
    tried = [study.pool((*turn.pool, turn.chosen)) for turn in iterations]
    begun = study.pool(iterations[0].pool if iterations else grown.pool)
    networks = [begun, *tried] if settings.control else [study.pool(grown.pool)]
    alone = None
    if settings.control and tried:
        pool = grown.pool if len(grown.pool) > 1 else (*grown.pool, iterations[0].chosen)
        larger, first = study.pool(pool), next(name for name in pool if name in study.tasks)
        alone = longer(study, larger, first)
        networks.append(alone)
    networks = [*study.baselines, *networks] if settings.gate else networks
    if len(networks) == 1:
        return _Last(networks[0], None, None)
    on_test, higher = settings.select_on == "test", METRICS[settings.metric].higher_is_better
    further = 0 if ACCEPT[settings.accept] is None else len(iterations)
    divisions = range(0 if on_test else 1 + further)
    yield from evidence.evaluated(networks, divisions)

    def score(network: Network) -> float:
        if on_test:
            return value_of(evidence.evaluate(network), settings)
        return evidence.selection(network, divisions).mean

    scores = {network: score(network) for network in networks}
    ranked = sorted(networks, key=scores.__getitem__, reverse=higher)
    finalists = tuple(
        Finalist(
            network=network,
            score=scores[network],
            error=evidence.gain(network, ranked[0], on_test=on_test, divisions=divisions).error,
        )
        for network in ranked
    )
    control = None
    if alone:
        control = Control(network=alone, as_long_as=larger, evaluation=evidence.evaluate(alone))
    return _Last(ranked[0], LastWord(divisions=len(divisions), finalists=finalists), control)


def value_of(evaluation: Evaluation, settings: SearchSettings) -> float:
    """The value that a search decides on, of cross-validation or of the test set."""
    if settings.select_on == "cv":
        assert evaluation.selection is not None
        return evaluation.selection.mean
    return evaluation.metrics[settings.metric].mean


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


def single(evidence: Evidence, kept: Network) -> Plan:
    """Pretrain and fine-tune one network, and train from scratch for comparison.

    Without labels, it is pretrained only.
    """
    study = evidence.study
    if not study.dataset.labelled_sets:
        yield [pretraining.spec(study, each) for each in study.repeats(kept)]
        return Findings(pretrained=kept)
    yield from evidence.evaluated(list(dict.fromkeys([kept, *study.baselines])))
    return Findings(
        scratch=evidence.evaluate(SCRATCH),
        start=evidence.start(),
        best=Best(network=kept, evaluation=evidence.evaluate(kept)),
    )
