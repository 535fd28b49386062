"""The rounds of a search, on tables of scores."""

import pytest

from assl_jax.errors import InputError
from assl_jax.strategies import mtassl
from assl_jax.strategies.settings import SearchSettings, in_compute, in_minutes

SINGLES = {"a": 0.5, "b": 0.4, "c": 0.3}
ALIKE = {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3}
# The second round begins with a pool, and the third one with that pool gone on.
TWO_ROUNDS = SINGLES | {
    **{"a b": 0.6, "a.continued": 0.55},
    **{"a b.then_c": 0.58, "a b.continued": 0.7},
    **{"a b.continued.then_c": 0.65, "a b.continued2": 0.7},
}
ALIKE_LATER = ALIKE | {"a b|c": 0.2, "a b.continued|c": 0.2, "a b.continued.then_c|c": 0.2}


@pytest.fixture
def search(drive):
    """`search(evidence, **settings)`: what a search finds, with the accuracy as its metric."""

    def run(evidence, **settings):
        return drive(mtassl.search(evidence, SearchSettings(metric="accuracy", **settings)))

    return run


def moves(found):
    return [
        (each.start.label, {move.network.label: round(move.gain, 6) for move in each.moves})
        for each in found.search.rounds
    ]


def test_each_round_begins_with_the_best_network_and_trains_two(fake, search):
    evidence = fake(TWO_ROUNDS, ALIKE_LATER)
    found = search(evidence, budget="100 TFLOP")
    assert moves(found) == [
        ("a", {"a+b": 0.1, "a.continued": 0.05}),
        ("a+b", {"a+b.then_c": -0.02, "a+b.continued": 0.1}),
        ("a+b.continued", {"a+b.continued.then_c": -0.05, "a+b.continued2": 0.0}),
    ]
    first, second, third = found.search.rounds
    # What a task adds to training on, for the same compute; and what was to be expected.
    assert [move.added for move in first.moves] == [pytest.approx(0.05), None]
    assert second.moves[0].added == pytest.approx(-0.12)
    assert first.expected == pytest.approx(0.1, abs=1e-3)
    assert third.expected == pytest.approx(0, abs=1e-3) and found.search.stopped == "gain"
    assert [each.task for each in first.candidates] == ["b", "c"]
    assert first.candidates[0].evaluation.accuracy.mean == 0.6
    assert first.candidates[1].evaluation is None
    # The first of equal ones is kept, and all are ranked.
    assert found.best.network.label == "a+b.continued"
    standings = found.search.standings
    assert [each.network.label for each in standings[:3]] == [
        *("a+b.continued", "a+b.continued2", "a+b.continued.then_c"),
    ]
    assert standings[-1].network.label == "scratch" and len(standings) == 4 + 6
    assert standings[0].estimate == pytest.approx(0.7, abs=1e-3)
    assert sum(each.probability for each in standings) == pytest.approx(1, abs=1e-3)


def test_going_on_alone_where_no_task_is_left(fake, search):
    evidence = fake({"a": 0.5, "a.continued": 0.6, "a.continued2": 0.6}, {})
    found = search(evidence, budget="9 TFLOP")
    assert moves(found) == [
        ("a", {"a.continued": 0.1}),
        ("a.continued", {"a.continued2": 0.0}),
    ]


def test_a_network_that_stays_the_best_is_extended_by_another_task(fake, search):
    evidence = fake(SINGLES | {"a b": 0.4, "a c": 0.4, "a.continued": 0.45}, ALIKE)
    found = search(evidence, gain=0, budget="100 TFLOP")
    assert moves(found) == [
        ("a", {"a+b": -0.1, "a.continued": -0.05}),
        ("a", {"a+c": -0.1, "a.continued": -0.05}),
    ]
    assert found.search.stopped == "tasks" and found.best.network.label == "a"


@pytest.mark.parametrize(
    "budget, rounds, allowed",
    [
        ("", 2, 8),
        ("7 TFLOP (3 min)", 1, 7),
        ("2 singles", 0, 0),
        ("8singles", 2, 8),
        ("5.9 TFLOP", 0, 5.9),
    ],
)
def test_a_round_that_the_budget_does_not_pay_for_is_not_begun(
    budget, rounds, allowed, fake, search
):
    """Four networks of 1 TFLOP are there at the beginning, and a round has two."""
    evidence = fake(TWO_ROUNDS, ALIKE_LATER)
    if not allowed:
        with pytest.raises(InputError, match="^search.budget=2 singles does not pay for the 3"):
            search(evidence, budget=budget)
        return
    found = search(evidence, budget=budget).search
    assert (len(found.rounds), found.stopped) == (rounds, "budget")
    assert (found.spent, found.budget) == (1e12 * (4 + 2 * rounds), 1e12 * allowed)


@pytest.mark.parametrize(
    "budget",
    [
        *("many", "-1 singles", "0 TFLOP", "3", "3 GFLOP", "1 2 singles", "0 min", "3 minutes"),
        *("1 TFLOP (0 min)", "1 TFLOP (3 singles)", "3 singles (1 min)", "1 TFLOP 3 min"),
    ],
)
def test_a_budget_that_is_none(budget):
    with pytest.raises(InputError, match="must be as '12 singles', '6 TFLOP' or '30 min'"):
        SearchSettings(budget=budget)


@pytest.mark.parametrize(
    "minutes, flops_per_s, compute",
    [
        ("30 min", 6.8369e9, "12.3 TFLOP (30 min)"),  # 1,800 s
        ("0.5min", 1e9, "0.03 TFLOP (0.5min)"),
        (" 600 min ", 1.23456e12, "44400 TFLOP (600 min)"),
        ("1 min", 1e5, "0.000006 TFLOP (1 min)"),
    ],
)
def test_minutes_at_a_pace(minutes, flops_per_s, compute):
    assert in_compute(minutes, flops_per_s) == compute
    assert in_minutes(minutes) and not in_minutes(compute)
    assert SearchSettings(budget=compute).budget == compute


def test_what_minutes_do_not_pay_for_is_told_in_minutes(fake, search):
    """Four networks of 1 TFLOP begin a search, and 10 minutes are 2.5 TFLOP."""
    evidence = fake(TWO_ROUNDS, ALIKE_LATER)
    with pytest.raises(
        InputError, match=r"^search.budget=2.5 TFLOP \(10 min\) does not pay.*, 16 m"
    ):
        search(evidence, budget="2.5 TFLOP (10 min)")


@pytest.mark.parametrize("best", ["scratch", "start", "wise", "a"])
def test_what_has_no_task_can_be_kept_and_is_never_extended(best, fake, search):
    table = {
        "scratch": 0.1,
        "start": 0.2,
        "wise": 0.3,
        "a": 0.15,
        "a wise": 0.1,
        "a.continued": 0.1,
    }
    alike = {"a|wise": 0.1, "wise|a": 0.1}
    evidence = fake(table | {best: 0.5}, alike, teachers=("wise",), start=True)
    found = search(evidence, budget="100 TFLOP")
    assert found.best.network.label == best
    assert [each.start.label for each in found.search.rounds][:1] == ["a"]


def test_what_is_nearly_as_good_goes_on_too(fake, search):
    table = SINGLES | {"b": 0.498, "a c": 0.4, "a b": 0.4, "a.continued": 0.5, "b.continued": 0.6}
    evidence = fake(table, ALIKE)
    evidence.error = 0.02
    (first,) = search(evidence, budget="7 TFLOP").search.rounds
    assert [(move.task, move.start.label, move.network.label) for move in first.moves] == [
        *(("b", "a", "a+b"), ("", "a", "a.continued"), ("", "b", "b.continued")),
    ]
    assert first.moves[2].gain == pytest.approx(0.1)  # over the network of the round
    evidence.error = 1e-6
    (first,) = search(evidence, budget="7 TFLOP").search.rounds
    assert [move.network.label for move in first.moves] == ["a+b", "a.continued"]


def test_a_rival_is_not_continued_twice(fake, search):
    """In the second round the first network is a rival of its own continuation."""
    table = {"a": 0.5, "b": 0.3, "a b": 0.3, "a.continued": 0.505}
    evidence = fake(table | {"a.continued.then_b": 0.3, "a.continued2": 0.5}, ALIKE_LATER)
    evidence.error = 0.02
    evidence.pairs[frozenset(("a.continued", "b"))] = 0.1
    _, second = search(evidence, gain=0, budget="7 TFLOP").search.rounds
    assert [move.network.label for move in second.moves] == ["a.continued.then_b", "a.continued2"]


def test_all_extensions_where_they_are_asked_for(fake, search):
    evidence = fake(SINGLES | {"a b": 0.4, "a c": 0.45, "a.continued": 0.4}, ALIKE)
    found = search(evidence, candidates="all", budget="100 TFLOP")
    assert moves(found) == [("a", {"a+b": -0.1, "a+c": -0.05, "a.continued": -0.1})]


def test_the_task_that_adds_most_is_next(fake, search):
    evidence = fake(SINGLES | {"a b": 0.4, "a c": 0.45, "a.continued": 0.4}, ALIKE)
    evidence.complements = {"a|b": 0.1, "a|c": 0.2}
    (first,) = search(evidence, next="complement", budget="7 TFLOP").search.rounds
    assert [each.task for each in first.candidates] == ["c", "b"]
    assert first.criterion == "complement" and first.moves[0].task == "c"


def test_the_leaders_are_looked_at_on_further_folds_while_it_is_open(fake, search):
    table = SINGLES | {"a b": 0.3, "a.continued": 0.49, "a c": 0.3}
    evidence = fake(table, ALIKE)
    evidence.error = 0.02
    evidence.divisions = {("a.continued", 1): 0.6, ("a.continued", 2): 0.6}
    found = search(evidence, budget="8 TFLOP")
    assert evidence.prepared[:2] == [("a", 1), ("a.continued", 1)]
    assert found.best.network.label == "a.continued"
    divisions = {each.network.label: each.divisions for each in found.search.standings}
    assert divisions["a.continued"] == divisions["a"] == 2 > 1 == divisions["a+b"]
    assert found.search.spent == 1e12 * (6 + 2 * 0.25)
    # The budget pays for one more division of both, or a division is dear.
    for budget, division, added in (("6.6 TFLOP", 0.25, 2), ("20 TFLOP", 0.55, 0)):
        evidence = fake(table, ALIKE)
        evidence.error, evidence.division = 0.02, division
        search(evidence, budget=budget)
        assert len(evidence.prepared) == added
    # Nothing is open, or there is nothing to fold.
    evidence = fake(table, ALIKE)
    search(evidence, budget="7 TFLOP")
    assert not evidence.prepared
    evidence.error, evidence.on_folds = 0.02, False
    search(evidence, select_on="test", budget="7 TFLOP")
    assert not evidence.prepared
