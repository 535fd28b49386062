"""The tables of the regret benchmark, by hand."""

import numpy as np

from benchmarks.regret import FIRST, Seed, calibration, floor, numbers, regrets, students

N = 1000


def hits(accuracy):
    """One fine-tuning that is right on the first images of a test set of 1,000."""
    return (np.arange(N) < N * accuracy)[None]


def seed(kept, accuracies, stated, scores=None):
    """A search of which each network is right with an accuracy, and stated to be the best."""
    scores = scores or accuracies
    found = {label: hits(accuracy) for label, accuracy in accuracies.items()}
    standings = [(label, scores[label], stated[label]) for label in accuracies]
    rule = {"kept": kept, "standings": standings, "spent": 2.0}
    return Seed(found, {"rounds": rule}, {})


FOUND = {
    0: seed("a", {"a": 0.9, "b": 0.8}, {"a": 0.7, "b": 0.3}),
    1: seed("a", {"a": 0.6, "b": 0.65}, {"a": 0.75, "b": 0.25}, scores={"a": 0.1, "b": 0.2}),
}


def test_regret_is_what_the_kept_network_lacks():
    rows = {row["rule"]: row for row in regrets(FOUND)}
    assert list(rows) == ["rounds", FIRST]  # other rules were not carried out
    assert rows["rounds"]["regret"] == "2.50 ± 2.50" and rows["rounds"]["accuracy (%)"] == "75.00"
    assert rows["rounds"]["even seeds"].startswith("0.00")
    assert rows["rounds"]["odd seeds"].startswith("5.00")
    assert rows[FIRST]["regret"] == "0.00 ± 0.00"  # its scores are right both times


def test_the_floor_is_the_luck_of_a_test_set():
    """Two equal networks that are right on different halves, and two that are far apart."""
    # The measured difference has a standard deviation of 100 / sqrt(n) points. If there is no
    # true one, the mean of its positive part is lost; less if the networks may truly differ.
    lost = 100 / np.sqrt(N) / np.sqrt(2 * np.pi)
    assert 0.5 * lost < floor([hits(0.5), ~hits(0.5)]) < 1.1 * lost
    assert floor([hits(0.5), hits(0.9)]) < 1e-6
    # Fine-tunings that differ by 10 points make it larger.
    unlike = [np.concatenate([hits(0.6), hits(0.5)]), np.concatenate([hits(0.5), hits(0.6)])]
    assert floor(unlike) > floor([hits(0.55), hits(0.55)]) + 1


def test_probabilities_are_compared_with_what_is_true():
    rows = {row["stated"]: row for row in calibration(FOUND)}
    assert rows["0.60 to 0.80"] == {
        **{"stated": "0.60 to 0.80", "networks": 2, "mean stated": "0.72", "are the best": "0.50"},
    }
    assert rows["0.20 to 0.40"]["are the best"] == "0.50"


def test_a_student_is_compared_with_the_mean_of_its_teachers():
    found = seed("s", {"a": 0.6, "b": 0.8, "s": 0.75}, dict.fromkeys("abs", 0.3))
    found.students["s"] = ["a", "b"]
    found.hits["ensemble s"] = hits(0.72)
    (row,) = students({0: found})
    assert row["student - teachers"].startswith("+5.00 [") and row["kept"] == "1.00"
    assert row["ensemble - teachers"] == "+2.00"


def test_numbers():
    assert numbers("0-3,7") == [0, 1, 2, 3, 7] and numbers("") == []
