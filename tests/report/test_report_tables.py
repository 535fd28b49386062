"""Tables against the printed Table 2 of the paper, its averages and gains computed here."""

import pytest

from assl_jax.records import (
    Best,
    Estimate,
    Extension,
    Iteration,
    Lead,
    NetworkRecord,
    Similarity,
    StartWeights,
)
from assl_jax.report import forms, sentences, summary_lines, table, tables
from assl_jax.report.names import pool_title

SINGLES = {
    "src": 68.36,
    "jigsaw": 68.29,
    "inpaint": 64.49,
    "simclr": 73.05,
    "rotation": 70.07,
    "mcpc": 66.94,
}


@pytest.fixture(scope="module")
def candidate(evaluation):
    def build(pool, task, similarity, accuracy, of_pool):
        """`accuracy` None: not trained."""
        single = SINGLES[task]
        found = None if accuracy is None else evaluation(accuracy, 0.4, selection=accuracy - 1)
        return Extension(
            pool=pool,
            task=task,
            similarity=similarity,
            avg=(single + of_pool) / 200,
            max=max(single, of_pool) / 100,
            evaluation=found,
        )

    return build


@pytest.fixture(scope="module")
def paper(candidate, evaluation, results):
    """Iterations 1, 2 (all candidates, out of order) and 4 (one of them untrained)."""
    start, last = ("simclr",), ("simclr", "rotation", "src")
    return results(
        scratch=evaluation(63.19, 1.1, runs=[63.19], selection=62),
        singles={t: evaluation(v, 0.5, selection=v - 1) for t, v in SINGLES.items()},
        similarity=Similarity(
            tasks=("simclr", "my|task"),
            n=4096,
            layer="pooled",
            estimator="biased",
            matrix=((1.0, 0.08664), (0.08664, 1.0)),
        ),
        iterations=(
            Iteration(
                pool=start,
                candidates=(
                    candidate(start, "jigsaw", 0.2409, 74.69, 73.05),
                    candidate(start, "rotation", 0.0866, 78.21, 73.05),
                    candidate(start, "inpaint", 0.2373, 74.08, 73.05),
                ),
                chosen="rotation",
                accepted=True,
            ),
            Iteration(
                pool=last,
                candidates=(
                    candidate(last, "inpaint", 0.2251, 76.01, 79.43),
                    candidate(last, "mcpc", 0.2283, None, 79.43),
                ),
                chosen="inpaint",
                accepted=False,
            ),
        ),
        best=Best(pool=("simclr", "rotation"), evaluation=evaluation(78.21, 0.4)),
    )


@pytest.fixture(scope="module")
def on_test(paper):
    return paper.replace(select_on="test")


def strong(row):
    return [cell.text for cell in row.cells if cell.strong]


def test_table_2_to_the_digit(on_test, text):
    table = tables.search_table(on_test)
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


def test_first_iteration_shows_the_singles(on_test, text):
    rows = tables.search_table(on_test).rows[:6]
    assert text(rows[0]) == ["1", "SRC", "–", "", "", "", "68.36", "", "", ""]
    assert text(rows[3]) == ["", "SimCLR", "–", "", "", "", "73.05", "", "", "starts the pool"]
    assert [strong(row) for row in rows] == [[], [], [], ["73.05"], [], []]


def test_untrained_candidate_has_dashes_and_the_stop_is_marked(paper, text):
    stopped, untrained = tables.search_table(paper).rows[-2:]
    assert stopped.verdict == "stopped" and stopped.opens
    a1 = "SimCLR + Rotation + SRC"
    assert text(stopped)[:5] == ["3", a1, "Inpaint", "0.2251", "71.96"]
    assert text(stopped)[5:] == ["79.43", "76.01", "+4.05", "-3.42", "75.01", "stopped"]
    assert text(untrained)[3:] == ["0.2283", "73.19", "79.43", "–", "–", "–", "–", ""]


def test_headline_table(paper, text):
    table = tables.headline_table(paper)
    assert table.columns[1:] == ("Test accuracy (%)", "Selection, CV (%)", "Gain over scratch")
    assert text(table.rows[0]) == ["From scratch", "63.19 ± 1.10", "62.00", "–"]
    assert [row.cells[0].text for row in table.rows[1:]] == [
        *("SRC", "Jigsaw", "Inpaint", "SimCLR", "Rotation", "MCPC", "SimCLR + Rotation")
    ]
    assert strong(table.rows[4]) == ["73.05 ± 0.50", "72.05"]  # the best single
    assert text(table.rows[-1]) == ["SimCLR + Rotation", "78.21 ± 0.40", "–", "+15.02"]
    assert strong(table.rows[-1]) == ["78.21 ± 0.40"]
    assert [row.verdict for row in table.rows] == [""] * 7 + ["chosen"]


def test_a_chosen_single_is_not_listed_twice(paper):
    single = paper.replace(best=Best(pool=("simclr",), evaluation=paper.singles["simclr"]))
    table = tables.headline_table(single)
    assert [row.verdict for row in table.rows] == ["", "", "", "", "chosen", "", ""]
    assert sentences.headline(single).startswith("The search kept SimCLR alone: 73.")


def test_markdown_shape_and_escapes(paper):
    text = table.markdown(tables.similarity_table(paper.similarity))
    assert text.splitlines() == [
        "Similarity between features (biased estimator, layer pooled, 4,096 images)",
        "",
        "|  | SimCLR | my\\|task |",
        "| --- | ---: | ---: |",
        "| SimCLR | 1.0000 | 0.0866 |",
        "| my\\|task | 0.0866 | 1.0000 |",
    ]
    whole = tables.render_markdown(paper)
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
    assert forms.percent(value) == percent
    assert forms.gain(value) == gain


def test_a_single_run_has_no_deviation_and_several_equal_ones_have_one_of_0():
    assert forms.mean_std(Estimate(mean=0.5, std=0.0, runs=(0.5, 0.5))) == "50.00 ± 0.00"
    assert forms.mean_std(Estimate(mean=0.5, std=0.0, runs=(0.5,))) == "50.00"
    assert forms.mean_std(Estimate(mean=0.5, std=0.0)) == "50.00"
    assert forms.mean_std(Estimate(mean=0.5, std=0.0123)) == "50.00 ± 1.23"
    assert forms.mean_std(None) == "–"
    several = Estimate(mean=0.5, std=0.1, runs=(0.4, 0.4, 0.6, 0.6), pretrainings=(0.4, 0.6))
    assert forms.mean_std(several) == "50.00 ± 10.00 (± 14.14)"


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([0.1, 0.3, None, 0.2], True, "30.00"),
        ([0.1, 0.3, None, 0.2], False, "10.00"),
        ([0.1, 0.100001], True, None),  # they print the same
        ([0.1, float("nan")], True, None),
        ([], True, None),
    ],
)
def test_the_winner_of_a_column(values, higher, best):
    assert forms.winner(values, forms.percent, higher_is_better=higher) == best


def test_equal_prints_are_equally_strong(on_test, evaluation):
    close = on_test.replace(singles=on_test.singles | {"rotation": evaluation(73.0501)})
    rows = tables.search_table(close).rows[:6]
    assert [bool(strong(row)) for row in rows] == [False, False, False, True, True, False]


def test_headline_sentence(paper, evaluation, results):
    assert sentences.headline(paper) == (
        "The search kept SimCLR + Rotation: 78.2 ± 0.4 % against 63.2 ± 1.1 % from scratch "
        "(1,000 labels, 8,000 test images)"
    )
    end = " (1,000 labels, 8,000 test images)"
    new = Best(pool=("new_task",), evaluation=evaluation(50, 0))
    assert sentences.headline(results(experiment="pretrain", best=new)) == "new_task: 50.0 %" + end
    scratch = results(scratch=evaluation(25, 0))
    assert sentences.headline(scratch) == "Training from scratch: 25.0 %" + end
    assert sentences.headline(results()) == "No accuracy was measured"


def test_trace_quotes_the_figures_decisions_were_made_on(paper, on_test):
    cv, test = sentences.search_trace(paper), sentences.search_trace(on_test)
    assert cv[0] == "SimCLR starts the pool: the best single network, 72.05 % in cross-validation."
    assert cv[1] == (
        "Rotation was least similar to SimCLR (similarity 0.0866). SimCLR + Rotation reached "
        "77.21 % in cross-validation, not below 72.05 %, so it was accepted."
    )
    assert "78.21 % on the test set, not below 73.05 %" in test[1]
    assert cv[2].endswith("75.01 % in cross-validation, below 77.21 %, so the search stopped.")


def test_trace_says_when_nothing_is_left(paper):
    step = paper.iterations[0]
    step = step.replace(candidates=step.candidates[1:2])
    *_, last, regret = sentences.search_trace(paper.replace(iterations=(step,)))
    assert last == "No candidate was left."
    assert regret.startswith("Of the 8 networks, ")


def test_how_sure_a_choice_is(paper):
    """The lead of the first task, the paired gain of a pool, and what was left out, in nats."""
    step = paper.iterations[0].replace(accepted=False, gain=-0.0123, error=0.02, needed=0.02)
    lines = sentences.search_trace(
        paper.replace(
            metric="log_loss",
            lead=Lead(second="rotation", gain=0.05, error=0.015),
            left_out=(*step.pool, "inpaint"),  # the pool's own task is in it, and stays
            iterations=(step,),
        )
    )
    assert lines[0].endswith("Rotation is 0.050 ± 0.015 nats behind.")
    assert lines[1] == (
        "Left out, because no better than training from scratch in cross-validation: Inpaint."
    )
    assert lines[2].endswith(
        "Paired by image on other folds it was 0.012 ± 0.020 nats worse (it needed 0.020 nats), "
        "so the search stopped."
    )
    shares = sentences.search_trace(paper.replace(iterations=(step.replace(gain=0.0123),)))
    assert "it was 1.2 ± 2.0 points better (it needed 2.0 points)" in shares[1]
    equal = paper.replace(lead=Lead(second="rotation", gain=-1e-17, error=0.058))
    assert "Rotation is 0.0 ± 5.8 points behind." in sentences.search_trace(equal)[0]


def test_the_regret_is_what_the_best_trained_network_has_more(paper):
    best = paper.best.evaluation
    worse = best.replace(metrics={"accuracy": best.accuracy.replace(mean=0.7)})
    kept = paper.best.replace(pool=("mcpc",), evaluation=worse)
    regret = sentences.search_trace(paper.replace(best=kept))[-1]
    title, value = max(
        (
            (pool, c.evaluation.accuracy.mean)
            for i in paper.iterations
            for c in i.candidates
            for pool in [c.members]
            if c.evaluation
        ),
        key=lambda entry: entry[1],
    )
    assert f"{pool_title(title)} is best on the test set" in regret
    assert f"is {100 * (value - 0.7):.1f} points below it." in regret


def test_selection_on_the_test_set_is_said_everywhere(paper, on_test):
    assert sentences.warnings(paper) == []
    (warning,) = sentences.warnings(on_test)
    assert "has seen the test set" in warning
    assert f"> **{warning}**" in tables.render_markdown(on_test)
    assert warning in summary_lines(on_test)
    assert "Selection (CV)" not in tables.search_table(on_test).columns


@pytest.mark.parametrize(
    ("reused", "warning"),
    [
        (("a",), "1 stage was computed by other code and reused (--reuse=settings)."),
        (("a", "b"), "2 stages were computed by other code and reused (--reuse=settings)."),
    ],
)
def test_reused_stages_are_said_everywhere(on_test, reused, warning):
    found = on_test.replace(reused=reused)
    assert sentences.warnings(found) == [*sentences.warnings(on_test), warning]
    whole = tables.render_markdown(found)
    assert f"\n\n> **{warning}**\n\n" in whole
    assert whole.index(warning) < whole.index("Fine-tuning with")
    assert warning in summary_lines(found)


def test_summary_lines_are_aligned_plain_text(paper):
    lines = summary_lines(paper)
    table = lines[2:12]
    assert table[0].startswith("Pretraining        Test accuracy (%)")
    assert table[1] == "-----------------  -----------------  -----------------  -----------------"
    assert {len(line) for line in table} == {len(table[1])}
    assert not any("**" in line or "|" in line for line in lines)


def test_stages_with_their_memory(stage, text):
    stages = [
        stage(seconds=1234.56, images_per_s=99.6, peak_host_bytes=3 * 2**29),
        stage("vgg16/src+mcpc", seconds=2.0),
    ]
    table = tables.stages_table(stages)
    assert table.columns == (
        *("Network", "Stage", "Time (s)", "Images/s", "Peak host memory (GiB)"),
    )
    assert [text(row) for row in table.rows] == [
        ["SimCLR", "pretraining", "1,234.6", "100", "1.50"],
        ["VGG-16: SRC + MCPC", "pretraining", "2.0", "–", "–"],
    ]
    stages[1] = stages[1].replace(peak_device_bytes=2**28, peak_host_bytes=2**30)
    table = tables.stages_table(stages)
    assert table.columns[-1] == "Peak device memory (GiB)"
    assert [text(row)[-2:] for row in table.rows] == [["1.50", "–"], ["1.00", "0.25"]]
    assert tables.stages_table([]) is None


def test_missing_sections(evaluation, results, text):
    found = results(
        experiment="pretrain",
        scratch=evaluation(50, 0),
        best=Best(pool=("simclr",), evaluation=evaluation(60, 1)),
    )
    assert tables.search_table(found) is None and tables.similarity_table(None) is None
    rows = tables.headline_table(found).rows
    assert [text(row) for row in rows] == [
        ["From scratch", "50.00", "–"],
        ["SimCLR", "60.00 ± 1.00", "+10.00"],
    ]
    assert tables.headline_table(results()) is None
    assert tables.render_markdown(results()) == "# No accuracy was measured\n"
    assert summary_lines(results()) == ["No accuracy was measured"]


def test_what_each_pretraining_cost(paper):
    """In TFLOP, of the network and of all that it builds on."""
    assert tables.headline_table(paper).columns[-1] == "Gain over scratch"
    known = NetworkRecord(
        label="src",
        pool=("src",),
        variant="plain",
        backbone="resnet18",
        finetune="f",
        pretrain="p",
        flops=1.25e15,
    )
    table = tables.headline_table(paper.replace(networks=(*paper.networks, known)))
    assert table.columns[-1] == "Pretraining (TFLOP)"
    cells = {row.cells[0].text: row.cells[-1].text for row in table.rows}
    assert cells["SRC"] == "1,250.0" and cells["Rotation"] == "–"


def test_start_weights_have_a_row_and_a_gain(paper, evaluation):
    words = "with the start weights alone"
    found = paper.replace(start=evaluation(72.0, selection=70.0))
    rows = [[cell.text for cell in row.cells] for row in tables.headline_table(found).rows]
    gain = f"{72.0 - 100 * paper.scratch.accuracy.mean:+.2f}"
    assert rows[0][0] == "From scratch"
    assert rows[1][0] == "Start weights" and gain in rows[1]
    assert words in sentences.headline(found) and words not in sentences.headline(paper)
    assert all("Start" not in row.cells[0].text for row in tables.headline_table(paper).rows)


def test_start_weights_are_called_what_they_are(paper, evaluation):
    found = paper.replace(start=evaluation(72.0, selection=70.0))
    run = StartWeights(source="photos", label="simclr.longer", flops=3.25e12)
    title = "Start weights (SimCLR, as long as the pool)"
    rows = [
        row.cells[0].text for row in tables.headline_table(found.replace(start_weights=run)).rows
    ]
    assert rows[1] == title
    assert sentences.outcome_lines(found.replace(start_weights=run))[-1] == (
        "The start weights are SimCLR, as long as the pool of photos: 3.2 TFLOP of pretraining, "
        "which the costs here do not contain."
    )
    best = Best(pool=(), evaluation=found.start)
    alone = found.replace(experiment="finetune", best=best, start_weights=run, iterations=())
    assert sentences.headline(alone).startswith(f"{title}: 72.0 ")
    file = alone.replace(start_weights=StartWeights(source="resnet18.safetensors"))
    assert sentences.headline(file).startswith("Start weights (resnet18.safetensors): 72.0 ")
    assert "are resnet18.safetensors, which the costs" in sentences.outcome_lines(file)[-1]
