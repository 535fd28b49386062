"""The search, against the printed Table 2 of the paper and in its own words."""

import pytest
from finished_runs import network as record
from networks import network_of
from paper_tables import SINGLES
from reported import evaluation, extension, results, similarity_of, strong, tables_of, text

from assl_jax.records import Best, DataSummary, Estimate, Iteration, Rung, StartWeights
from assl_jax.report import summary_lines
from assl_jax.report.algorithm1 import search_table
from assl_jax.report.outcome import headline, outcome_lines, warnings
from assl_jax.report.overview import headline_table
from assl_jax.report.search import search_trace
from assl_jax.report.similarity import similarity_table

ODD = DataSummary(
    name="npz", shape=(4, 4, 3), dtype="uint8", splits={}, odd=("2 images are copies of others",)
)
JOINED, TITLE = network_of("simclr+rotation"), "SimCLR, as long as the pool"


def candidate(pool, task, similarity, accuracy, of_pool):
    """`accuracy` None: not trained."""
    single = SINGLES[task]
    found = None if accuracy is None else evaluation(accuracy, 0.4, selection=accuracy - 1)
    return extension(
        pool, task, similarity, found, (single + of_pool) / 200, max(single, of_pool) / 100
    )


@pytest.fixture(scope="module")
def paper():
    """Iterations 1, 2 (all candidates, out of order) and 4 (one of them untrained)."""
    start, last = ("simclr",), ("simclr", "rotation", "src")
    first = [("jigsaw", 0.2409, 74.69), ("rotation", 0.0866, 78.21), ("inpaint", 0.2373, 74.08)]
    then = [("inpaint", 0.2251, 76.01), ("mcpc", 0.2283, None)]
    return results(
        scratch=evaluation(63.19, 1.1, runs=[63.19], selection=62),
        singles={t: evaluation(v, 0.5, selection=v - 1) for t, v in SINGLES.items()},
        similarity=similarity_of(("simclr", "my|task"), ((1.0, 0.08664), (0.08664, 1.0)), 4096),
        iterations=(
            Iteration(
                candidates=tuple(candidate(start, *each, 73.05) for each in first),
                **{"pool": start, "chosen": "rotation", "accepted": True, "criterion": "lcka"},
            ),
            Iteration(
                candidates=tuple(candidate(last, *each, 79.43) for each in then),
                **{"pool": last, "chosen": "inpaint", "accepted": False, "criterion": "lcka"},
            ),
        ),
        best=Best(network=JOINED, evaluation=evaluation(78.21, 0.4)),
    )


@pytest.fixture(scope="module")
def on_test(paper):
    return paper.replace(select_on="test")


def test_table_2_to_the_digit(on_test):
    table = search_table(on_test)
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


def test_first_iteration_shows_the_singles(on_test):
    rows = search_table(on_test).rows[:6]
    assert text(rows[0]) == ["1", "SRC", "–", "", "", "", "68.36", "", "", ""]
    assert text(rows[3]) == ["", "SimCLR", "–", "", "", "", "73.05", "", "", "starts the pool"]
    assert [strong(row) for row in rows] == [[], [], [], ["73.05"], [], []]
    close = on_test.replace(singles=on_test.singles | {"rotation": evaluation(73.0501)})
    rows = search_table(close).rows[:6]  # what prints the same is equally strong
    assert [bool(strong(row)) for row in rows] == [False, False, False, True, True, False]


def test_untrained_candidate_has_dashes_and_the_stop_is_marked(paper):
    stopped, untrained = search_table(paper).rows[-2:]
    assert stopped.verdict == "stopped" and stopped.opens
    a1 = "SimCLR + Rotation + SRC"
    assert text(stopped)[:5] == ["3", a1, "Inpaint", "0.2251", "71.96"]
    assert text(stopped)[5:] == ["79.43", "76.01", "+4.05", "-3.42", "75.01", "stopped"]
    assert text(untrained)[3:] == ["0.2283", "73.19", "79.43", "–", "–", "–", "–", ""]


def test_headline_table(paper):
    table = headline_table(paper)
    assert table.columns[1:] == ("Test accuracy (%)", "Selection, CV (%)", "Gain over scratch")
    assert text(table.rows[0]) == ["From scratch", "63.19 ± 1.10", "62.00", "–"]
    assert [row.cells[0].text for row in table.rows[1:]] == [
        *("SRC", "Jigsaw", "Inpaint", "SimCLR", "Rotation", "MCPC", "SimCLR + Rotation")
    ]
    assert strong(table.rows[4]) == ["73.05 ± 0.50", "72.05"]  # the best single
    assert text(table.rows[-1]) == ["SimCLR + Rotation", "78.21 ± 0.40", "–", "+15.02"]
    assert strong(table.rows[-1]) == ["78.21 ± 0.40"]
    assert [row.verdict for row in table.rows] == [""] * 7 + ["chosen"]
    single = paper.replace(
        best=Best(network=network_of("simclr"), evaluation=paper.singles["simclr"])
    )
    table = headline_table(single)  # a chosen single is not listed twice
    assert [row.verdict for row in table.rows] == ["", "", "", "", "chosen", "", ""]
    assert headline(single).startswith("The search kept SimCLR alone: 73.")


def test_what_each_pretraining_cost(paper):
    """In TFLOP, of the network and of all that it builds on."""
    known = record("src", flops=1.25e15)
    table = headline_table(paper.replace(networks=(*paper.networks, known)))
    assert table.columns[-1] == "Pretraining (TFLOP)"
    cells = {row.cells[0].text: row.cells[-1].text for row in table.rows}
    assert cells["SRC"] == "1,250.0" and cells["Rotation"] == "–"


def test_markdown_has_no_missing_value_and_escapes(paper):
    whole = tables_of(paper)
    table = ["|  | SimCLR | my\\|task |", "| --- | ---: | ---: |", "| SimCLR | 1.0000 | 0.0866 |"]
    assert "\n".join([f"{similarity_table(paper.similarity).caption}\n", *table]) in whole
    assert "| 2 | SimCLR | Rotation | **0.0866** | **71.56** | 73.05 | **78.21** |" in whole
    assert "nan" not in whole.lower() and "None" not in whole


def test_trace_quotes_the_figures_decisions_were_made_on(paper, on_test):
    cv, test = search_trace(paper), search_trace(on_test)
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
    *_, last, regret = search_trace(paper.replace(iterations=(step,)))
    assert last == "No candidate was left."
    assert regret.startswith("Of the 8 networks, ")


def test_the_reasons_are_those_of_the_record(paper):
    step = paper.iterations[0]
    candidates = tuple(each.replace(complement=0.125) for each in step.candidates)

    def second(**changes):
        changed = step.replace(candidates=candidates, **changes)
        return search_trace(paper.replace(iterations=(changed,)))[1]

    assert second().startswith("Rotation was least similar to SimCLR (similarity 0.0866).")
    added = second(criterion="complement")
    assert added.startswith("Rotation added most to a probe on SimCLR (0.125 nats).")
    unknown = second(criterion="ours")  # of another package
    assert unknown.startswith("Rotation came next (similarity to SimCLR 0.0866).")


def test_the_regret_is_what_the_best_trained_network_has_more(paper):
    best = paper.best.evaluation
    worse = best.replace(metrics={"accuracy": best.accuracy.replace(mean=0.7)})
    kept = paper.best.replace(network=network_of("mcpc"), evaluation=worse)
    regret = search_trace(paper.replace(best=kept))[-1]
    assert "SimCLR + Rotation is best on the test set" in regret
    assert f"is {78.21 - 70:.1f} points below it." in regret


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"select_on": "test"}, "The selection has seen the test set"),
        ({"reused": ("a",)}, "1 stage was computed by other code and reused (--reuse=settings)."),
        ({"reused": ("a", "b")}, "2 stages were computed by other code and reused"),
        ({"images": ODD}, "The images: 2 images are copies of others."),
    ],
)
def test_cautions_are_said_everywhere(paper, change, warning):
    assert warnings(paper) == ()
    found = paper.replace(**change)
    (said,) = warnings(found)
    assert said.startswith(warning)
    whole = tables_of(found)
    assert f"\n\n> **{said}**\n\n" in whole.replace("\\", "")
    assert whole.index("> **") < whole.index("Fine-tuning with")
    assert said in summary_lines(found)


def test_summary_lines_are_aligned_plain_text(paper):
    lines = summary_lines(paper)
    table = lines[2:12]
    assert table[0].startswith("Pretraining        Test accuracy (%)")
    assert table[1] == "-----------------  -----------------  -----------------  -----------------"
    assert {len(line) for line in table} == {len(table[1])}
    assert not any("**" in line or "|" in line for line in lines)


def test_missing_sections():
    best = Best(network=network_of("simclr"), evaluation=evaluation(60, 1))
    found = results(experiment="pretrain", scratch=evaluation(50, 0), best=best)
    assert search_table(found) is None
    assert [text(row) for row in headline_table(found).rows] == [
        ["From scratch", "50.00", "–"],
        ["SimCLR", "60.00 ± 1.00", "+10.00"],
    ]
    assert headline_table(results()) is None
    assert tables_of(results()) == "# No accuracy was measured\n"
    assert summary_lines(results()) == ["No accuracy was measured"]


def test_start_weights_have_a_row_and_are_called_what_they_are(paper):
    words = "with the start weights alone"
    found = paper.replace(start=evaluation(72.0, selection=70.0))
    first, second = map(text, headline_table(found).rows[:2])
    assert first[0] == "From scratch"
    assert second[0] == "Start weights" and f"{72.0 - 63.19:+.2f}" in second
    assert words in headline(found) and words not in headline(paper)
    assert all("Start" not in row.cells[0].text for row in headline_table(paper).rows)
    run = StartWeights(source="photos", title=TITLE, flops=3.25e12)
    title = f"Start weights ({TITLE})"
    named = found.replace(start_weights=run)
    assert headline_table(named).rows[1].cells[0].text == title
    assert outcome_lines(named)[-1] == (
        f"The start weights are {TITLE} of photos: 3.2 TFLOP of pretraining, "
        "which the costs here do not contain."
    )
    best = Best(network=network_of("start"), evaluation=found.start)
    alone = named.replace(experiment="finetune", best=best, iterations=())
    assert headline(alone).startswith(f"{title}: 72.0 ")
    file = alone.replace(start_weights=StartWeights(source="resnet18.safetensors"))
    assert headline(file).startswith("Start weights (resnet18.safetensors): 72.0 ")
    assert "are resnet18.safetensors, which the costs" in outcome_lines(file)[-1]


def test_the_rungs_come_first(paper):
    names, means = ("simclr", "src", "rotation"), (2.25, 2.3, 2.3123)
    values = {n: Estimate(mean=m, std=0.0) for n, m in zip(names, means, strict=True)}
    rung = Rung(share=0.25, values=values, kept=("rotation", "simclr"))
    halved = paper.replace(rungs=(rung,), metric="log_loss")
    first, second, *_ = search_trace(halved)
    assert first == (
        "After 25 % of the pretraining (log loss in cross-validation): SimCLR 2.250, SRC 2.300, "
        "Rotation 2.312. SimCLR and Rotation went on."
    )
    assert second.startswith("SimCLR starts the pool")
    accuracy = search_trace(halved.replace(metric="accuracy"))[0]
    assert "(accuracy in % in cross-validation): SimCLR 225.00" in accuracy
    only = halved.replace(iterations=())
    assert search_trace(only)[0] == first
