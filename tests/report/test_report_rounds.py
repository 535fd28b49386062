"""The rounds of a search: their sentences, what the search believes, and two charts."""

import pytest
from networks import network_of
from reported import evaluation, page_of, tables_of, text
from searched import (
    FIRST,
    JOINED,
    ROTATION,
    SECOND,
    SIMCLR,
    SRC,
    STUDENT,
    TESTED,
    changed,
    move,
    on,
    searched,
    then,
)

from assl_jax.records import SCRATCH, Best, Estimate, Network, Rung
from assl_jax.report import summary_lines
from assl_jax.report.names import Label
from assl_jax.report.outcome import headline
from assl_jax.report.overview import headline_table
from assl_jax.report.search import rounds_table, search_trace
from assl_jax.report.summary import summary

FOUND = searched()
TAUGHT = "Student of (SimCLR, then Rotation) and (SimCLR, then Rotation, continued)"


def test_a_round_tells_what_each_further_training_brought():
    first, second = search_trace(FOUND)
    assert first == (
        "Round 1 began with SimCLR. Rotation was least similar to SimCLR (similarity 0.0866). "
        "Training with Rotation made it 4.0 ± 1.2 points better. "
        "Continued training made it 1.5 ± 1.0 points better. "
        "Rotation was nearly as good and was trained further too; "
        "after that it was 0.5 ± 1.5 points worse than SimCLR."
    )
    assert second == (
        "Round 2 began with SimCLR, then Rotation. "
        "SRC added most to a probe on SimCLR + Rotation (0.125 nats). "
        "Training with SRC made it 1.0 ± 0.5 points worse. "
        "Continued training made it 0.8 ± 0.6 points worse."
    )


def test_every_candidate_has_its_sentences_and_only_the_first_its_reason():
    """So it is with `search.candidates=all`."""
    other, standings = then(SIMCLR, "src"), FOUND.search.standings
    joined, alone, _ = FIRST.moves
    moves = (joined, move(SIMCLR, other, 0.5, 1, task="src", added=(-1, 1)), alone)
    (only,) = search_trace(
        changed(
            FOUND,
            rounds=(FIRST.replace(moves=moves),),
            standings=(*standings, standings[-1].replace(network=other)),
        )
    )
    assert only.count("was least similar to") == 1
    assert only.endswith(
        "Training with SRC made it 0.5 ± 1.0 points better. "
        "Continued training made it 1.5 ± 1.0 points better."
    )


def test_a_round_without_another_task_goes_on_alone():
    alone = SECOND.replace(candidates=(), moves=SECOND.moves[1:])
    (only,) = search_trace(changed(FOUND, rounds=(alone,)))
    assert only == (
        "Round 1 began with SimCLR, then Rotation. "
        "Continued training made it 0.8 ± 0.6 points worse."
    )


def test_losses_are_in_nats():
    rung = Rung(
        share=0.25,
        values={task: Estimate(mean=2.5, std=0.0) for task in ("simclr", "rotation")},
        kept=("simclr", "rotation"),
    )
    rung, first, _ = search_trace(FOUND.replace(metric="log_loss", rungs=(rung,)))
    assert rung.startswith(
        "After 25 % of the pretraining (log loss in cross-validation): SimCLR 2.5"
    )
    assert "Training with Rotation made it 0.040 ± 0.013 nats better." in first


def test_the_standings():
    table = rounds_table(FOUND, FOUND.search)
    assert table.columns == (
        *("Place", "Pretraining", "Estimate (accuracy in %)", "Probability of being the best"),
        "Divisions into folds",
    )
    assert table.caption == (
        "What the search believes at its end: the accuracy in cross-validation, shrunk towards the "
        "mean of all networks, ± its standard error; and how probably each network is the best of "
        "all"
    )
    assert [text(row) for row in table.rows[:4]] == [
        ["1", "SimCLR, then Rotation", "74.50 ± 1.25", "55 %", "3"],
        ["2", TAUGHT, "74.25 ± 1.50", "30 %", "3"],
        ["3", "SimCLR, then Rotation, continued", "73.75 ± 1.50", "5 %", "1"],
        ["4", "SimCLR, then Rotation, then SRC", "73.50 ± 1.50", "10 %", "1"],
    ]
    assert [row.cells[1].text for row in table.rows[4:]] == [
        *("SimCLR, continued", "SimCLR", "Rotation, continued", "Rotation", "SRC", "From scratch")
    ]
    assert [row.verdict for row in table.rows] == ["chosen"] + 9 * [""]
    assert [cell.strong for cell in table.rows[0].cells] == [False, False, True, True, False]
    assert not any(cell.strong for row in table.rows[1:] for cell in row.cells)


def test_the_standings_of_other_selections():
    """On the test set there are no folds; of a log loss, the lowest is the best."""
    on_test = FOUND.replace(select_on="test")
    table = rounds_table(on_test, on_test.search)
    assert table.columns[-1] == "Probability of being the best"
    assert "the accuracy on the test set, shrunk" in table.caption
    first, second, *_ = FOUND.search.standings
    found = changed(
        FOUND.replace(metric="log_loss"),
        standings=(first.replace(estimate=0.5), second.replace(estimate=0.75)),
    )
    table = rounds_table(found, found.search)
    assert table.columns[2] == "Estimate (log loss)"
    assert [row.cells[2] for row in table.rows] == [
        ("0.500 ± 0.013", True),
        ("0.750 ± 0.015", False),
    ]


def test_the_overview_has_a_row_for_every_network_of_the_search():
    table = headline_table(FOUND)
    rows = {row.cells[0].text: text(row)[1:] for row in table.rows}
    assert list(rows) == [
        *(
            "From scratch",
            "SimCLR",
            "Rotation",
            "SRC",
            "SimCLR, then Rotation",
            "SimCLR, continued",
        ),
        *(
            "Rotation, continued",
            "SimCLR, then Rotation, then SRC",
            "SimCLR, then Rotation, continued",
        ),
        TAUGHT,
    ]
    assert rows["SimCLR, then Rotation"] == ["76.00 ± 0.50", "75.00", "+16.00", "6.0"]
    assert rows[TAUGHT] == ["77.00 ± 0.50", "74.60", "+17.00", "8.0"]
    assert [row.cells[0].text for row in table.rows if row.verdict] == ["SimCLR, then Rotation"]
    # The best single task is strong as well; one that went on alone is no single task.
    strong = [row.cells[0].text for row in table.rows if row.cells[1].strong]
    assert strong == ["SimCLR", TAUGHT]


def test_two_networks_of_the_same_tasks_have_two_rows():
    other = then(ROTATION, "simclr")
    further = move(ROTATION, other, 0, 1, task="simclr", added=(0, 1))
    standing = FOUND.search.standings[-1].replace(network=other, evaluation=evaluation(64))
    found = changed(
        FOUND,
        rounds=(FIRST.replace(moves=(*FIRST.moves, further)), SECOND),
        standings=(*FOUND.search.standings, standing),
    )
    rows = {row.cells[0].text: row.cells[1].text for row in headline_table(found).rows}
    assert rows["Rotation, then SimCLR"] == "64.00 ± 0.50"
    assert rows["SimCLR, then Rotation"] == "76.00 ± 0.50"
    assert len(rows) == 11


def test_the_headline_says_how_probably_it_is_the_best():
    assert headline(FOUND) == (
        "The search kept SimCLR, then Rotation, the best with a probability of 55 %: 76.0 ± 0.5 % "
        "against 60.0 ± 0.5 % from scratch (1,000 labels, 8,000 test images)"
    )
    # A search with rounds trains every task further, so "alone" would say too little.
    single = FOUND.replace(best=Best(network=on(SIMCLR), evaluation=TESTED[on(SIMCLR)]))
    assert headline(single).startswith("The search kept SimCLR, continued, the best with")
    first, *_ = FOUND.search.standings
    only = changed(
        FOUND, rounds=(), standings=(first.replace(probability=1.0),)
    )  # nothing to compare with
    assert headline(only).startswith("The search kept SimCLR, then Rotation: 76.0 ± 0.5 %")


def test_where_nothing_beats_scratch_it_is_kept():
    standings = FOUND.search.standings
    order = (standings[-1].replace(probability=0.4), *standings[:-1])
    best = Best(network=SCRATCH, evaluation=TESTED[SCRATCH])
    kept = changed(FOUND.replace(best=best), standings=order)
    assert headline(kept) == (
        "Nothing beat training from scratch in cross-validation, so the search kept that network, "
        "the best with a probability of 40 %: 60.0 ± 0.5 % (1,000 labels, 8,000 test images)"
    )
    rows = {row.cells[0].text: row.verdict for row in headline_table(kept).rows}
    assert [title for title, verdict in rows.items() if verdict] == ["From scratch"]


def test_the_page_the_tables_and_the_terminal_show_the_search():
    page, tables, lines = page_of(FOUND), tables_of(FOUND), summary_lines(FOUND)
    assert "Scores against compute over 2 rounds; the numbers are in the tables" in page
    assert "the places in the table; a thick ring marks the network that is kept." in page
    one = page_of(changed(FOUND, rounds=(FIRST,)))
    assert "Scores against compute over 1 round;" in one
    assert "| 1 | SimCLR, then Rotation | **74.50 ± 1.25** | **55 %** | 3 |" in tables
    assert "MT-ASSL search" not in tables
    for line in search_trace(FOUND):
        assert line not in lines and line in tables and line in page
    for line in summary(FOUND):
        assert line in lines and line in tables and line in page
    # Nothing stands before it but the headline.
    assert [headline(FOUND), "", *summary(FOUND), ""] == lines[: len(summary(FOUND)) + 3]
    assert tables.index("## In short") < tables.index("## Accuracy")


@pytest.mark.parametrize(
    "network, title",
    [
        (on(SIMCLR), "SimCLR, continued"),
        (on(on(SIMCLR)), "SimCLR, continued 2 times"),
        (JOINED, "SimCLR, then Rotation"),
        (Network(objective="student", teachers=(SIMCLR, SRC)), "Student of SimCLR and SRC"),
        (STUDENT, TAUGHT),
        (on(SIMCLR).repeated(1), "SimCLR, continued, pretraining 2"),
    ],
)
def test_titles(network, title):
    assert Label.of(network).title == title
    assert Label.of(network, "vgg16").title == f"VGG-16: {title}"


def test_labels_of_the_same_tasks_differ():
    pool, other = network_of("simclr+rotation"), then(ROTATION, "simclr")
    same = [
        pool,
        JOINED,
        on(JOINED),
        other,
        Network(objective="student", teachers=(SIMCLR, ROTATION)),
    ]
    labels = [Label.of(network) for network in same]
    assert len(set(labels)) == 5 and {frozenset(label.pool) for label in labels} == {
        frozenset(("simclr", "rotation"))
    }
    assert len({label.key for label in labels}) == 5
    assert Label.of(JOINED) == Label.of(SIMCLR.replace(tasks=("simclr", "rotation"), start=SIMCLR))
