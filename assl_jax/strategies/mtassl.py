"""MT-ASSL: which proxy tasks to train together (paper, Algorithm 1, as Table 2 runs it)."""

from collections.abc import Sequence
from typing import Any

from assl_jax.strategies.network import SCRATCH, Network, Pool
from assl_jax.strategies.share import share
from assl_jax.strategies.stages import Stage
from assl_jax.strategies.study import Study


def search(
    study: Study, *, tasks: Sequence[str], select_on: str = "cv", candidates: str = "argmin"
) -> dict[str, Any]:
    """Greedily add the task least similar to the pool while the fine-tuned accuracy does not fall.

    Every candidate is pretrained from scratch and fine-tuned; the best is the first pool. Then the
    remaining task whose features have the smallest LCKA with the pool's joins it, a new backbone is
    trained on the larger pool, and the larger pool is kept if its accuracy is at least the best.

    Args:
      tasks: names of the candidate proxy tasks; earlier ones win ties.
      select_on: "cv" decides by cross-validation inside the labelled set, "test" by the test set
        as the paper does.
      candidates: "argmin" trains the least similar extension alone, "all" every one (Tables 2
        and 3); the least similar one decides either way.

    Returns:
      The entries `scratch`, `singles`, `similarity`, `iterations` and `best` of `results.json`.

    Deviations: Algorithm 1's line 23 evaluates the pool before the enlarged one is trained; here,
    as in Table 2, the enlarged pool is trained first.
    """
    metric = study.target.metric

    def value(result: dict[str, Any]) -> float:
        """What decisions are made on."""
        return result["selection"] if select_on == "cv" else result["metrics"][metric]["mean"]

    share(study, [SCRATCH, *(Network((name,)) for name in tasks)])
    scratch = study.evaluate(SCRATCH)
    singles = {name: study.evaluate(Network((name,))) for name in tasks}
    similarity_matrix = similarity_of(study, tasks)

    pool: Pool = (max(tasks, key=lambda name: value(singles[name])),)
    best = singles[pool[0]]
    iterations = []
    while remaining := [name for name in tasks if name not in pool]:
        similar = study.similarities([Network(pool), *(Network((name,)) for name in remaining)])[
            0, 1:
        ]
        similarity = dict(zip(remaining, map(float, similar), strict=True))
        least = min(remaining, key=similarity.__getitem__)
        trained = remaining if candidates == "all" else [least]
        share(study, [Network((*pool, name)) for name in trained])
        results = {name: study.evaluate(Network((*pool, name))) for name in trained}
        accepted = value(results[least]) >= value(best)
        ranked = sorted(remaining, key=similarity.__getitem__)
        iterations.append(
            {
                "pool": list(pool),
                "candidates": [
                    extension(name, similarity[name], best, singles[name], results.get(name))
                    for name in ranked
                ],
                "chosen": least,
                "accepted": accepted,
            }
        )
        if not accepted:
            break
        pool, best = (*pool, least), results[least]

    return {
        "scratch": scratch,
        "singles": singles,
        "similarity": similarity_matrix,
        "iterations": iterations,
        "best": {"pool": list(pool), **best},
    }


def extension(
    task: str, similarity: float, pool: dict, single: dict, result: dict | None
) -> dict[str, Any]:
    """One row of Table 2: a pool's extension by `task`, measured against its two parts.

    Gains are differences of accuracies on the test set; None where the extension was not trained.
    """
    parts = (pool["accuracy"], single["accuracy"])
    average, maximum = sum(parts) / 2, max(parts)
    result = result or {}
    accuracy = result.get("accuracy")
    measured = ("std", "selection", "metrics", "confusion")
    return {
        "task": task,
        "similarity": round(similarity, 6),
        "accuracy": accuracy,
        **{key: result.get(key) for key in measured},
        "avg": average,
        "max": maximum,
        "avg_gain": None if accuracy is None else accuracy - average,
        "max_gain": None if accuracy is None else accuracy - maximum,
    }


def similarity_of(study: Study, tasks: Sequence[str]) -> dict[str, Any]:
    """The entry `similarity` of `results.json`: every pair of single tasks."""
    networks = [Network((name,)) for name in tasks]
    matrix = study.similarities(networks)
    return {
        "tasks": list(tasks),
        "n": study.features(networks[0]).result["n"],
        "layer": study.similarity.layer,
        "estimator": study.similarity.estimator,
        "matrix": [[round(float(s), 6) for s in row] for row in matrix],
    }


def single(study: Study, *, pool: Pool) -> dict[str, Any]:
    """Pretrain and fine-tune one task or pool, beside training from scratch."""
    best = study.evaluate(Network(pool))
    return {"scratch": study.evaluate(SCRATCH), "best": {"pool": list(pool), **best}}


def winner(study: Study, results: dict[str, Any]) -> Stage:
    """The pretraining stage of the best pool."""
    return study.pretrain(Network(tuple(results["best"]["pool"])))
