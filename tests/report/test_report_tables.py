"""Tables against the printed Table 2 of the paper, whose averages and gains are worked out here."""

import pytest

from assl_jax.report import summary_lines, tables

SINGLES = {
    "src": 68.36,
    "jigsaw": 68.29,
    "inpaint": 64.49,
    "simclr": 73.05,
    "rotation": 70.07,
    "mcpc": 66.94,
}


def candidate(task, similarity, accuracy, pool):
    single = SINGLES[task]
    average, best = (single + pool) / 2, max(single, pool)
    return {
        "task": task,
        "similarity": similarity,
        "accuracy": accuracy / 100,
        "std": 0.004,
        "selection": accuracy / 100 - 0.01,
        "avg": average / 100,
        "max": best / 100,
        "avg_gain": (accuracy - average) / 100,
        "max_gain": (accuracy - best) / 100,
    }


def paper(select_on="cv"):
    """Iterations 1, 2 (all candidates, out of order) and 4 (one of them untrained)."""
    last = [candidate("inpaint", 0.2251, 76.01, 79.43), candidate("mcpc", 0.2283, 0, 79.43)]
    for key in ("accuracy", "selection", "std", "avg_gain", "max_gain"):
        last[1][key] = None
    return {
        "experiment": "mtassl",
        "data": "stl10",
        "seed": 0,
        "select_on": select_on,
        "labels": 1000,
        "test_images": 8000,
        "classes": ["a", "b"],
        "scratch": {"accuracy": 0.6319, "std": 0.011, "selection": 0.62, "runs": [0.6319]},
        "singles": {
            task: {"accuracy": v / 100, "std": 0.005, "selection": v / 100 - 0.01, "runs": []}
            for task, v in SINGLES.items()
        },
        "similarity": {
            "tasks": ["simclr", "my|task"],
            "n": 4096,
            "layer": "pooled",
            "estimator": "biased",
            "matrix": [[1.0, 0.08664], [0.08664, 1.0]],
        },
        "iterations": [
            {
                "pool": ["simclr"],
                "candidates": [
                    candidate("jigsaw", 0.2409, 74.69, 73.05),
                    candidate("rotation", 0.0866, 78.21, 73.05),
                    candidate("inpaint", 0.2373, 74.08, 73.05),
                ],
                "chosen": "rotation",
                "accepted": True,
            },
            {
                "pool": ["simclr", "rotation", "src"],
                "candidates": last,
                "chosen": "inpaint",
                "accepted": False,
            },
        ],
        "best": {"pool": ["simclr", "rotation"], "accuracy": 0.7821, "std": 0.004},
        "an extension": [1, 2],
    }


def text(row):
    return [cell.text for cell in row.cells]


def strong(row):
    return [cell.text for cell in row.cells if cell.strong]


def test_table_2_to_the_digit():
    table = tables.search_table(paper("test"))
    rotation, inpaint, jigsaw = table.rows[6:9]
    a1 = "SimCLR"
    expected = [
        ["2", a1, "Rotation", "0.0866", "71.56", "73.05", "78.21", "+6.65", "+5.16", "accepted"],
        ["", "", "Inpaint", "0.2373", "68.77", "73.05", "74.08", "+5.31", "+1.03", ""],
        ["", "", "Jigsaw", "0.2409", "70.67", "73.05", "74.69", "+4.02", "+1.64", ""],
    ]
    assert [text(row) for row in (rotation, inpaint, jigsaw)] == expected
    # A column of equal values has no best.
    assert strong(rotation) == ["0.0866", "71.56", "78.21", "+6.65", "+5.16"]
    assert strong(inpaint) == strong(jigsaw) == []
    assert len(table.columns) == 10 and table.columns[6] == "MT-ASSL ACC"


def test_first_iteration_shows_the_singles():
    rows = tables.search_table(paper("test")).rows[:6]
    assert text(rows[0]) == ["1", "SRC", "–", "", "", "", "68.36", "", "", ""]
    assert text(rows[3]) == ["", "SimCLR", "–", "", "", "", "73.05", "", "", "start"]
    assert [strong(row) for row in rows] == [[], [], [], ["73.05"], [], []]


def test_untrained_candidate_has_dashes_and_the_stop_is_marked():
    stopped, untrained = tables.search_table(paper()).rows[-2:]
    assert stopped.verdict == "stopped" and stopped.opens
    a1 = "SimCLR + Rotation + SRC"
    assert text(stopped)[:5] == ["3", a1, "Inpaint", "0.2251", "71.96"]
    assert text(stopped)[5:] == ["79.43", "76.01", "+4.05", "-3.42", "75.01", "stopped"]
    assert text(untrained)[3:] == ["0.2283", "73.19", "79.43", "–", "–", "–", "–", ""]


def test_headline_table():
    table = tables.headline_table(paper())
    assert table.columns[1:] == ("Test accuracy (%)", "Selection, CV (%)", "Gain over scratch")
    assert text(table.rows[0]) == ["From scratch", "63.19 ± 1.10", "62.00", "–"]
    assert [row.cells[0].text for row in table.rows[1:]] == [
        *("SRC", "Jigsaw", "Inpaint", "SimCLR", "Rotation", "MCPC", "SimCLR + Rotation")
    ]
    assert strong(table.rows[4]) == ["73.05 ± 0.50", "72.05"]  # the best single
    assert text(table.rows[-1]) == ["SimCLR + Rotation", "78.21 ± 0.40", "–", "+15.02"]
    assert strong(table.rows[-1]) == ["78.21 ± 0.40"]
    assert [row.verdict for row in table.rows] == [""] * 7 + ["chosen"]


def test_a_chosen_single_is_not_listed_twice():
    results = paper() | {"best": {"pool": ["simclr"], "accuracy": 0.7305, "std": 0.005}}
    table = tables.headline_table(results)
    assert [row.verdict for row in table.rows] == ["", "", "", "", "chosen", "", ""]
    assert tables.headline(results).startswith("Algorithm 1 kept SimCLR alone: 73.")


def test_markdown_shape_and_escapes():
    text = tables.markdown(tables.similarity_table(paper()))
    assert text.splitlines() == [
        "Similarity between features (biased estimator, layer pooled, 4,096 images)",
        "",
        "|  | SimCLR | my\\|task |",
        "| --- | ---: | ---: |",
        "| SimCLR | 1.0000 | 0.0866 |",
        "| my\\|task | 0.0866 | 1.0000 |",
    ]
    whole = tables.render_markdown(paper())
    assert "| 2 | SimCLR | Rotation | **0.0866** | **71.56** | 73.05 | **78.21** |" in whole
    assert "nan" not in whole.lower() and "None" not in whole
    for block in whole.split("\n\n"):
        if block.startswith("|"):
            bars = {line.replace("\\|", "").count("|") for line in block.strip().splitlines()}
            assert len(bars) == 1


@pytest.mark.parametrize(
    ("value", "percent", "gain"),
    [(0.12345, "12.35", "+12.35"), (-0.0342, "-3.42", "-3.42"), (None, "–", "–")]
    + [(float("nan"), "–", "–"), (-0.00001, "0.00", "+0.00"), (0.0, "0.00", "+0.00")],
)
def test_numbers(value, percent, gain):
    assert tables.percent(value) == percent
    assert tables.gain(value) == gain


def test_a_single_run_has_no_deviation():
    assert tables.mean_std(0.5, 0.0) == tables.mean_std(0.5, None) == "50.00"
    assert tables.mean_std(0.5, 0.0123) == "50.00 ± 1.23"
    assert tables.mean_std(None, 0.1) == "–"


def test_equal_prints_are_equally_strong():
    results = paper("test")
    results["singles"]["rotation"]["accuracy"] = 0.730501  # prints as SimCLR's 73.05
    rows = tables.search_table(results).rows[:6]
    assert [bool(strong(row)) for row in rows] == [False, False, False, True, True, False]


def test_headline_sentence():
    expected = (
        "Algorithm 1 chose SimCLR + Rotation: 78.2 ± 0.4 % against 63.2 ± 1.1 % from scratch "
        "(1,000 labels, test set of 8,000)"
    )
    assert tables.headline(paper()) == expected
    pretrain = {"experiment": "pretrain", "best": {"pool": ["new_task"], "accuracy": 0.5}}
    assert tables.headline(pretrain) == "new_task: 50.0 %"
    assert tables.headline({"scratch": {"accuracy": 0.25}}) == "Training from scratch: 25.0 %"


def test_trace_quotes_the_figures_decisions_were_made_on():
    cv, test = tables.search_trace(paper()), tables.search_trace(paper("test"))
    assert cv[0] == "SimCLR starts the pool: the best single task, 72.05 % in cross-validation."
    assert cv[1] == (
        "Rotation was least similar to SimCLR (similarity 0.0866). SimCLR + Rotation reached "
        "77.21 % in cross-validation, not below 72.05 %, so it was accepted."
    )
    assert "78.21 % on the test set, not below 73.05 %" in test[1]
    assert cv[2].endswith("75.01 % in cross-validation, below 77.21 %, so the search stopped.")


def test_trace_says_when_nothing_is_left():
    results = paper()
    del results["iterations"][1]
    del results["iterations"][0]["candidates"][2], results["iterations"][0]["candidates"][0]
    assert tables.search_trace(results)[-1] == "No candidate was left."


def test_selection_on_the_test_set_is_said_everywhere():
    assert tables.selection_warning(paper()) is None
    warning = tables.selection_warning(paper("test"))
    assert "has seen the test set" in warning
    assert f"> **{warning}**" in tables.render_markdown(paper("test"))
    assert warning in summary_lines(paper("test"))
    assert "Selection (CV)" not in tables.search_table(paper("test")).columns


def test_summary_lines_are_aligned_plain_text():
    lines = summary_lines(paper())
    table = lines[2:12]
    assert table[0].startswith("Pretraining        Test accuracy (%)")
    assert table[1] == "-----------------  -----------------  -----------------  -----------------"
    assert {len(line) for line in table} == {len(table[1])}
    assert not any("**" in line or "|" in line for line in lines)


def stage(label="simclr", **measured):
    return {"stage": "s", "kind": "pretrain", "label": label, "result": {}, **measured}


def test_stages_with_their_memory():
    stages = [
        stage(seconds=1234.56, images_per_s=99.6, peak_host_bytes=3 * 2**29),
        # Read from a done.json that is older than the measurement.
        stage("vgg16/src+mcpc", seconds=2.0, images_per_s=None),
    ]
    table = tables.stages_table(stages)
    assert table.columns == (
        *("Network", "Stage", "Time (s)", "Images/s", "Peak host memory (GiB)"),
    )
    assert [text(row) for row in table.rows] == [
        ["SimCLR", "pretrain", "1,234.6", "100", "1.50"],
        ["VGG-16: SRC + MCPC", "pretrain", "2.0", "–", "–"],
    ]
    stages[1] |= {"peak_device_bytes": 2**28, "peak_host_bytes": 2**30}
    table = tables.stages_table(stages)
    assert table.columns[-1] == "Peak device memory (GiB)"
    assert [text(row)[-2:] for row in table.rows] == [["1.50", "–"], ["1.00", "0.25"]]
    assert tables.stages_table([]) is None


def test_missing_sections():
    results = {"experiment": "pretrain", "scratch": {"accuracy": 0.5, "std": None}}
    results["best"] = {"pool": ["simclr"], "accuracy": 0.6, "std": 0.01, "selection": 0.5}
    assert tables.search_table(results) is None and tables.similarity_table(results) is None
    rows = tables.headline_table(results).rows
    assert [text(row) for row in rows] == [
        ["From scratch", "50.00", "–"],
        ["SimCLR", "60.00 ± 1.00", "+10.00"],
    ]
    for empty in ({}, {"similarity": {}, "iterations": [], "singles": {}}):
        assert tables.render_markdown(empty).startswith("# No accuracy was measured")
        assert summary_lines(empty)
