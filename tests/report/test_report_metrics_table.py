"""Metrics of small sets: their table, and reports on a search that another metric decides."""

import copy

import pytest

from assl_jax.report import figures, metrics, summary_lines, tables


def entry(accuracy, auc, selection):
    return {
        "accuracy": accuracy,
        "std": 0.01,
        "selection": selection,
        "runs": [accuracy],
        "metrics": {
            "accuracy": {"mean": accuracy, "std": 0.01, "low": accuracy - 0.05, "high": 0.95},
            "balanced_accuracy": {"mean": 0.7, "std": 0.0, "low": None, "high": 0.8},
            "auc": {"mean": auc, "std": 0.02, "low": 0.5, "high": 1.0},
        },
    }


def candidate(task, similarity, result):
    parts = {"avg": 0.7, "max": 0.8, "avg_gain": 0.1, "max_gain": 0.0}
    return {"task": task, "similarity": similarity, **parts, **result}


# By accuracy the start is CPC, by AUC Rubik's cube; the pool of both has the better AUC alone.
RESULTS = {
    "experiment": "mtassl",
    "select_on": "cv",
    "metric": "auc",
    "labels": 40,
    "test_images": 30,
    "patients": 12,
    "classes": ["no", "yes"],
    "scratch": entry(0.60, 0.65, 0.61),
    "singles": {"cpc": entry(0.80, 0.70, 0.71), "rubiks_cube": entry(0.75, 0.85, 0.82)},
    "iterations": [
        {
            "pool": ["rubiks_cube"],
            "candidates": [candidate("cpc", 0.2, entry(0.72, 0.90, 0.84))],
            "chosen": "cpc",
            "accepted": True,
        }
    ],
    "best": {"pool": ["rubiks_cube", "cpc"], **entry(0.72, 0.90, 0.84)},
}


def changed(**changes):
    return copy.deepcopy(RESULTS) | changes


def without_metrics():
    results = changed(metric="accuracy")
    for tested in (results["scratch"], *results["singles"].values(), results["best"]):
        del tested["metrics"]
    return results


def text(row):
    return [cell.text for cell in row.cells]


def test_metrics_table():
    table = metrics.metrics_table(RESULTS)
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
    images = metrics.metrics_table(changed(patients=None, test_images=1234))
    assert "over 1,234 images of the test set" in images.caption
    assert "60.0 ± 1.0 \\[55.0, 95.0\\]" in tables.render_markdown(RESULTS)


def test_what_was_not_measured_is_left_out_or_dashed():
    assert metrics.metrics_table({}) is None
    assert metrics.metrics_table(without_metrics()) is None
    assert metrics.metric_lines(without_metrics()) == []
    results = without_metrics()
    results["best"]["metrics"] = {"accuracy": {"mean": None, "std": None}, "auc": None}
    table = metrics.metrics_table(results)
    assert [text(row) for row in table.rows] == [["Rubik's cube + CPC", "–"]]
    assert table.columns == ("Pretraining", "Accuracy") and "interval" not in table.caption
    assert "None" not in tables.render_markdown(results)


def test_the_summary_has_intervals_where_they_matter():
    lines = [
        "Rubik's cube + CPC on the test set, in % [95 % interval, by bootstrap over 12 patients]:",
        "Accuracy 72.0 ± 1.0 [67.0, 95.0], from scratch 60.0 ± 1.0 [55.0, 95.0]",
        "Balanced accuracy 70.0, from scratch 70.0",
        "AUC 90.0 ± 2.0 [50.0, 100.0], from scratch 65.0 ± 2.0 [50.0, 100.0]",
    ]
    printed = "\n".join(summary_lines(RESULTS))
    assert "\n\n" + "\n".join(lines) + "\n\n" in printed
    small, large = {"patients": metrics.SMALL - 1}, {"patients": metrics.SMALL}
    assert metrics.metric_lines(changed(metric="accuracy", **small))
    assert not metrics.metric_lines(changed(metric="accuracy", **large))
    assert metrics.metric_lines(changed(**large))


def test_headline_names_the_metric():
    assert tables.headline(RESULTS) == (
        "Algorithm 1 chose Rubik's cube + CPC: 90.0 ± 2.0 % AUC against 65.0 ± 2.0 % AUC from "
        "scratch (40 labels, test set of 30 from 12 patients)"
    )
    assert tables.headline(changed(metric="balanced_accuracy")).startswith(
        "Algorithm 1 chose Rubik's cube + CPC: 70.0 % balanced accuracy against"
    )
    one_each = changed(metric="accuracy", patients=30)
    assert tables.headline(one_each).endswith(
        "72.0 ± 1.0 % against 60.0 ± 1.0 % from scratch (40 labels, test set of 30)"
    )
    del one_each["best"]["metrics"]["auc"]
    assert "an unknown AUC against 65.0" in tables.headline(one_each | {"metric": "auc"})


def test_headline_table_shows_the_deciding_metric():
    table = tables.headline_table(RESULTS)
    assert table.columns[1:] == ("Test AUC (%)", "Selection by AUC, CV (%)", "Gain over scratch")
    assert text(table.rows[-1]) == ["Rubik's cube + CPC", "90.00 ± 2.00", "84.00", "+25.00"]
    assert [row.cells[1].strong for row in table.rows] == [False, False, True, True]


def test_search_table_and_trace_show_what_decided():
    cv, test = (tables.search_table(changed(select_on=on)) for on in ("cv", "test"))
    assert (cv.columns[9], test.columns[9]) == ("AUC (CV)", "AUC (test)")
    assert [row.cells[9].text for row in cv.rows] == ["71.00", "82.00", "84.00"]
    assert [row.cells[9].text for row in test.rows] == ["70.00", "85.00", "90.00"]
    assert [row.cells[6].text for row in cv.rows] == ["80.00", "75.00", "72.00"]  # accuracies
    assert [row.verdict for row in cv.rows] == ["", "start", "accepted"]
    assert cv.caption.endswith("decided by AUC")
    lines = tables.search_trace(changed(select_on="test"))
    assert lines[0].endswith("the best single task, 85.00 % AUC on the test set.")
    assert "reached 90.00 % AUC on the test set, not below 85.00 % AUC, so it" in lines[1]
    assert "reached 84.00 % AUC in cross-validation" in tables.search_trace(RESULTS)[1]


def test_the_chart_is_that_of_the_deciding_metric():
    auc, plain = figures.accuracy_chart(RESULTS), figures.accuracy_chart(changed(metric="accuracy"))
    assert "<!-- test AUC (%) -->" in auc and "<!-- test accuracy (%) -->" in plain
    assert [metrics.score(RESULTS, e)[0] for _, e, _ in figures._accuracy_rows(RESULTS)] == [
        *(0.65, 0.70, 0.85, 0.90)
    ]
    moved = changed()
    moved["best"]["accuracy"] = moved["iterations"][0]["candidates"][0]["accuracy"] = 0.1
    assert figures.accuracy_chart(moved) == auc  # accuracies do not matter to it
    assert figures.accuracy_chart(without_metrics() | {"metric": "auc", "iterations": []}) == ""


@pytest.mark.parametrize("trained", ["all", "argmin"])
def test_the_search_in_the_layout_of_table_3(trained):
    """Volumes: the paper's Table 3, with every candidate trained or the least similar alone."""
    none = dict.fromkeys(("accuracy", "std", "selection", "avg_gain", "max_gain"))
    other = {"accuracy": 0.9, "selection": 0.88} if trained == "all" else none
    first = candidate("models_genesis", 0.5, other)
    results = changed(metric="accuracy", select_on="test")
    results["iterations"][0]["candidates"] += [first | {"similarity": 0.3}]
    table = tables.search_table(results)
    assert table.columns == (
        *("Iter.", "A1", "A2", "Similarity", "Avg ACC", "Max ACC", "MT-ASSL ACC"),
        *("Avg (+/-)", "Max (+/-)", "Decision"),
    )
    least, models_genesis = table.rows[-2:]
    assert text(least) == [
        *("2", "Rubik's cube", "CPC", "0.2000", "70.00", "80.00", "72.00", "+10.00", "+0.00"),
        "accepted",
    ]
    measured = ["90.00", "+10.00", "+0.00"] if trained == "all" else ["–"] * 3
    assert text(models_genesis) == [
        *("", "", "Models Genesis", "0.3000", "70.00", "80.00", *measured, "")
    ]
    assert models_genesis.cells[6].strong == (trained == "all")
    assert not least.cells[6].strong
