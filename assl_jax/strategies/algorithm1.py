"""Algorithm 1 of the paper, as Table 2 runs it."""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

from assl_jax.evaluation.scores import METRICS
from assl_jax.records import Evaluation, Iteration, Network, Pool
from assl_jax.strategies.candidates import candidates, extension
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.settings import SearchSettings


class Grown(NamedTuple):
    """The network of the last pool that was accepted, and how the pool grew."""

    kept: Network
    iterations: tuple[Iteration, ...]


def grow(
    evidence: Evidence, settings: SearchSettings, singles: Mapping[str, Evaluation]
) -> Generator[Any, None, Grown]:
    """Begin with the best single network, and enlarge its pool while that is not worse.

    Deviation: line 23 of Algorithm 1 evaluates the pool before the enlarged one is trained. Here,
    as in Table 2, the enlarged pool is trained first.

    Args:
      evidence, settings: of the search.
      singles: the evaluations of the single networks; earlier ones win ties.
    """
    study, direction = evidence.study, METRICS[settings.metric]
    teachers = {*study.given}

    def value(evaluation: Evaluation) -> float:
        if settings.select_on == "cv":
            assert evaluation.selection is not None
            return evaluation.selection.mean
        return evaluation.metrics[settings.metric].mean

    ranked = sorted(
        singles, key=lambda name: value(singles[name]), reverse=direction.higher_is_better
    )
    pool: Pool = (ranked[0],)
    best = singles[ranked[0]]
    iterations: list[Iteration] = []
    while remaining := [n for n in singles if n not in pool and not {*pool, n} <= teachers]:
        found = yield from candidates(evidence, settings, study.pool(pool), remaining)
        chosen = found.order[0]
        trained = remaining if settings.candidates == "all" else [chosen]
        larger = {name: study.pool((*pool, name)) for name in trained}
        yield from evidence.evaluated([*larger.values()])
        extended = evidence.evaluate(larger[chosen])
        accepted = not direction.better(value(best), value(extended))
        rows = tuple(
            extension(
                pool,
                name,
                found.similar[name],
                best,
                singles[name],
                evidence.evaluate(larger[name]) if name in larger else None,
                found.complement[name],
            )
            for name in found.order
        )
        iterations.append(
            Iteration(
                pool=pool,
                candidates=rows,
                chosen=chosen,
                accepted=accepted,
                criterion=settings.next,
            )
        )
        if not accepted:
            break
        pool, best = (*pool, chosen), extended
    return Grown(study.pool(pool), tuple(iterations))
