"""Metrics of small sets: their table, and reports on a search that decides on another metric."""

import numpy as np
import pytest
from networks import network_of
from reported import evaluation, extension, results, tables_of, text, words

from assl_jax.evaluation import scores
from assl_jax.records import Best, Estimate, Iteration
from assl_jax.report import RunRecord, summary_lines
from assl_jax.report.algorithm1 import search_table
from assl_jax.report.evaluations import SMALL
from assl_jax.report.metrics import (
    confusion_chart,
    confusions,
    metric_lines,
    metrics_table,
    parts,
    row_shares,
)
from assl_jax.report.outcome import headline
from assl_jax.report.overview import accuracy_chart, headline_table, trained_pools
from assl_jax.report.search import search_trace


def estimate(mean, std=0.0, low=None, high=None):
    return Estimate(mean=mean, std=std, low=low, high=high)


def entry(accuracy, auc, selection):
    metrics = {
        "accuracy": estimate(accuracy / 100, 0.01, accuracy / 100 - 0.05, 0.95),
        "balanced_accuracy": estimate(0.7, high=0.8),
        "auc": estimate(auc / 100, 0.02, 0.5, 1.0),
    }
    return evaluation(accuracy, selection=selection).replace(metrics=metrics)


# By accuracy the best single task is CPC, by AUC Rubik's cube; the pool has the best AUC.
BEST = entry(72, 90, 84)
SEARCH = results(
    metric="auc",
    labels=40,
    test_images=30,
    patients=12,
    classes=("no", "yes"),
    scratch=entry(60, 65, 61),
    singles={"cpc": entry(80, 70, 71), "rubiks_cube": entry(75, 85, 82)},
    iterations=(
        Iteration(
            pool=("rubiks_cube",),
            candidates=(extension(("rubiks_cube",), "cpc", 0.2, BEST, 0.7, 0.8),),
            chosen="cpc",
            accepted=True,
            criterion="lcka",
        ),
    ),
    best=Best(network=network_of("rubiks_cube+cpc"), evaluation=BEST),
)


def without(metric, results):
    """The same results where a metric was defined nowhere."""

    def less(evaluation):
        kept = {name: value for name, value in evaluation.metrics.items() if name != metric}
        return evaluation.replace(metrics=kept)

    return results.replace(
        scratch=less(results.scratch),
        singles={task: less(single) for task, single in results.singles.items()},
        best=results.best.replace(evaluation=less(results.best.evaluation)),
        iterations=(),
    )


def test_metrics_table():
    table = metrics_table(SEARCH)
    assert table.columns == ("Pretraining", "Accuracy", "Balanced accuracy", "AUC")
    assert text(table.rows[0]) == [
        *("From scratch", "60.0 ± 1.0 [55.0, 95.0]", "70.0", "65.0 ± 2.0 [50.0, 100.0]")
    ]
    assert [row.cells[0].text for row in table.rows[1:]] == ["CPC", "Rubik's cube"] + [
        "Rubik's cube + CPC"
    ]
    assert [[c.strong for c in row.cells] for row in table.rows] == [
        [False] * 4,
        [False, True, False, False],
        [False] * 4,
        [False, False, False, True],
    ]
    assert [row.verdict for row in table.rows] == ["", "", "", "chosen"]
    assert table.caption.endswith(
        "[95 % interval of the mean of the runs, by bootstrap over 12 patients of the test set]"
    )
    images = metrics_table(SEARCH.replace(patients=None, test_images=1234))
    assert images.caption.endswith("over 1,234 images of the test set; patients unknown]")
    assert "60.0 ± 1.0 \\[55.0, 95.0\\]" in tables_of(SEARCH)


def test_every_metric_that_was_measured_has_a_column():
    found = results(scratch=evaluation(50, macro_f1=estimate(0.4, 0.02)))
    table = metrics_table(found)
    assert table.columns == ("Pretraining", "Accuracy", "Macro F1")
    assert text(table.rows[0]) == ["From scratch", "50.0 ± 0.5", "40.0 ± 2.0"]


def test_chosen_learning_rates_are_a_column():
    plain = results(scratch=evaluation(50), singles={"cpc": evaluation(70)})
    assert "earning rate" not in tables_of(plain)
    found = plain.replace(scratch=plain.scratch.replace(learning_rate=1e-4))
    table = metrics_table(found)
    assert table.columns == ("Pretraining", "Accuracy", "Learning rate")
    assert [text(row)[2] for row in table.rows] == ["0.0001", "–"]
    assert table.caption.endswith(
        "A cross-validation inside the labelled set chose the learning rates"
    )


def test_what_was_not_measured_is_left_out_or_dashed():
    assert metrics_table(results()) is None
    assert metric_lines(results(test_images=30)) == []
    table = metrics_table(without("auc", SEARCH))
    assert table.columns == ("Pretraining", "Accuracy", "Balanced accuracy")
    some = results(scratch=evaluation(50, auc=estimate(0.6)), singles={"cpc": evaluation(70)})
    table = metrics_table(some)
    assert [text(row)[-1] for row in table.rows] == ["60.0", "–"]
    assert "interval" not in table.caption and "None" not in tables_of(some)


def test_the_summary_has_intervals_where_they_matter():
    lines = [
        "Rubik's cube + CPC on the test set, in % [95 % interval, by bootstrap over 12 patients]:",
        "Accuracy 72.0 ± 1.0 [67.0, 95.0], from scratch 60.0 ± 1.0 [55.0, 95.0]",
        "Balanced accuracy 70.0, from scratch 70.0",
        "AUC 90.0 ± 2.0 [50.0, 100.0], from scratch 65.0 ± 2.0 [50.0, 100.0]",
    ]
    printed = "\n".join(summary_lines(SEARCH))
    assert "\n\n" + "\n".join(lines) + "\n\n" in printed
    by_accuracy = SEARCH.replace(metric="accuracy")
    assert metric_lines(by_accuracy.replace(patients=SMALL - 1))
    assert not metric_lines(by_accuracy.replace(patients=SMALL))
    assert metric_lines(SEARCH.replace(patients=SMALL))


def test_headline_names_the_metric():
    assert headline(SEARCH) == (
        "The search kept Rubik's cube + CPC: 90.0 ± 2.0 % AUC against 65.0 ± 2.0 % AUC from "
        "scratch (40 labels, 30 test images of 12 patients)"
    )
    assert headline(SEARCH.replace(metric="balanced_accuracy")).startswith(
        "Nothing beat training from scratch. The search kept Rubik's cube + CPC: 70.0 % balanced "
        "accuracy against"
    )
    one_each = SEARCH.replace(metric="accuracy", patients=30)
    assert headline(one_each).endswith(
        "72.0 ± 1.0 % against 60.0 ± 1.0 % from scratch (40 labels, 30 test images of 30 patients)"
    )
    undefined = SEARCH.replace(best=without("auc", SEARCH).best)
    assert "an unknown AUC against 65.0" in headline(undefined)


def test_headline_table_shows_the_deciding_metric():
    table = headline_table(SEARCH)
    assert table.columns[1:] == ("Test AUC (%)", "Selection by AUC, CV (%)", "Gain over scratch")
    assert text(table.rows[-1]) == ["Rubik's cube + CPC", "90.00 ± 2.00", "84.00", "+25.00"]
    assert [row.cells[1].strong for row in table.rows] == [False, False, True, True]


def test_a_metric_whose_lower_values_are_better(monkeypatch):
    lower = scores.METRICS["auc"]._replace(higher_is_better=False)
    monkeypatch.setitem(scores.METRICS, "auc", lower)
    tested, search_rows = headline_table(SEARCH), search_table(SEARCH).rows
    assert [row.cells[1].strong for row in tested.rows] == [True, True, False, False]
    assert [row.cells[2].strong for row in tested.rows] == [True, True, False, False]
    assert [row.cells[9].strong for row in search_rows] == [True, False, False]
    every = metrics_table(SEARCH)
    assert [row.cells[3].strong for row in every.rows] == [True, False, False, False]
    assert [row.cells[1].strong for row in every.rows] == [False, True, False, False]


def test_search_table_and_trace_show_what_decided():
    on_test = SEARCH.replace(select_on="test")
    cv, test = search_table(SEARCH), search_table(on_test)
    assert (cv.columns[9], test.columns[9]) == ("AUC (CV)", "AUC (test)")
    assert [row.cells[9].text for row in cv.rows] == ["71.00", "82.00", "84.00"]
    assert [row.cells[9].text for row in test.rows] == ["70.00", "85.00", "90.00"]
    assert [row.cells[6].text for row in cv.rows] == ["80.00", "75.00", "72.00"]  # accuracies
    assert [row.verdict for row in cv.rows] == ["", "start", "accepted"]
    assert cv.caption.endswith("decided by AUC")
    lines = search_trace(on_test)
    assert lines[0].endswith("the best single network, 85.00 % AUC on the test set.")
    assert "reached 90.00 % AUC on the test set, not below 85.00 % AUC, so it" in lines[1]
    assert "reached 84.00 % AUC in cross-validation" in search_trace(SEARCH)[1]


def test_the_chart_is_that_of_the_deciding_metric():
    auc = accuracy_chart(SEARCH)
    plain = accuracy_chart(SEARCH.replace(metric="accuracy"))
    units = "30 test images of 12 patients"
    assert f"<!-- test AUC (%); {units} -->" in auc
    assert f"<!-- test accuracy (%); {units} -->" in plain
    means = [row.estimate.mean for row in trained_pools(SEARCH)]
    assert means == [0.65, 0.70, 0.85, 0.90]
    moved = SEARCH.replace(scratch=entry(10, 65, 61))
    assert accuracy_chart(moved) == auc  # accuracies do not matter to it
    assert accuracy_chart(without("auc", SEARCH)) == ""


TESTED = results(
    best=Best(
        network=network_of("cpc+src"), evaluation=evaluation(80, confusion=((9.0, 1.0), (2.5, 7.5)))
    ),
    scratch=evaluation(60, confusion=((6.0, 4.0), (500.4, 5.0))),
    classes=("$x_", "<b>"),
)


def test_the_best_pool_stands_before_scratch_with_its_counts():
    chart = confusion_chart(TESTED)
    text = words(chart)
    assert [t for t in text if t in ("CPC + SRC", "From scratch")] == ["CPC + SRC", "From scratch"]
    assert [t for t in text if t.replace(".", "").isdigit()] == [
        *("9", "1", "2.5", "7.5"),
        *("6", "4", "500", "5"),
    ]
    assert text.count("$x_") == text.count("&lt;b&gt;") == 4 and text.count("predicted class") == 2
    assert text.count("true class") == 1
    _, figure, _ = parts(RunRecord(TESTED))
    assert figure.alt == (
        "Confusion matrices. CPC + SRC: $x_ 90 % right, <b> 75 % right; From scratch: "
        "$x_ 60 % right, <b> 1 % right"
    )


def test_shares_of_a_class_and_a_class_that_was_not_tested():
    shares = row_shares(np.array([[9.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(shares, [[0.9, 0.1, 0], [0, 0, 0], [0.25, 0.25, 0.5]])


@pytest.mark.parametrize(("k", "shown"), [(1, False), (2, True), (20, True), (21, False)])
def test_left_out_without_room(k, shown):
    scratch = evaluation(50, confusion=tuple(map(tuple, np.eye(k).tolist())))
    found = confusions(results(scratch=scratch, classes=tuple(map(str, range(k)))))
    assert list(found) == (["From scratch"] if shown else [])


def test_left_out_without_tests():
    assert confusion_chart(results()) == ""


def test_long_class_names_lose_their_middle():
    long = tuple(f"intracranial haemorrhage {i}" for i in (1, 2))
    text = words(confusion_chart(TESTED.replace(classes=long)))
    assert text.count("intracrani…orrhage 1") == text.count("intracrani…orrhage 2") == 4
