"""Table 1 on the paper's own numbers, and Mantel's test against a slow one."""

import itertools

import numpy as np
import paper_tables
import pytest
from paper_tables import TABLE_1, TASKS
from scipy import stats

from assl_jax.records import Correlation, Extension
from assl_jax.strategies.pairs import DRAWN, correlation, pairs


def row(pool, similarity, gain, *, make):
    """A pair with this gain over both its average and its maximum."""
    return Extension(
        pool=pool[:1],
        task=pool[1],
        similarity=similarity,
        avg=0.0,
        max=0.0,
        evaluation=make(gain),
    )


def test_the_papers_table_1(fake, drive):
    accuracies = paper_tables.accuracies()
    accuracies |= {" ".join(pool): value / 100 for pool, (_, value) in TABLE_1.items()}
    evidence = fake(accuracies, {f"{a}|{b}": s for (a, b), (s, _) in TABLE_1.items()})
    results = drive(pairs(evidence, tasks=TASKS))
    assert len(results.pairs) == 15 and set(results.singles) == set(TASKS)
    rows = {frozenset(row.members): row for row in results.pairs}
    best = rows[frozenset(["simclr", "rotation"])]
    assert best.similarity == 0.0866
    assert best.evaluation.accuracy.mean == pytest.approx(0.7821)
    # As printed: average 71.56, maximum 73.05, gains +6.65 and +5.16.
    assert 100 * best.avg == pytest.approx(71.56) and 100 * best.max == pytest.approx(73.05)
    assert 100 * best.avg_gain == pytest.approx(6.65)
    assert 100 * best.max_gain == pytest.approx(5.16)
    found = results.correlation["avg_gain"]
    assert found.spearman == pytest.approx(-0.84, abs=0.005)
    assert found.pearson == pytest.approx(-0.86, abs=0.005)
    assert 0 < found.spearman_p < 0.05
    assert results.correlation["max_gain"].pearson < 0


@pytest.mark.parametrize("ties", [False, True])
def test_correlation_and_p_against_a_slow_version(ties, make_evaluation):
    tasks = list("abcd")
    rng = np.random.default_rng(3)
    rows = [
        row(pool, rng.random(), rng.random(), make=make_evaluation)
        for pool in itertools.combinations(tasks, 2)
    ]
    if ties:
        rows[:2] = [pair.replace(similarity=rows[2].similarity) for pair in rows[:2]]
    found = correlation(tasks, rows, "avg_gain")

    def values(order):
        """Similarities with the tasks renamed, and gains as they are."""
        table = {frozenset(pair.members): pair.similarity for pair in rows}
        name = dict(zip(tasks, order, strict=True))
        x = [table[frozenset(name[t] for t in pair.members)] for pair in rows]
        return x, [pair.avg_gain for pair in rows]

    for kind, test in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        each = [test(*values(order)).statistic for order in itertools.permutations(tasks)]
        assert getattr(found, kind) == pytest.approx(each[0], abs=1e-6)
        share = np.mean(np.abs(each) >= abs(each[0]) - 1e-9)
        assert getattr(found, f"{kind}_p") == pytest.approx(share, abs=1e-6)


def test_the_complement_is_correlated_with_the_same_gains(fake, drive):
    """A complement that is the gain itself; without it for one pair there is no correlation."""
    tasks = ["a", "b", "c", "d"]
    gains = dict(zip(itertools.combinations(tasks, 2), [0.1, 0.5, 0.2, 0.4, 0.3, 0.6], strict=True))
    accuracies = dict.fromkeys(tasks, 0.0) | {f"{a} {b}": gain for (a, b), gain in gains.items()}
    evidence = fake(accuracies, {f"{a}|{b}": 0.5 for a, b in gains})
    evidence.complements = {f"{a}|{b}": gain for (a, b), gain in gains.items()}
    results = drive(pairs(evidence, tasks=tasks))
    assert results.complement_correlation["avg_gain"].spearman == 1.0
    assert results.complement_correlation["max_gain"].pearson == pytest.approx(1.0)
    del evidence.complements["a|b"]
    assert drive(pairs(evidence, tasks=tasks)).complement_correlation == {}


def test_where_nothing_can_be_said(make_evaluation):
    rows = [
        row(pool, 0.5, i / 10, make=make_evaluation)
        for i, pool in enumerate(itertools.combinations("abc", 2))
    ]
    assert correlation("abc", rows, "avg_gain") == Correlation()
    assert correlation("ab", rows[:1], "avg_gain") == Correlation()


def test_of_many_tasks_some_permutations_are_drawn(make_evaluation):
    tasks = list("abcdefghij")
    rng = np.random.default_rng(0)
    rows = [
        row(pool, s, -s + 0.01 * rng.random(), make=make_evaluation)
        for pool, s in zip(itertools.combinations(tasks, 2), rng.random(45), strict=True)
    ]
    found = correlation(tasks, rows, "avg_gain")
    assert found.pearson < -0.99 and found.pearson_p == pytest.approx(1 / DRAWN, abs=1e-3)
