"""Table 1, its scatter plot and its sentences, on results that are the paper's own numbers."""

import pytest
from reported import PAIRS, results, tables_of, text, words

from assl_jax.records import Correlation
from assl_jax.report import names, overview, pairs, pairs_chart, paper, summary_lines
from assl_jax.report.outcome import headline
from assl_jax.tasks import describe


def test_table_1_to_the_digit():
    table = pairs.pairs_table(PAIRS)
    assert table.columns == (
        *("A1", "A2", "Similarity", "Avg ACC", "Max ACC", "Int ACC", "Avg (+/-)", "Max (+/-)"),
    )
    assert len(table.rows) == 30 and sum(row.opens for row in table.rows) == 6
    assert [text(row) for row in table.rows[5:8]] == [
        ["Rotation", "SRC", "0.0695", "69.22", "70.07", "76.70 ± 0.40", "+7.49", "+6.63"],
        ["", "SimCLR", "0.0866", "71.56", "73.05", "78.21 ± 0.40", "+6.65", "+5.16"],
        ["", "Inpaint", "0.1524", "67.28", "70.07", "73.44 ± 0.40", "+6.16", "+3.37"],
    ]
    strong = [[c.text for c in row.cells if c.strong] for row in table.rows[5:8]]
    assert strong == [["0.0695", "+7.49", "+6.63"], ["71.56", "73.05", "78.21 ± 0.40"], []]


def test_every_row_of_table_1_prints_as_in_the_paper():
    once = pairs.pairs_table(PAIRS, under_both_tasks=False)
    printed = {
        (names.task_title(row.a1[0]), names.task_title(row.a2)): [
            f"{row.similarity:.4f}",
            *(f"{row.avg:.2f}", f"{row.max:.2f}", f"{row.accuracy:.2f} ± 0.40"),
            *(f"{row.avg_gain:+.2f}", f"{row.max_gain:+.2f}"),
        ]
        for row in paper.TABLE_1
    }
    assert {tuple(text(row)[:2]): text(row)[2:] for row in once.rows} == printed


def test_every_pair_is_listed_under_both_of_its_tasks_in_order():
    groups = pairs.by_task(PAIRS.pairs)
    assert [{row.a1 for row in group} for group in groups] == [
        {task} for task in ("jigsaw", "rotation", "src", "simclr", "inpaint", "mcpc")
    ]
    for group in groups:
        assert len(group) == 5 and all(
            {row.a1, row.a2} == {*row.extension.members} for row in group
        )
        similarities = [row.extension.similarity for row in group]
        assert similarities == sorted(similarities)
    once = pairs.pairs_table(PAIRS, under_both_tasks=False)
    assert [text(row)[:3] for row in once.rows][:2] == [
        ["Rotation", "SRC", "0.0695"],
        ["Rotation", "SimCLR", "0.0866"],
    ]
    assert len(once.rows) == 15 and not any(row.opens for row in once.rows)
    assert sum(row.cells[5].strong for row in once.rows) == 1  # one best of all


def test_the_papers_values_follow_the_measured_ones_on_demand():
    table = pairs.pairs_table(PAIRS, with_paper=True)
    assert table.columns[-2:] == ("Int ACC, paper (STL-10)", "Avg (+/-), paper (STL-10)")
    under_jigsaw, under_src = (
        next(row for row in table.rows[start : start + 5] if text(row)[1] == name)
        for start, name in ((0, "SRC"), (10, "Jigsaw"))
    )
    assert text(under_jigsaw)[-3:] == ["0.1891", "75.57", "+7.25"]
    assert text(under_src)[-3:] == ["0.1891", "75.05", "+6.73"]  # printed twice, differently
    volumes = PAIRS.replace(space=(8, 8, 8))
    assert pairs.pairs_table(volumes, with_paper=True) is None


def test_correlations_in_words():
    lines = pairs.correlation_lines(PAIRS)
    assert lines[0] == (
        "Similarity against average gain over 15 pairs: Spearman −0.84 (p = 0.013), Pearson −0.86 "
        "(p < 0.001); from the paper's Table 1 (STL-10): −0.84, −0.86."
    )
    assert lines[1].startswith("Similarity against maximum gain over 15 pairs: Spearman −0.72")
    assert "Mantel" in lines[2] and len(lines) == 3
    undefined = {"avg_gain": Correlation()}
    volumes = PAIRS.replace(space=(8, 8, 8), correlation=undefined)
    assert pairs.correlation_lines(volumes) == [
        "Similarity against average gain over 15 pairs: Spearman undefined, Pearson undefined."
    ]


def test_the_complements_correlations_follow_those_of_the_similarity():
    found = {"avg_gain": Correlation(spearman=0.6, spearman_p=0.04, pearson=0.5, pearson_p=0.1)}
    lines = pairs.correlation_lines(PAIRS.replace(complement_correlation=found))
    assert lines[2] == (
        "Complement against average gain over 15 pairs: Spearman 0.60 (p = 0.04), Pearson 0.50 "
        "(p = 0.1)."
    )
    assert lines[3].startswith("p: ") and len(lines) == 4


def test_headline_summary_and_markdown():
    assert headline(PAIRS) == (
        "Similarity against gain over 15 pairs: Spearman −0.84 (1,000 labels, 8,000 test images)"
    )
    unknown = PAIRS.replace(correlation={}, pairs=PAIRS.pairs[:1])
    assert "over 1 pair: too few for a correlation" in headline(unknown)
    rows = [" ".join(line.split()) for line in summary_lines(PAIRS)]
    assert "Rotation SRC 0.0695 69.22 70.07 76.70 ± 0.40 +7.49 +6.63" in rows
    whole = tables_of(PAIRS)
    assert "| Rotation | SRC | **0.0695** | 69.22 | 70.07 |" in whole and "None" not in whole
    assert "Spearman −0.84 (p = 0.013)" in whole and "paper (STL-10)" not in whole


def test_scatter():
    found = words(pairs_chart.pairs_chart(PAIRS))
    assert "Average gain: Spearman −0.84, Pearson −0.86" in found
    assert "Maximum gain: Spearman −0.72, Pearson −0.75" in found
    for pair in PAIRS.pairs:
        assert found.count("+".join(describe(task).short for task in pair.members)) == 2
    assert pairs_chart.pairs_chart(results()) == ""


def test_a_pair_that_was_not_trained_has_no_dot():
    untrained, *others = PAIRS.pairs[:3]
    some = PAIRS.replace(pairs=(untrained.replace(evaluation=None), *others))
    found = words(pairs_chart.pairs_chart(some))
    assert "Jig+Rot" not in found and found.count("Jig+SRC") == 2


def test_labels_cover_neither_dots_nor_each_other():
    dots = [(10 * p.similarity, 45 * p.avg_gain) for p in PAIRS.pairs]
    dots.append((dots[0][0], dots[0][1] + 0.05))  # one that nearly covers another
    labels = ["Rot+Cube"] * len(dots)
    chosen = pairs_chart.offsets(dots, labels, (-1.0, -1.0, 6.0, 6.0))
    boxes = [pairs_chart.label_box(*of) for of in zip(dots, labels, chosen, strict=True)]
    for i, box in enumerate(boxes):
        assert all(pairs_chart.overlap(box, other) == 0 for other in boxes[:i])
        inside = [x for x, y in dots if box[0] < x < box[2] and box[1] < y < box[3]]
        assert not inside


@pytest.mark.parametrize(
    ("box", "area"),
    [((1, 1, 3, 3), 1.0), ((2, 0, 3, 3), 0.0), ((0.5, 0.5, 1, 1), 0.25), ((5, 5, 6, 6), 0.0)],
)
def test_overlap(box, area):
    assert pairs_chart.overlap((0, 0, 2, 2), box) == pairs_chart.overlap(box, (0, 0, 2, 2)) == area


def test_the_chart_of_accuracies_has_the_pairs():
    rows = [row.label.pool for row in overview.trained_pools(PAIRS)]
    assert len(rows) == 1 + 6 + 15 and rows[7:9] == [("rotation", "src"), ("rotation", "simclr")]
