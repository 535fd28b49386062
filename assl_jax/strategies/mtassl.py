"""MT-ASSL: which proxy tasks to train together (paper, Algorithm 1, as Table 2 runs it)."""

import math
from collections.abc import Sequence
from typing import Any

from assl_jax.errors import InputError
from assl_jax.evaluation.scores import METRICS
from assl_jax.records import (
    Best,
    Control,
    Evaluation,
    Extension,
    Finalist,
    Findings,
    Iteration,
    LastWord,
    Lead,
    Pool,
    Rung,
    Similarity,
)
from assl_jax.strategies.network import SCRATCH, START, Network
from assl_jax.strategies.settings import ACCEPT, SearchSettings
from assl_jax.strategies.study import Study

STAY = 2  # tasks that no rung leaves out


def begins_with(
    tasks: Sequence[str], teachers: Sequence[str], settings: SearchSettings
) -> list[Network]:
    """The networks that a search begins with: all tasks, up to the first rung, and the teachers."""
    share = next(iter(settings.rungs), 1.0) if len(tasks) > STAY else 1.0
    found = [Network((name,), share=share) for name in tasks]
    return [*found, *(Network((name,)) for name in teachers)]


def search(
    study: Study,
    *,
    tasks: Sequence[str],
    settings: SearchSettings,
    teachers: Sequence[str] = (),
) -> Findings:
    """Greedily add the most promising task to the pool while the fine-tuned network gets better.

    Every candidate is pretrained from scratch and fine-tuned, unless it is among the worse half at
    one of `settings.rungs`. The best one is the first pool. Then the search adds the remaining task
    whose features have the smallest LCKA with the pool's features, or another one if
    `settings.next` says so. It trains a new backbone on the larger pool, and keeps the pool if it
    satisfies `settings.accept`.

    Args:
      study: trains and evaluates.
      tasks: names of the candidate proxy tasks; earlier ones win ties.
      settings: how the search decides.
      teachers: names of further candidates, whose networks are given. Each pool of several has a
        task.

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
    direction, on_test = METRICS[settings.metric], settings.select_on == "test"

    def value(evaluation: Evaluation) -> float:
        return value_of(evaluation, settings)

    rungs = _climb(study, tasks, settings)
    names = (*(rungs[-1].kept if rungs else tasks), *teachers)
    study.evaluate_all([*study.baselines, *(Network((name,)) for name in names)])
    scratch, start = study.evaluate(SCRATCH), study.evaluate_start()
    singles = {name: study.evaluate(Network((name,))) for name in names}
    similarity = similarity_of(study, names)

    ranked = sorted(names, key=lambda n: value(singles[n]), reverse=direction.higher_is_better)
    pool: Pool = (ranked[0],)
    best = singles[pool[0]]
    lead = None
    if len(ranked) > 1:
        ahead = study.gain(Network((ranked[1],)), Network(pool), on_test=on_test)
        lead = Lead(second=ranked[1], gain=ahead.mean, error=ahead.error)
    left_out = tuple(
        name
        for name in names
        if settings.gate and not direction.better(value(singles[name]), value(start or scratch))
    )
    iterations: list[Iteration] = []
    while remaining := [
        name
        for name in names
        if name not in (*pool, *left_out) and not {*pool, name} <= {*teachers}
    ]:
        similar, complement = _compare(study, pool, remaining)
        keys = similar
        if settings.next == "complement":  # an unknown one comes last
            keys = {name: math.inf if v is None else -v for name, v in complement.items()}
        order = sorted(remaining, key=keys.__getitem__)
        chosen = order[0]
        trained = remaining if settings.candidates == "all" else [chosen]
        # Folds that have neither chosen nor accepted a network before.
        errors, repeat = ACCEPT[settings.accept], len(iterations) + 1
        compared = [] if errors is None or on_test else [(Network(pool), repeat)]
        study.evaluate_all([Network((*pool, name)) for name in trained], compared)
        results = {name: study.evaluate(Network((*pool, name))) for name in trained}
        paired: dict[str, Any] = {}
        if errors is None:
            accepted = not direction.better(value(best), value(results[chosen]))
        else:
            before, after = Network(pool), Network((*pool, chosen))
            gain = study.gain(before, after, on_test=on_test, repeats=[repeat])
            paired = {"gain": gain.mean, "error": gain.error, "needed": errors * gain.error}
            accepted = gain.mean > errors * gain.error
        iterations.append(
            Iteration(
                pool=pool,
                candidates=tuple(
                    extension(
                        pool,
                        name,
                        similar[name],
                        best,
                        singles[name],
                        results.get(name),
                        complement[name],
                    )
                    for name in order
                ),
                chosen=chosen,
                accepted=accepted,
                criterion=settings.next,
                rule=settings.accept,
                **paired,
            )
        )
        if not accepted:
            break
        pool, best = (*pool, chosen), results[chosen]

    begun = Network(iterations[0].pool if iterations else pool)
    tried = [Network((*step.pool, step.chosen)) for step in iterations]
    networks = [begun, *tried] if settings.control else [Network(pool)]
    longer = None
    if settings.control and tried:
        larger = pool if len(pool) > 1 else tried[0].pool
        first = next(name for name in larger if name not in teachers)
        longer = Network((first,), as_long_as=larger)
        networks.append(longer)
    if settings.gate:
        networks = [*study.baselines, *networks]
    further = 0 if ACCEPT[settings.accept] is None else len(iterations)
    kept, last_word = _last_word(study, networks, settings=settings, divisions=1 + further)
    control = None
    if longer:
        control = Control(
            pool=longer.pool, as_long_as=longer.as_long_as, evaluation=study.evaluate(longer)
        )
    return Findings(
        scratch=scratch,
        start=start,
        rungs=rungs,
        singles=singles,
        similarity=similarity,
        lead=lead,
        left_out=left_out,
        iterations=tuple(iterations),
        control=control,
        last_word=last_word,
        best=Best(
            pool=kept.pool,
            evaluation=study.evaluate(kept),
            as_long_as=kept.as_long_as,
            scratch=kept == SCRATCH,
        ),
    )


def _climb(study: Study, tasks: Sequence[str], settings: SearchSettings) -> tuple[Rung, ...]:
    """Pretrain the tasks from rung to rung, and leave out the worse half at each."""
    direction = METRICS[settings.metric]
    rungs: list[Rung] = []
    for share in settings.rungs:
        left = rungs[-1].kept if rungs else tuple(tasks)
        if len(left) <= STAY:
            break
        found = study.select_all([Network((name,), share=share) for name in left])
        values = dict(zip(left, found, strict=True))
        order = sorted(left, key=lambda name: values[name].mean, reverse=direction.higher_is_better)
        best = order[: (len(order) + 1) // 2]
        rungs.append(
            Rung(
                share=share,
                values={name: values[name] for name in order},
                kept=tuple(name for name in left if name in best),
            )
        )
    return tuple(rungs)


def _last_word(
    study: Study, networks: Sequence[Network], *, settings: SearchSettings, divisions: int
) -> tuple[Network, LastWord | None]:
    """The network with the best mean value over all divisions into folds; the first of equals.

    Args:
      study: trains and evaluates.
      networks: to compare; the control is trained here.
      settings: how the search decides.
      divisions: number of divisions into folds. On each of them all networks are cross-validated.
        The test set counts alone if the search looks at it.
    """
    if len(networks) == 1:
        return networks[0], None
    on_test = settings.select_on == "test"
    higher = METRICS[settings.metric].higher_is_better
    repeats = range(0 if on_test else divisions)
    study.evaluate_all(networks, [(each, repeat) for each in networks for repeat in repeats])

    def score(network: Network) -> float:
        if on_test:
            return value_of(study.evaluate(network), settings)
        return study.selection(network, repeats).mean

    scores = {network: score(network) for network in networks}
    ranked = sorted(networks, key=scores.__getitem__, reverse=higher)
    finalists = []
    for network in ranked:
        gain = study.gain(network, ranked[0], on_test=on_test, repeats=repeats)
        finalists.append(
            Finalist(
                pool=network.pool,
                variant=network.variant,
                score=scores[network],
                error=gain.error,
            )
        )
    return ranked[0], LastWord(divisions=len(repeats), finalists=tuple(finalists))


def _compare(
    study: Study, pool: Pool, remaining: Sequence[str]
) -> tuple[dict[str, float], dict[str, float | None]]:
    """The similarity of each remaining task to the pool, and what its features add to it."""
    networks = [Network((name,)) for name in remaining]
    similar = study.comparing.similarities([Network(pool), *networks])[0, 1:]
    complement = [study.comparing.complement(Network(pool), network) for network in networks]
    return (
        dict(zip(remaining, map(float, similar), strict=True)),
        dict(zip(remaining, complement, strict=True)),
    )


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


def similarity_of(study: Study, tasks: Sequence[str]) -> Similarity:
    """The similarity of every pair of single tasks."""
    networks = [Network((name,)) for name in tasks]
    matrix = study.comparing.similarities(networks)
    settings = study.setup.similarity
    return Similarity(
        tasks=tuple(tasks),
        n=min(settings.n, len(study.setup.dataset.unlabeled)),
        layer=settings.layer,
        estimator=settings.estimator,
        matrix=tuple(tuple(round(float(s), 6) for s in row) for row in matrix),
    )


def start_alone(study: Study) -> Findings:
    """Fine-tune the start weights, and train from scratch for comparison.

    Raises:
      InputError: the study has no start weights.
    """
    if START not in study.baselines:
        raise InputError("experiment=finetune needs weights to start from; set init.path")
    study.evaluate_all([START, SCRATCH])
    start = study.evaluate(START)
    return Findings(
        scratch=study.evaluate(SCRATCH), start=start, best=Best(pool=(), evaluation=start)
    )


def single(study: Study, *, pool: Pool) -> Findings:
    """Pretrain and fine-tune one task or pool, and train from scratch for comparison.

    Without labels, the pool is pretrained only.
    """
    if not study.setup.dataset.labelled_sets:
        study.pretrain_all(study.pretraining.repeats(Network(pool)))
        return Findings(pretrained=pool)
    study.evaluate_all([Network(pool), *study.baselines])
    return Findings(
        scratch=study.evaluate(SCRATCH),
        start=study.evaluate_start(),
        best=Best(pool=pool, evaluation=study.evaluate(Network(pool))),
    )
