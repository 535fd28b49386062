"""Algorithm 1 on the paper's own numbers (Tables 1 and 2), and on crafted ones."""

import types

import numpy as np
import pytest

from assl_jax.errors import InputError
from assl_jax.records import Findings
from assl_jax.strategies import mtassl
from assl_jax.strategies.network import SCRATCH, START
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings

TASKS = ["src", "jigsaw", "inpaint", "simclr", "rotation", "mcpc"]
SINGLES = dict(zip(TASKS, [68.36, 68.29, 64.49, 73.05, 70.07, 66.94], strict=True))
TWO, THREE = ("simclr", "rotation"), ("simclr", "rotation", "src")

# Table 1, each pair once.
PAIRS = {
    ("jigsaw", "rotation"): 0.1543,
    ("jigsaw", "src"): 0.1891,
    ("jigsaw", "simclr"): 0.2409,
    ("jigsaw", "inpaint"): 0.4132,
    ("jigsaw", "mcpc"): 0.4202,
    ("rotation", "src"): 0.0695,
    ("rotation", "simclr"): 0.0866,
    ("rotation", "inpaint"): 0.1524,
    ("rotation", "mcpc"): 0.1557,
    ("simclr", "src"): 0.1085,
    ("simclr", "inpaint"): 0.2373,
    ("simclr", "mcpc"): 0.2388,
    ("inpaint", "src"): 0.1852,
    ("inpaint", "mcpc"): 0.4125,
    ("src", "mcpc"): 0.2573,
}

# Table 2 from iteration 2 on: similarity, average, maximum, accuracy, and its gains over both.
TABLE_2 = {
    ("simclr",): {
        "rotation": (0.0866, 71.56, 73.05, 78.21, 6.65, 5.16),
        "src": (0.1085, 70.71, 73.05, 77.25, 6.55, 4.20),
        "inpaint": (0.2373, 68.77, 73.05, 74.08, 5.31, 1.03),
        "mcpc": (0.2388, 70.00, 73.05, 73.29, 3.30, 0.24),
        "jigsaw": (0.2409, 70.67, 73.05, 74.69, 4.02, 1.64),
    },
    TWO: {
        "src": (0.0911, 73.29, 78.21, 79.43, 6.15, 1.22),
        "inpaint": (0.1973, 71.35, 78.21, 78.16, 6.81, -0.05),
        "mcpc": (0.1985, 72.58, 78.21, 77.97, 5.40, -0.24),
        "jigsaw": (0.1986, 73.25, 78.21, 77.89, 4.64, -0.32),
    },
    THREE: {
        "inpaint": (0.2251, 71.96, 79.43, 76.01, 4.05, -3.42),
        "mcpc": (0.2283, 73.19, 79.43, 75.78, 2.60, -3.65),
        "jigsaw": (0.2284, 73.86, 79.43, 76.25, 2.39, -3.18),
    },
}


@pytest.fixture
def paper(fake_study):
    """`paper()`: a study that finds the paper's numbers."""

    def make():
        accuracies = {(): 0.6319} | {(task,): value / 100 for task, value in SINGLES.items()}
        pairs = {((a,), (b,)): s for (a, b), s in PAIRS.items()}
        for pool, rows in TABLE_2.items():
            for task, (similarity, _, _, accuracy, *_) in rows.items():
                accuracies[*pool, task] = accuracy / 100
                pairs[pool, (task,)] = similarity
        return fake_study(accuracies, pairs)

    return make


@pytest.fixture
def crafted(fake_study):
    """`crafted(...)` with words as keys: "a b" is the pool (a, b), "a b|c" its similarity to c."""

    def make(accuracies, similarities, selections=None):
        return fake_study(
            {(): 0.1} | {tuple(pool.split()): value for pool, value in accuracies.items()},
            {tuple(tuple(p.split()) for p in k.split("|")): v for k, v in similarities.items()},
            {tuple(pool.split()): value for pool, value in (selections or {}).items()},
        )

    return make


def search(study, tasks, **settings):
    """With the paper's rules, unless `settings` say otherwise."""
    settings = SearchSettings(**AS_PRINTED | settings)
    return mtassl.search(study, tasks=tuple(tasks), settings=settings)


@pytest.mark.parametrize("select_on", ["cv", "test"])
def test_the_papers_numbers_give_the_papers_pool(select_on, paper):
    study = paper()
    results = search(study, TASKS, select_on=select_on)
    assert results.best.pool == THREE
    assert results.best.evaluation.accuracy.mean == pytest.approx(0.7943)
    steps = [(i.pool, i.chosen, i.accepted) for i in results.iterations]
    assert steps == [
        (("simclr",), "rotation", True),
        (TWO, "src", True),
        (THREE, "inpaint", False),
    ]
    assert results.scratch.accuracy.mean == 0.6319
    assert {t: r.accuracy.mean for t, r in results.singles.items()} == {
        t: a / 100 for t, a in SINGLES.items()
    }
    # The six singles, three extensions, and nothing else but training from scratch.
    assert len(study.trained) == 1 + 6 + 3


def test_all_candidates_give_the_papers_table_2(paper):
    study = paper()
    results = search(study, TASKS, candidates="all")
    assert results.best.pool == THREE
    assert len(study.trained) == 1 + 6 + 5 + 4 + 3
    for iteration, (pool, rows) in zip(results.iterations, TABLE_2.items(), strict=True):
        assert iteration.pool == pool
        # Sorted by similarity, as the paper prints them.
        assert [c.task for c in iteration.candidates] == list(rows)
        for row in iteration.candidates:
            similarity, *printed = rows[row.task]
            assert row.similarity == similarity
            accuracy = row.evaluation.accuracy.mean
            found = [row.avg, row.max, accuracy, row.avg_gain, row.max_gain]
            np.testing.assert_allclose(100 * np.array(found), printed, atol=0.01)


def test_argmin_leaves_the_others_untrained_but_shows_their_similarity(paper):
    first = search(paper(), TASKS).iterations[0]
    assert [c.task for c in first.candidates] == list(TABLE_2["simclr",])
    rotation, src = first.candidates[:2]
    assert rotation.evaluation.accuracy.mean == pytest.approx(0.7821)
    assert rotation.avg_gain is not None
    assert src.evaluation is src.avg_gain is src.max_gain is None
    assert src.similarity == 0.1085 and src.avg == pytest.approx(0.70705)


def test_the_similarity_matrix_is_table_1(paper):
    similarity = search(paper(), TASKS).similarity
    matrix = np.asarray(similarity.matrix)
    assert similarity.tasks == tuple(TASKS) and similarity.n == 4096
    assert (similarity.layer, similarity.estimator) == ("pooled", "biased")
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1.0)
    for (a, b), value in PAIRS.items():
        assert matrix[TASKS.index(a), TASKS.index(b)] == value


def test_an_equal_accuracy_is_accepted(crafted):
    study = crafted({"a": 0.5, "b": 0.3, "a b": 0.5}, {"a|b": 0.2})
    results = search(study, ["a", "b"])
    assert results.best.pool == ("a", "b")
    assert [i.accepted for i in results.iterations] == [True]
    study.accuracies["a", "b"] = np.nextafter(0.5, 0)
    results = search(study, ["a", "b"])
    assert results.best.pool == ("a",) and results.best.evaluation.accuracy.mean == 0.5


def test_earlier_tasks_win_ties(crafted):
    accuracies = {"a": 0.5, "b": 0.5, "c": 0.4, "a b": 0.0}
    study = crafted(accuracies, {"a|b": 0.2, "a|c": 0.2, "b|c": 0.9})
    results = search(study, ["a", "b", "c"])
    assert results.iterations[0].pool == ("a",)
    assert results.iterations[0].chosen == "b"


def test_selection_decides_and_the_test_set_is_only_reported(crafted):
    """By cross-validation b is best and a joins it; by the test set a is best and stays alone."""
    accuracies = {"a": 0.6, "b": 0.5, "a b": 0.4, "b a": 0.3}
    selections = {"a": 0.5, "b": 0.6, "a b": 0.9, "b a": 0.7}
    study = crafted(accuracies, {"a|b": 0.2}, selections)
    by_cv = search(study, ["a", "b"], select_on="cv")
    assert by_cv.best.pool == ("b", "a")
    assert by_cv.best.evaluation.accuracy.mean == 0.3
    assert by_cv.best.evaluation.selection.mean == 0.7
    (row,) = by_cv.iterations[0].candidates
    assert row.max_gain == pytest.approx(-0.3)  # gains are of the test set either way
    by_test = search(study, ["a", "b"], select_on="test")
    assert by_test.best.pool == ("a",)
    assert [i.accepted for i in by_test.iterations] == [False]


@pytest.mark.parametrize("candidates", ["argmin", "all"])
def test_the_least_similar_decides_even_if_another_would_do_better(candidates, crafted):
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.4, "a b": 0.9, "a c": 0.2}
    study = crafted(accuracies, {"a|b": 0.3, "a|c": 0.1, "b|c": 0.2})
    results = search(study, ["a", "b", "c"], candidates=candidates)
    assert results.best.pool == ("a",)
    assert results.iterations[0].chosen == "c"
    assert (("a", "b") in study.trained) == (candidates == "all")


def test_without_cross_validation_the_test_set_decides(crafted):
    accuracies = {"a": 0.5, "b": 0.4, "a b": 0.6}
    study = crafted(accuracies, {"a|b": 0.2}, dict.fromkeys(accuracies))
    results = search(study, ["a", "b"], select_on="test")
    assert results.best.pool == ("a", "b") and results.best.evaluation.selection is None


def test_a_single_candidate(crafted):
    results = search(crafted({"a": 0.5}, {}), ["a"])
    assert results.best.pool == ("a",) and results.iterations == ()
    assert results.similarity.matrix == ((1.0,),)


def test_until_no_candidate_remains(crafted):
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.6}, {"a|b": 0.2})
    results = search(study, ["a", "b"])
    assert results.best.pool == ("a", "b") and len(results.iterations) == 1


def test_single_pool_beside_training_from_scratch(crafted):
    study = crafted({"a b": 0.6}, {})
    results = mtassl.single(study, pool=("a", "b"))
    assert results.best.pool == ("a", "b") and results.best.evaluation.accuracy.mean == 0.6
    assert results.scratch.accuracy.mean == 0.1


def test_a_pool_without_labels_is_only_pretrained(crafted):
    study, trained = crafted({}, {}), []
    study.setup.dataset.labelled_sets = ()
    study.pretraining = types.SimpleNamespace(repeats=lambda network: [network, network])
    study.pretrain_all = trained.extend
    assert mtassl.single(study, pool=("a", "b")) == Findings(pretrained=("a", "b"))
    assert [network.pool for network in trained] == [("a", "b")] * 2 and not study.trained


def test_given_weights_alone(crafted):
    study = crafted({"start": 0.7}, {})
    with pytest.raises(InputError, match="^experiment=finetune needs weights .* set init.path$"):
        mtassl.start_alone(study)
    study.baselines = (SCRATCH, START)
    found = mtassl.start_alone(study)
    assert found.best.pool == () and found.best.evaluation is found.start
    assert (found.start.accuracy.mean, found.scratch.accuracy.mean) == (0.7, 0.1)


def test_decisions_on_another_metric(crafted):
    """The tables' AUC is the opposite of their accuracy: it prefers the other task."""
    study = crafted({"a": 0.4, "b": 0.6, "a b": 0.7, "b a": 0.5}, {"a|b": 0.2})
    assert search(study, ["a", "b"], select_on="test").best.pool == ("b",)
    results = search(study, ["a", "b"], select_on="test", metric="auc")
    assert results.best.pool == ("a",) and not results.iterations[0].accepted
    (candidate,) = results.iterations[0].candidates
    assert candidate.evaluation.metrics["auc"].mean == pytest.approx(0.3)


def test_a_larger_pool_must_be_better_by_a_standard_error(crafted):
    """On the second division into folds, which chose no network."""
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.6}, {"a|b": 0.2})
    rule = {"accept": "one_standard_error"}
    study.error = 0.05
    (step,) = search(study, ["a", "b"], **rule).iterations
    assert step.accepted and step.gain == pytest.approx(0.1)
    assert (step.error, step.needed) == (0.05, 0.05)
    assert study.compared[-1] == (("a",), ("a", "b"), 1)
    study.error = 0.11
    assert search(study, ["a", "b"], **rule).best.pool == ("a",)
    assert search(study, ["a", "b"], accept="better").best.pool == ("a", "b")
    study.accuracies["a", "b"] = 0.5  # an equal one is not better
    assert search(study, ["a", "b"], accept="better").best.pool == ("a",)


def test_every_decision_has_folds_of_its_own(crafted):
    """A pool that was accepted on some folds is not compared on them again."""
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.3, "a b": 0.6, "a b c": 0.7}
    study = crafted(accuracies, {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3, "a b|c": 0.2})
    assert search(study, ["a", "b", "c"], accept="better").best.pool == ("a", "b", "c")
    assert study.compared == [
        (("b",), ("a",), 0),
        (("a",), ("a", "b"), 1),
        (("a", "b"), ("a", "b", "c"), 2),
    ]


def test_how_far_the_best_task_is_ahead(crafted):
    study = crafted(
        {"a": 0.5, "b": 0.4, "c": 0.45, "a b": 0.3}, {"a|b": 0.2, "a|c": 0.3, "b|c": 0.1}
    )
    study.error = 0.02
    lead = search(study, ["a", "b", "c"]).lead
    assert lead.second == "c" and lead.gain == pytest.approx(0.05) and lead.error == 0.02
    assert study.compared[0] == (("c",), ("a",), 0)
    assert search(study, ["a", "b"]).lead.second == "b"


def test_similarities_and_complements_have_six_digits(crafted):
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.3}, {"a|b": 1 / 3})
    study.complements = {(("a",), ("b",)): 2 / 3}
    found = search(study, ["a", "b"])
    (row,) = found.iterations[0].candidates
    assert (row.similarity, row.complement) == (0.333333, 0.666667)
    assert found.similarity.matrix == ((1.0, 0.333333), (0.333333, 1.0))


def test_teachers_alone_are_no_pool(crafted):
    accuracies = {"t": 0.6, "u": 0.5, "a": 0.4, "t a": 0.7, "t a u": 0.8}
    similarities = {"t|u": 0.1, "t|a": 0.2, "u|a": 0.3, "t a|u": 0.1}
    settings = SearchSettings(**AS_PRINTED)
    study = crafted(accuracies, similarities)
    found = mtassl.search(study, tasks=("a",), teachers=("t", "u"), settings=settings)
    assert [step.chosen for step in found.iterations] == ["a", "u"]
    assert found.best.pool == ("t", "a", "u")


def test_a_task_no_better_than_scratch_does_not_join(crafted):
    accuracies = {"a": 0.5, "b": 0.1, "c": 0.2, "a c": 0.6, "a b": 0.4}
    study = crafted(accuracies, {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3})  # scratch reaches 0.1
    results = search(study, ["a", "b", "c"], gate=True)
    assert results.left_out == ("b",) and results.best.pool == ("a", "c")
    assert ("a", "b") not in study.trained and len(results.iterations) == 1
    assert search(study, ["a", "b", "c"], candidates="all").iterations[0].chosen == "b"


def test_the_task_that_adds_most_is_tried_next(crafted):
    """An unknown complement comes last; the similarities are recorded either way."""
    accuracies = {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.2, "a c": 0.4}
    similarities = {"a|b": 0.1, "a|c": 0.2, "a|d": 0.3, "b|c": 0.4, "b|d": 0.5, "c|d": 0.6}
    study = crafted(accuracies, similarities)
    study.complements = {(("a",), ("b",)): -0.01, (("a",), ("c",)): 0.2}
    (step,) = search(study, ["a", "b", "c", "d"], next="complement").iterations
    assert step.chosen == "c" and [c.task for c in step.candidates] == ["c", "b", "d"]
    assert [c.complement for c in step.candidates] == [0.2, -0.01, None]
    assert [c.similarity for c in step.candidates] == [0.2, 0.1, 0.3]
    study.accuracies["a", "b"] = 0.4
    assert search(study, ["a", "b", "c", "d"]).iterations[0].chosen == "b"


LAST_WORD = {"accept": "better", "gate": True, "control": True}  # the rules of the defaults


@pytest.mark.parametrize("alone", [0.65, 0.7, 0.75])
def test_the_last_word_compares_all_that_is_left_on_all_folds(crafted, alone):
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.7, "a | a b": alone}, {"a|b": 0.1})
    study.error = 0.02
    found = search(study, "ab", **LAST_WORD)
    longer = alone > 0.7  # the pool comes first among equals
    assert found.best.pool == (("a",) if longer else ("a", "b"))
    assert found.best.as_long_as == (("a", "b") if longer else ())
    assert found.best.evaluation.accuracy.mean == max(0.7, alone) and not found.best.scratch
    assert found.control.pool == ("a",) and found.control.as_long_as == ("a", "b")
    assert found.control.evaluation.accuracy.mean == alone
    last = {(f.pool, f.variant): f.score for f in found.last_word.finalists}
    assert last == {
        ((), "scratch"): pytest.approx(0.1),
        (("a",), "plain"): pytest.approx(0.5),
        (("a", "b"), "plain"): pytest.approx(0.7),
        (("a",), "longer"): pytest.approx(alone),
    }
    assert found.last_word.divisions == 2
    assert [f.score for f in found.last_word.finalists] == sorted([0.1, 0.5, 0.7, alone])[::-1]
    assert {f.error for f in found.last_word.finalists} == {0.02}
    # Other processes cross-validate while this one trains, and nothing that is not compared.
    left = [(), ("a",), ("a", "b"), ("a", "|", "a", "b")]
    assert study.prepared == [(("a",), 1), *((pool, fold) for pool in left for fold in (0, 1))]


def test_the_mean_over_the_divisions_counts(crafted):
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.6, "a | a b": 0.55}, {"a|b": 0.1})
    longer = ("a", "|", "a", "b")
    study.divisions = {(("a", "b"), 0): 0.52, (longer, 0): 0.53, (longer, 1): 0.6}
    assert search(study, "ab", **LAST_WORD).best.as_long_as == ("a", "b")  # 0.565 and 0.56
    study.divisions[longer, 1] = 0.58
    assert search(study, "ab", **LAST_WORD).best.pool == ("a", "b")  # 0.555 and 0.56


@pytest.mark.parametrize("kept", ["a", "a b", "a | a b"])
def test_a_pool_that_was_not_accepted_is_left_too_and_has_a_control(crafted, kept):
    accuracies = {"a": 0.5, "b": 0.4, "a b": 0.49, "a | a b": 0.48} | {kept: 0.505}
    study = crafted(accuracies, {"a|b": 0.1})
    study.error = 0.02
    found = search(study, "ab", **LAST_WORD | {"accept": "one_standard_error"})
    assert [step.accepted for step in found.iterations] == [False]
    assert found.control.as_long_as == ("a", "b")
    assert (found.best.pool, found.best.as_long_as) == {
        "a": (("a",), ()),
        "a b": (("a", "b"), ()),
        "a | a b": (("a",), ("a", "b")),
    }[kept]


def test_the_control_is_that_of_the_accepted_pool(crafted):
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.3, "a b": 0.6, "a b c": 0.5, "a | a b": 0.55}
    study = crafted(accuracies, {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3, "a b|c": 0.2})
    found = search(study, "abc", **LAST_WORD)
    assert [step.accepted for step in found.iterations] == [True, False]
    assert found.control.as_long_as == ("a", "b") and found.best.pool == ("a", "b")
    assert found.last_word.divisions == 3 and len(found.last_word.finalists) == 5


@pytest.mark.parametrize("on", ["cv", "test"])
@pytest.mark.parametrize("scratch, start, kept", [(0.6, 0.4, "scratch"), (0.4, 0.6, "start")])
def test_what_was_not_pretrained_is_kept_where_nothing_beats_it(
    crafted, monkeypatch, scratch, start, kept, on
):
    accuracies = {"": scratch, "start": start, "a": 0.5, "b": 0.3, "a b": 0.2}
    study = crafted(accuracies, {"a|b": 0.1})
    study.baselines = (SCRATCH, START)
    monkeypatch.setattr(study, "evaluate_start", lambda: study.evaluate(START))
    found = search(study, "ab", **LAST_WORD, select_on=on)
    assert found.best.pool == () and found.best.variant == kept
    assert found.best.evaluation.accuracy.mean == 0.6
    assert found.control is None and found.last_word.divisions == (1 if on == "cv" else 0)
    assert search(study, "ab").best.pool == ("a",)  # the paper's rules look at tasks alone
    study.accuracies[("a",)] = 0.7
    assert search(study, "ab", **LAST_WORD, select_on=on).best.pool == ("a",)


@pytest.mark.parametrize("rule", [{"accept": "not_worse"}, {"select_on": "test"}])
def test_nothing_is_cross_validated_in_advance_for_rules_without_further_folds(crafted, rule):
    study = crafted({"a": 0.5, "b": 0.4, "a b": 0.6}, {"a|b": 0.1})
    assert search(study, "ab", **rule).best.pool == ("a", "b") and not study.prepared


def test_a_single_task_needs_no_control(crafted):
    study = crafted({"a": 0.5}, {})
    assert search(study, "a", control=True).control is None
    accepted = crafted({"a": 0.5, "b": 0.4, "a b": 0.7}, {"a|b": 0.1})
    found = search(accepted, "ab")
    assert found.control is found.last_word is None  # the paper's rules have none
