"""The paper's Tables 1 and 2 in the form that searches are tested with."""

from assl_jax.report import paper

SCRATCH, SINGLES = paper.SCRATCH[2, "ResNet-18"], paper.SINGLES[2]
TASKS = tuple(SINGLES)
TWO, THREE = ("simclr", "rotation"), ("simclr", "rotation", "src")

# Each pair once: similarity and integrated accuracy.
TABLE_1 = {(*row.a1, row.a2): (row.similarity, row.accuracy) for row in paper.TABLE_1}


def extended(pool):
    """The rows of a pool, the least similar first."""
    rows = {task: paper.pair(2, (*pool, task))[2:] for task in TASKS if task not in pool}
    return dict(sorted(rows.items(), key=lambda row: row[1]))


# From iteration 2 on: similarity, average, maximum, accuracy, and its gains over both.
TABLE_2 = {pool: extended(pool) for pool in (("simclr",), TWO, THREE)}


def accuracies():
    """Those of scratch and of the single tasks, as shares."""
    return {"scratch": SCRATCH / 100} | {task: value / 100 for task, value in SINGLES.items()}
