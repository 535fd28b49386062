"""Every pair of proxy tasks: does dissimilarity predict gain? (paper, section 5.3, Table 1)."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from assl_jax.records import SCRATCH, Correlation, Extension, Findings
from assl_jax.strategies.candidates import extension, similarity_of
from assl_jax.strategies.evidence import Evidence
from assl_jax.strategies.stage import Plan

GAINS = ("avg_gain", "max_gain")
EXACT = 8  # up to so many tasks, every permutation is tried
DRAWN = 5000  # permutations, for more tasks


def pairs(evidence: Evidence, *, tasks: Sequence[str]) -> Plan:
    """Pretrain and fine-tune every single task and every pair of them.

    Args:
      evidence: of the study.
      tasks: names of the candidate proxy tasks.

    Returns:
      `scratch`, `singles`, `similarity`, `pairs`, `correlation` and `complement_correlation`.
      Nothing is selected.
    """
    study, every = evidence.study, list(itertools.combinations(tasks, 2))
    singles = {name: study.single(name) for name in tasks}
    both = {pair: study.pool(pair) for pair in every}
    yield from evidence.evaluated([*study.baselines, *singles.values(), *both.values()])
    yield from evidence.compared(list(singles.values()))
    for a, b in every:
        yield from evidence.complemented(singles[a], [singles[b]])
    similarity = similarity_of(evidence, tasks)
    rows = tuple(
        extension(
            (a,),
            b,
            similarity.matrix[tasks.index(a)][tasks.index(b)],
            evidence.evaluate(singles[a]),
            evidence.evaluate(singles[b]),
            evidence.evaluate(both[a, b]),
            evidence.complement(singles[a], singles[b]),
        )
        for a, b in every
    )
    return Findings(
        scratch=evidence.evaluate(SCRATCH),
        start=evidence.start(),
        singles={name: evidence.evaluate(network) for name, network in singles.items()},
        similarity=similarity,
        pairs=rows,
        correlation={gain: correlation(tasks, rows, gain) for gain in GAINS},
        complement_correlation={
            gain: correlation(tasks, rows, gain, "complement")
            for gain in GAINS
            if all(row.complement is not None for row in rows)
        },
    )


def correlation(
    tasks: Sequence[str], rows: Sequence[Extension], gain: str, measure: str = "similarity"
) -> Correlation:
    """The correlation between a gain and a measure of the two tasks, over all pairs.

    Pairs that share a task are not independent, and the usual p-values do not hold. The p-values
    here come from Mantel's test (Mantel 1967): the share of task permutations that give a
    correlation at least as far from 0.

    Args:
      tasks: names.
      rows: one for each pair.
      gain: one of `GAINS`.
      measure: "similarity", or "complement" if all rows have one.

    Returns:
      Correlations in [-1, 1] and p-values in (0, 1]; None where a correlation is not defined
      (fewer than three pairs, or all of them equal).
    """
    from scipy.stats import rankdata

    index = {name: i for i, name in enumerate(tasks)}
    ends = np.array([[index[name] for name in row.members] for row in rows])
    x = np.array([getattr(row, measure) for row in rows], float)
    y = np.array([getattr(row, gain) for row in rows], float)
    found: dict[str, float | None] = {}
    forms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "spearman": rankdata,
        "pearson": np.asarray,
    }
    for name, form in forms.items():
        a, b = _unit(form(x)), _unit(form(y))
        if len(rows) < 3 or a is None or b is None:
            continue
        matrix = np.zeros((len(tasks), len(tasks)))
        matrix[ends[:, 0], ends[:, 1]] = matrix[ends[:, 1], ends[:, 0]] = a
        orders = _permutations(len(tasks))
        each = matrix[orders[:, ends[:, 0]], orders[:, ends[:, 1]]] @ b
        value = float(a @ b)
        found[name] = round(value, 6)
        found[f"{name}_p"] = round(float((np.abs(each) >= abs(value) - 1e-9).mean()), 6)
    return Correlation(**found)


def _unit(x: np.ndarray) -> np.ndarray | None:
    """Centred and of length 1; None where all values are equal."""
    x = x - x.mean()
    length = np.linalg.norm(x)
    return x / length if length > 1e-12 else None


def _permutations(k: int) -> np.ndarray:
    """All permutations of k tasks; if k > `EXACT`, the identity and `DRAWN` - 1 random ones."""
    if k <= EXACT:
        return np.array(list(itertools.permutations(range(k))))
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(k) for _ in range(DRAWN - 1)]
    return np.array([np.arange(k), *drawn])
