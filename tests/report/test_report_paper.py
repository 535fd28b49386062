"""The paper's printed values agree with each other, except where the tests say otherwise."""

import itertools
from statistics import fmean

import pytest
from scipy import stats

from assl_jax.report import paper
from assl_jax.tasks import TASKS

ROUNDED = 0.0101  # the paper took differences before it rounded to 0.01
TABLES = {"1": (2, paper.TABLE_1), "2": (2, paper.TABLE_2), "3": (3, paper.TABLE_3)}
EVERY = pytest.mark.parametrize(("rank", "rows"), TABLES.values(), ids=TABLES)


def test_correlations_over_the_15_pairs():
    similarities = [row.similarity for row in paper.TABLE_1]
    for key, stored in paper.CORRELATION.items():
        gains = [getattr(row, key) for row in paper.TABLE_1]
        assert round(stats.spearmanr(similarities, gains)[0], 2) == stored["spearman"]
        assert round(stats.pearsonr(similarities, gains)[0], 2) == stored["pearson"]
    assert paper.CORRELATION["avg_gain"] == {"spearman": -0.84, "pearson": -0.86}


def test_table_1_has_every_pair_once():
    pools = [frozenset((*row.a1, row.a2)) for row in paper.TABLE_1]
    assert set(pools) == {frozenset(p) for p in itertools.combinations(paper.SINGLES[2], 2)}
    assert len(pools) == len(set(pools)) == 15


@EVERY
def test_gains_are_differences_of_the_printed_accuracies(rank, rows):
    other = (paper.TABLE_1_UNDER_SRC,) if rows is paper.TABLE_1 else ()
    for row in (*rows, *other):
        assert row.avg_gain == pytest.approx(row.accuracy - row.avg, abs=ROUNDED), row
        assert row.max_gain == pytest.approx(row.accuracy - row.max, abs=ROUNDED), row


@EVERY
def test_averages_and_maxima_follow_from_the_accuracies(rank, rows):
    for row in rows:
        before = paper.SINGLES[rank].get(row.a1[0]) if len(row.a1) == 1 else None
        parts = (before or paper.pair(rank, row.a1).accuracy, paper.SINGLES[rank][row.a2])
        assert row.avg == pytest.approx(fmean(parts), abs=ROUNDED), row
        assert row.max == pytest.approx(max(parts), abs=0.001), row


def test_table_4_differences():
    for (rank, _), rows in paper.TABLE_4.items():
        for task, row in rows.items():
            assert task in TASKS and (row.self_assl is None) == (rank == 3)
            if row.self_assl is not None:
                assert row.difference == pytest.approx(row.self_assl - row.plain, abs=0.001)
    assert paper.TABLE_4[3, "ResNet-18"]["sc_assl"] == (89.53, None, None)  # cannot be read


def test_the_tables_agree_save_for_3d_rotation():
    for rank in (2, 3):
        table_4 = paper.TABLE_4[rank, "ResNet-18"]
        shared = set(table_4) & set(paper.SINGLES[rank])
        other = {t for t in shared if table_4[t].plain != paper.SINGLES[rank][t]}
        assert other == ({"rotation"} if rank == 3 else set())
    assert len(paper.SINGLES[3]) == 5


def test_looking_up():
    assert paper.pair(2, ["src", "rotation"]).accuracy == 76.70
    assert paper.pair(2, ["src", "jigsaw"]).accuracy == 75.57
    assert paper.pair(2, ["src", "jigsaw"], under="src").accuracy == 75.05
    assert paper.pair(3, ["src", "rotation"]) is None
    of = paper.accuracy
    assert of(2, "resnet10", ["rotation", "src", "simclr"]) == 79.43
    assert of(2, "vgg16", ["rotation", "src", "simclr"]) is None
    assert [of(2, b, ["rotation"]) for b in ("resnet18", "vgg16")] == [70.07, 69.33]
    assert [of(2, b, ["rotation"], "self_assl") for b in ("resnet18", "vgg16")] == [72.41, 69.09]
    assert of(2, "resnet18", ["rotation"], "second_run") is None
    assert [of(r, "vgg16", []) for r in (2, 3)] == [63.90, 72.30]
    assert of(3, "resnet18", ["rotation"]) == 87.16 and of(3, "resnet18", ["src"]) == 87.16
    assert of(3, "resnet18", ["a task of ours"]) is None
