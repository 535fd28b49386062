"""The search, against the printed Table 2 of the paper and in its own words."""

import pytest
from finished_runs import network as record
from networks import network_of
from paper_tables import SINGLES
from reported import evaluation, extension, results, similarity_of, strong, tables_of, text

from assl_jax.records import (
    SCRATCH,
    Best,
    Control,
    DataSummary,
    Estimate,
    Finalist,
    Iteration,
    LastWord,
    Lead,
    Rung,
    StartWeights,
)
from assl_jax.report import overview, summary_lines
from assl_jax.report.outcome import headline, outcome_lines, warnings
from assl_jax.report.overview import headline_table
from assl_jax.report.search import search_table, search_trace
from assl_jax.report.similarity import similarity_table

ODD = DataSummary(
    name="npz", shape=(4, 4, 3), dtype="uint8", splits={}, odd=("2 images are copies of others",)
)
POOL, TITLE = ("simclr", "rotation"), "SimCLR, as long as the pool"
JOINED, LONGER = network_of("simclr+rotation"), network_of("simclr.longer")


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
    rule = {"criterion": "lcka", "rule": "not_worse"}
    return results(
        scratch=evaluation(63.19, 1.1, runs=[63.19], selection=62),
        singles={t: evaluation(v, 0.5, selection=v - 1) for t, v in SINGLES.items()},
        similarity=similarity_of(("simclr", "my|task"), ((1.0, 0.08664), (0.08664, 1.0)), 4096),
        iterations=(
            Iteration(
                candidates=tuple(candidate(start, *each, 73.05) for each in first),
                **{"pool": start, "chosen": "rotation", "accepted": True, **rule},
            ),
            Iteration(
                candidates=tuple(candidate(last, *each, 79.43) for each in then),
                **{"pool": last, "chosen": "inpaint", "accepted": False, **rule},
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
    unknown = second(criterion="")  # of an earlier version
    assert unknown.startswith("Rotation came next (similarity to SimCLR 0.0866).")
    sure = second(rule="one_standard_error", gain=0.03, error=0.01, needed=0.01)
    assert "better (search.accept=one_standard_error asked for 1.0 points), so it was" in sure


def test_how_sure_a_choice_is(paper):
    """The lead of the first task, the paired gain of a pool, and what was left out, in nats."""
    step = paper.iterations[0].replace(accepted=False, gain=-0.0123, error=0.02, needed=0.02)
    step = step.replace(rule="")
    lines = search_trace(
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
    shares = search_trace(paper.replace(iterations=(step.replace(gain=0.0123),)))
    assert "it was 1.2 ± 2.0 points better (it needed 2.0 points)" in shares[1]
    equal = paper.replace(lead=Lead(second="rotation", gain=-1e-17, error=0.058))
    assert "Rotation is 0.0 ± 5.8 points behind." in search_trace(equal)[0]


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


@pytest.fixture(params=[0.0123, 0.0, -0.0123])
def controlled(request):
    """A search whose pool is better than its control, equally good, or worse."""
    pool, alone = evaluation(78.21, 0.4, selection=77), evaluation(77.5, 0.5, selection=76)
    joined = extension(POOL[:1], POOL[1], 0.1, pool)
    best = Best(network=JOINED, evaluation=pool)
    if request.param < 0:
        best = Best(network=LONGER, evaluation=alone)
    first, second = (JOINED, LONGER)[:: 1 if request.param >= 0 else -1]
    scores = {first: 0.77, second: 0.77 - abs(request.param), network_of("simclr"): 0.72}
    finalists = [
        Finalist(network=network, score=score, error=0.02)
        for network, score in (scores | {SCRATCH: 0.6}).items()
    ]
    return results(
        scratch=evaluation(63.19, 1.1, selection=62),
        singles={
            "simclr": evaluation(73.05, selection=72),
            "rotation": evaluation(70, selection=69),
        },
        iterations=(Iteration(pool=POOL[:1], candidates=(joined,), chosen=POOL[1], accepted=True),),
        control=Control(network=LONGER, as_long_as=JOINED, evaluation=alone),
        last_word=LastWord(divisions=2, finalists=tuple(finalists)),
        best=best,
        networks=(record("simclr", flops=1e12), record("simclr.longer", flops=2e12)),
    )


def test_the_control_has_its_own_row_and_cost(controlled):
    rows = {row.cells[0].text: row for row in headline_table(controlled).rows}
    assert list(rows) == ["From scratch", "SimCLR", "Rotation", "SimCLR + Rotation", TITLE]
    assert [rows[name].cells[-1].text for name in ("SimCLR", TITLE)] == ["1.0", "2.0"]
    assert rows[TITLE].cells[1].text == "77.50 ± 0.50"
    longer = controlled.best.network == LONGER
    kept = TITLE if longer else "SimCLR + Rotation"
    assert [name for name, row in rows.items() if row.verdict == "chosen"] == [kept]
    # The best single task is strong too, and the control is no single task.
    assert rows["SimCLR"].cells[1].strong and not rows[TITLE].cells[1].strong
    words = "SimCLR alone, trained as long as SimCLR + Rotation and its parts: 77"
    start = words if longer else "SimCLR + Rotation: 78.2"
    assert headline(controlled).startswith(f"The search kept {start}")
    drawn = overview.trained_pools(controlled)
    labels = [row.label.title for row in drawn]
    assert labels[-1] == TITLE and len(labels) == len(set(labels))
    assert drawn[-1].verdict == ("accepted" if longer else "")


def test_sentences_tell_what_was_compared(controlled):
    *_, control, last, regret = search_trace(controlled)
    assert control == (
        "SimCLR alone, with the whole compute of SimCLR + Rotation and its parts, reached 76.00 % "
        "in cross-validation."
    )
    second = controlled.last_word.finalists[1].score
    titles = ["SimCLR + Rotation", TITLE][:: -1 if controlled.best.network == LONGER else 1]
    assert last == (
        f"At the end (accuracy in %, mean over 2 divisions into folds): {titles[0]} 77.00, "
        f"{titles[1]} {100 * second:.2f}, SimCLR 72.00, From scratch 60.00. The first was kept. "
        f"It is {77 - 100 * second:.1f} ± 2.0 points better than the second."
    )
    assert regret.startswith("Of the 5 networks, ")
    metrics = {"accuracy": Estimate(mean=0.8, std=0.0)}
    better = controlled.replace(scratch=controlled.scratch.replace(metrics=metrics))
    assert "Of the 5 networks, From scratch is best" in search_trace(better)[-1]


@pytest.mark.parametrize("divisions, where", [(1, "in cross-validation"), (0, "on the test set")])
def test_the_last_word_without_further_folds(controlled, divisions, where):
    word = controlled.last_word.replace(divisions=divisions)
    found = search_trace(controlled.replace(last_word=word))[-2]
    assert found.startswith(f"At the end (accuracy in %, {where}): ")


def test_where_nothing_beats_scratch_it_is_kept(controlled):
    best = Best(network=SCRATCH, evaluation=controlled.scratch)
    kept = controlled.replace(best=best, iterations=(), control=None, left_out=POOL)
    assert headline(kept).startswith(
        "Nothing beat training from scratch in cross-validation, so the search kept that network: "
        "63.2 ± 1.1 % ("
    )
    first, *_, regret = search_trace(kept)
    title = "SimCLR" if controlled.best.network == LONGER else "SimCLR + Rotation"
    assert first.startswith(title.split(" +")[0] + " starts")
    assert "SimCLR is best on the test set; the one kept is 9.9 points below it" in regret
    rows = {row.cells[0].text: row.verdict for row in headline_table(kept).rows}
    assert rows == {"From scratch": "chosen", "SimCLR": "", "Rotation": ""}


def test_the_rungs_come_first(controlled):
    names, means = ("simclr", "src", "rotation"), (2.25, 2.3, 2.3123)
    values = {n: Estimate(mean=m, std=0.0) for n, m in zip(names, means, strict=True)}
    rung = Rung(share=0.25, values=values, kept=("rotation", "simclr"))
    halved = controlled.replace(rungs=(rung,), metric="log_loss")
    first, second, *_ = search_trace(halved)
    assert first == (
        "After 25 % of the pretraining (log loss in cross-validation): SimCLR 2.250, SRC 2.300, "
        "Rotation 2.312. SimCLR and Rotation went on."
    )
    assert second.startswith("SimCLR starts the pool")
    accuracy = search_trace(halved.replace(metric="accuracy"))[0]
    assert "(accuracy in % in cross-validation): SimCLR 225.00" in accuracy
    only = halved.replace(iterations=(), control=None, last_word=None)
    assert search_trace(only)[0] == first
