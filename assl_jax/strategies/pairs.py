"""Every pair of proxy tasks: does dissimilarity predict gain? (paper, section 5.3, Table 1)."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from assl_jax.records import Correlation, Extension, Findings
from assl_jax.strategies.mtassl import extension, similarity_of
from assl_jax.strategies.network import SCRATCH, Network
from assl_jax.strategies.study import Study

GAINS = ("avg_gain", "max_gain")
EXACT = 8  # up to so many tasks, every permutation is tried
DRAWN = 5000  # permutations, for more tasks


def pairs(study: Study, *, tasks: Sequence[str]) -> Findings:
    """Pretrain and fine-tune every single task and every pair of them.

    Args:
      study: trains and evaluates.
      tasks: names of the candidate proxy tasks.

    Returns:
      `scratch`, `singles`, `similarity`, `pairs`, `correlation` and `complement_correlation`.
      Nothing is selected.
    """
    pools = [(name,) for name in tasks] + list(itertools.combinations(tasks, 2))
    study.evaluate_all([*study.baselines, *map(Network, pools)])
    scratch = study.evaluate(SCRATCH)
    singles = {name: study.evaluate(Network((name,))) for name in tasks}
    similarity = similarity_of(study, tasks)
    rows = tuple(
        extension(
            (a,),
            b,
            similarity.matrix[tasks.index(a)][tasks.index(b)],
            singles[a],
            singles[b],
            study.evaluate(Network((a, b))),
            study.comparing.complement(Network((a,)), Network((b,))),
        )
        for a, b in itertools.combinations(tasks, 2)
    )
    return Findings(
        scratch=scratch,
        start=study.evaluate_start(),
        singles=singles,
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
