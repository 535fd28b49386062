"""Table 1 on the paper's own numbers, and Mantel's test against a slow one."""

import itertools
import types

import numpy as np
import pytest
from scipy import stats

from assl_jax.strategies.pairs import DRAWN, correlation, pairs

TASKS = ["src", "jigsaw", "inpaint", "simclr", "rotation", "mcpc"]
SINGLES = dict(zip(TASKS, [68.36, 68.29, 64.49, 73.05, 70.07, 66.94], strict=True))

# Table 1, each pair once: similarity and integrated accuracy.
TABLE_1 = {
    ("jigsaw", "rotation"): (0.1543, 76.06),
    ("jigsaw", "src"): (0.1891, 75.57),
    ("jigsaw", "simclr"): (0.2409, 74.69),
    ("jigsaw", "inpaint"): (0.4132, 70.77),
    ("jigsaw", "mcpc"): (0.4202, 68.81),
    ("rotation", "src"): (0.0695, 76.70),
    ("rotation", "simclr"): (0.0866, 78.21),
    ("rotation", "inpaint"): (0.1524, 73.44),
    ("rotation", "mcpc"): (0.1557, 74.70),
    ("simclr", "src"): (0.1085, 77.25),
    ("simclr", "inpaint"): (0.2373, 74.08),
    ("simclr", "mcpc"): (0.2388, 73.29),
    ("inpaint", "src"): (0.1852, 72.47),
    ("inpaint", "mcpc"): (0.4125, 65.09),
    ("src", "mcpc"): (0.2573, 72.03),
}


class FakeStudy:
    similarity = types.SimpleNamespace(layer="pooled", estimator="biased")

    stages = types.SimpleNamespace(wait=True)

    def evaluate(self, network):
        pool = network.pool
        if not pool:
            value = 63.19
        elif len(pool) == 1:
            value = SINGLES[pool[0]]
        else:
            value = (TABLE_1.get(pool) or TABLE_1[pool[::-1]])[1]
        return {"accuracy": value / 100, "std": 0.0, "runs": [value / 100]}

    def features(self, network):
        return types.SimpleNamespace(result={"n": 4096})

    def similarities(self, networks):
        def between(a, b):
            return 1.0 if a == b else (TABLE_1.get((a, b)) or TABLE_1[b, a])[0]

        names = [network.pool[0] for network in networks]
        return np.array([[between(a, b) for b in names] for a in names])


def test_the_papers_table_1():
    results = pairs(FakeStudy(), tasks=TASKS)
    assert len(results["pairs"]) == 15 and set(results["singles"]) == set(TASKS)
    rows = {frozenset(row["pool"]): row for row in results["pairs"]}
    best = rows[frozenset(["simclr", "rotation"])]
    assert best["similarity"] == 0.0866 and best["accuracy"] == pytest.approx(0.7821)
    # As printed: average 71.56, maximum 73.05, gains +6.65 and +5.16.
    assert 100 * best["avg"] == pytest.approx(71.56) and 100 * best["max"] == pytest.approx(73.05)
    assert 100 * best["avg_gain"] == pytest.approx(6.65)
    assert 100 * best["max_gain"] == pytest.approx(5.16)
    found = results["correlation"]["avg_gain"]
    assert found["spearman"] == pytest.approx(-0.84, abs=0.005)
    assert found["pearson"] == pytest.approx(-0.86, abs=0.005)
    assert 0 < found["spearman_p"] < 0.05
    assert results["correlation"]["max_gain"]["pearson"] < 0


@pytest.mark.parametrize("ties", [False, True])
def test_correlation_and_p_against_a_slow_version(ties):
    tasks = list("abcd")
    rng = np.random.default_rng(3)
    rows = [
        {"pool": list(pool), "similarity": rng.random(), "gain": rng.random()}
        for pool in itertools.combinations(tasks, 2)
    ]
    if ties:
        rows[0]["similarity"] = rows[1]["similarity"] = rows[2]["similarity"]
    found = correlation(tasks, rows, "gain")

    def values(order):
        """Similarities with the tasks renamed, and gains as they are."""
        table = {frozenset(row["pool"]): row["similarity"] for row in rows}
        name = dict(zip(tasks, order, strict=True))
        x = [table[frozenset(name[t] for t in row["pool"])] for row in rows]
        return x, [row["gain"] for row in rows]

    for kind, test in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        each = [test(*values(order)).statistic for order in itertools.permutations(tasks)]
        assert found[kind] == pytest.approx(each[0], abs=1e-6)
        share = np.mean(np.abs(each) >= abs(each[0]) - 1e-9)
        assert found[f"{kind}_p"] == pytest.approx(share, abs=1e-6)


def test_where_nothing_can_be_said():
    rows = [
        {"pool": list(pool), "similarity": 0.5, "gain": i}
        for i, pool in enumerate(itertools.combinations("abc", 2))
    ]
    assert set(correlation("abc", rows, "gain").values()) == {None}
    assert set(correlation("ab", rows[:1], "gain").values()) == {None}


def test_many_tasks_are_drawn_from():
    tasks = list("abcdefghij")
    rng = np.random.default_rng(0)
    rows = [
        {"pool": list(pool), "similarity": s, "gain": -s + 0.01 * rng.random()}
        for pool, s in zip(itertools.combinations(tasks, 2), rng.random(45), strict=True)
    ]
    found = correlation(tasks, rows, "gain")
    assert found["pearson"] < -0.99 and found["pearson_p"] == pytest.approx(1 / DRAWN, abs=1e-3)
