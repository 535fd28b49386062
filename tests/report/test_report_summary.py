"""The search in short: what the report opens with, and the last lines of a run begin with."""

import pytest
from reported import results
from searched import FIRST, JOINED, SECOND, SIMCLR, changed, move, on, searched, then

from assl_jax.records import Best
from assl_jax.report.outcome import headline
from assl_jax.report.summary import summary

FOUND = searched()
STUDENT = "the student of (SimCLR, then Rotation) and (SimCLR, then Rotation, continued)"
SPENT = "All trainings together cost 60 TFLOP, fine-tunings included; the budget was 80 TFLOP."


def test_a_search_in_a_few_sentences():
    assert summary(FOUND) == [
        f"The best could also be {STUDENT} (30 %); SimCLR, then Rotation, then SRC (10 %).",
        "Round 1: Rotation added 2.5 ± 1.0 points beyond continued training.",
        "Round 2: SRC added nothing beyond continued training: −0.2 ± 0.8 points.",
        "The search stopped, because the last round brought about 0.2 points, less than "
        f"search.gain asks for. {SPENT}",
        "To try next: other tasks or more images, since a further round would hardly pay; "
        "more labels, since another network may be as good.",
        f"Of the 10 networks, {STUDENT} is best on the test set; the one kept is 1.0 points below "
        "it.",
    ]
    assert summary(results()) == []


@pytest.mark.parametrize(
    "added, words",
    [
        ((1.01, 1.0), "added 1.0 ± 1.0 points beyond continued training."),
        ((0.99, 1.0), "added nothing certain beyond continued training: 1.0 ± 1.0 points."),
        ((0.01, 0.0), "added 0.0 ± 0.0 points beyond continued training."),
        ((0.0, 1.0), "added nothing beyond continued training: 0.0 ± 1.0 points."),
        ((-3.0, 1.0), "added nothing beyond continued training: −3.0 ± 1.0 points."),
    ],
)
def test_a_task_added_something_if_it_is_more_than_its_error(added, words):
    moves = (
        move(SIMCLR, JOINED, 4, 1, task="rotation", added=added),
        move(SIMCLR, on(SIMCLR), 3, 1),
    )
    found = changed(FOUND, rounds=(FIRST.replace(moves=moves),))
    assert summary(found)[1] == f"Round 1: Rotation {words}"


def test_every_task_of_a_round_has_its_sentence():
    """So it is with `search.candidates=all`. Going on from a rival tells nothing of a task."""
    joined, *others = FIRST.moves
    further = move(SIMCLR, then(SIMCLR, "src"), 0.5, 1, task="src", added=(-1, 1))
    standings = FOUND.search.standings
    found = changed(
        FOUND,
        rounds=(FIRST.replace(moves=(joined, further, *others)),),
        standings=(*standings, standings[-1].replace(network=further.network)),
    )
    assert summary(found)[1] == (
        "Round 1: Rotation added 2.5 ± 1.0 points beyond continued training. "
        "SRC added nothing beyond continued training: −1.0 ± 1.0 points."
    )


def test_a_round_that_had_no_task_left():
    alone = SECOND.replace(candidates=(), moves=SECOND.moves[1:])
    assert summary(changed(FOUND, rounds=(alone,)))[1] == (
        "Round 1: no task was left to add; continued training made SimCLR, then Rotation "
        "0.8 ± 0.6 points worse."
    )


@pytest.mark.parametrize(
    "stopped, rounds, why, advice",
    [
        (
            *("budget", FOUND.search.rounds),
            "a further round would cost more than search.budget allows",
            "a larger search.budget, since the last round still brought about 0.2 points",
        ),
        (
            *("budget", ()),
            "a further round would cost more than search.budget allows",
            "a larger search.budget, since it allowed no round",
        ),
        ("tasks", (), "nothing was left to try", "further tasks"),
        ("tasks", FOUND.search.rounds, "nothing was left to try", "further tasks"),
    ],
)
def test_why_it_stopped_and_what_to_try_next(stopped, rounds, why, advice):
    *_, stop, to_try, _ = summary(changed(FOUND, stopped=stopped, rounds=rounds))
    assert stop == f"The search stopped, because {why}. {SPENT}"
    end = "; more labels, since another network may be as good."
    assert to_try == f"To try next: {advice}{end}"


@pytest.mark.parametrize("probability, close", [(0.26, True), (0.24, False)])
def test_labels_are_worth_trying_where_another_network_is_close(probability, close):
    first, second, *others = FOUND.search.standings
    standings = (first, second.replace(probability=probability), *others)
    assert ("more labels" in summary(changed(FOUND, standings=standings))[-2]) == close


def test_only_what_may_well_be_best_is_named():
    first, *others = FOUND.search.standings
    sure = changed(FOUND, standings=(first, *(each.replace(probability=0.04) for each in others)))
    assert summary(sure)[0].startswith("Round 1: ")


def test_amounts_have_three_digits():
    found = changed(FOUND, rounds=(), spent=0.01234e12, budget=12345.6e12)
    assert summary(found)[1].endswith(
        "cost 0.0123 TFLOP, fine-tunings included; the budget was 12,346 TFLOP."
    )


def test_losses_are_in_nats():
    found = summary(FOUND.replace(metric="log_loss"))
    assert found[1] == "Round 1: Rotation added 0.025 ± 0.010 nats beyond continued training."
    assert "the last round brought about 0.002 nats, less than" in found[3]


def test_titles_inside_a_sentence_begin_in_lower_case():
    student, scratch = FOUND.search.standings[1], FOUND.search.standings[-1]
    kept = Best(network=student.network, evaluation=student.evaluation)
    assert headline(FOUND.replace(best=kept)).startswith(f"The search kept {STUDENT}, the best")
    standings = (*FOUND.search.standings[:-1], scratch.replace(probability=0.45))
    assert summary(changed(FOUND, standings=standings))[0].startswith(
        "The best could also be the network from scratch (45 %); the student of"
    )
