"""Algorithm 1 on the paper's own numbers (Tables 1 and 2), and on crafted ones."""

import types

import numpy as np
import paper_tables
import pytest
from paper_tables import SINGLES, TABLE_1, TABLE_2, TASKS, THREE, TWO

from assl_jax.records import Findings
from assl_jax.strategies import mtassl
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings

ABC = {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3, "a b|c": 0.2}  # similarities of three tasks


@pytest.fixture
def paper(fake):
    """`paper()`: evidence of the paper's numbers."""

    def make():
        accuracies = paper_tables.accuracies()
        pairs = {f"{a}|{b}": similarity for (a, b), (similarity, _) in TABLE_1.items()}
        for pool, rows in TABLE_2.items():
            for task, (similarity, _, _, accuracy, *_) in rows.items():
                accuracies[" ".join((*pool, task))] = accuracy / 100
                pairs[f"{' '.join(pool)}|{task}"] = similarity
        return fake(accuracies, pairs)

    return make


@pytest.fixture
def search(drive):
    """`search(evidence, **settings)`: with the paper's rules, unless `settings` say otherwise."""

    def run(evidence, **settings):
        rules = AS_PRINTED | {"as_printed": True} | settings
        return drive(mtassl.search(evidence, SearchSettings(**rules)))

    return run


def kept(found):
    return found.best.network.label


@pytest.mark.parametrize("select_on", ["cv", "test"])
def test_the_papers_numbers_give_the_papers_pool(select_on, paper, search):
    evidence = paper()
    results = search(evidence, select_on=select_on)
    assert kept(results) == "rotation+simclr+src"
    assert results.best.evaluation.accuracy.mean == pytest.approx(0.7943)
    assert [(i.pool, i.chosen, i.accepted) for i in results.iterations] == [
        (("simclr",), "rotation", True),
        (TWO, "src", True),
        (THREE, "inpaint", False),
    ]
    assert results.scratch.accuracy.mean == 0.6319
    assert {t: r.accuracy.mean for t, r in results.singles.items()} == {
        t: a / 100 for t, a in SINGLES.items()
    }
    # The six singles, three extensions, and nothing else but training from scratch.
    assert len(evidence.trained) == 1 + 6 + 3


def test_all_candidates_give_the_papers_table_2(paper, search):
    evidence = paper()
    results = search(evidence, candidates="all")
    assert kept(results) == "rotation+simclr+src"
    assert len(evidence.trained) == 1 + 6 + 5 + 4 + 3
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


def test_argmin_leaves_the_others_untrained_but_shows_their_similarity(paper, search):
    results = search(paper())
    first = results.iterations[0]
    assert [c.task for c in first.candidates] == list(TABLE_2["simclr",])
    rotation, src = first.candidates[:2]
    assert rotation.evaluation.accuracy.mean == pytest.approx(0.7821)
    assert rotation.avg_gain is not None
    assert src.evaluation is src.avg_gain is src.max_gain is None
    assert src.similarity == 0.1085 and src.avg == pytest.approx(0.70705)
    # The matrix of the single tasks is Table 1.
    similarity, matrix = results.similarity, np.asarray(results.similarity.matrix)
    assert similarity.tasks == tuple(TASKS) and similarity.n == 4096
    assert (similarity.layer, similarity.estimator) == ("pooled", "biased")
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1.0)
    for (a, b), (value, _) in TABLE_1.items():
        assert matrix[TASKS.index(a), TASKS.index(b)] == value


def test_an_equal_accuracy_is_accepted(fake, search):
    evidence = fake({"a": 0.5, "b": 0.3, "a b": 0.5}, {"a|b": 0.2})
    results = search(evidence)
    assert kept(results) == "a+b" and [i.accepted for i in results.iterations] == [True]
    evidence.accuracies["a+b"] = np.nextafter(0.5, 0)
    results = search(evidence)
    assert kept(results) == "a" and results.best.evaluation.accuracy.mean == 0.5


def test_earlier_tasks_win_ties(fake, search):
    accuracies = {"a": 0.5, "b": 0.5, "c": 0.4, "a b": 0.0}
    results = search(fake(accuracies, ABC | {"a|c": 0.1}))
    assert (results.iterations[0].pool, results.iterations[0].chosen) == (("a",), "b")


def test_selection_decides_and_the_test_set_is_only_reported(fake, search):
    """By cross-validation b is best and a joins it; by the test set a is best and stays alone."""
    accuracies, selections = {"a": 0.6, "b": 0.5, "a b": 0.3}, {"a": 0.5, "b": 0.6, "a b": 0.7}
    evidence = fake(accuracies, {"a|b": 0.2}, selections)
    by_cv = search(evidence, select_on="cv")
    assert (by_cv.iterations[0].pool, kept(by_cv)) == (("b",), "a+b")
    assert by_cv.best.evaluation.accuracy.mean == 0.3
    assert by_cv.best.evaluation.selection.mean == 0.7
    (row,) = by_cv.iterations[0].candidates
    assert row.max_gain == pytest.approx(-0.3)  # gains are of the test set either way
    by_test = search(evidence, select_on="test")
    assert kept(by_test) == "a" and [i.accepted for i in by_test.iterations] == [False]


@pytest.mark.parametrize("candidates", ["argmin", "all"])
def test_the_least_similar_decides_even_if_another_would_do_better(candidates, fake, search):
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.4, "a b": 0.9, "a c": 0.2}
    evidence = fake(accuracies, {"a|b": 0.3, "a|c": 0.1, "b|c": 0.2})
    results = search(evidence, candidates=candidates)
    assert kept(results) == "a" and results.iterations[0].chosen == "c"
    assert ("a+b" in evidence.trained) == (candidates == "all")


def test_without_cross_validation_the_test_set_decides(fake, search):
    accuracies = {"a": 0.5, "b": 0.4, "a b": 0.6}
    results = search(fake(accuracies, {"a|b": 0.2}, dict.fromkeys(accuracies)), select_on="test")
    assert kept(results) == "a+b" and results.best.evaluation.selection is None


def test_a_single_task(fake, search):
    results = search(fake({"a": 0.5}))
    assert kept(results) == "a" and results.iterations == () and results.search is None
    assert results.similarity.matrix == ((1.0,),)


def test_one_network_beside_the_baselines(fake, drive):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.6, "start": 0.7}, start=True)
    pool = evidence.study.pool(("a", "b"))
    results = drive(mtassl.single(evidence, pool))
    assert results.best.network == pool and results.best.evaluation.accuracy.mean == 0.6
    assert (results.scratch.accuracy.mean, results.start.accuracy.mean) == (0.1, 0.7)
    alone = drive(mtassl.single(evidence, evidence.study.initial))
    assert kept(alone) == "start" and alone.best.evaluation == alone.start


def test_a_pool_without_labels_is_only_pretrained(fake, monkeypatch):
    evidence = fake({"a": 0.5, "b": 0.4})
    evidence.study.dataset.labelled_sets = ()
    pool = evidence.study.pool(("a", "b"))
    spec = types.SimpleNamespace(spec=lambda study, network: network)
    monkeypatch.setattr(mtassl, "pretraining", spec)
    plan = mtassl.single(evidence, pool)
    assert next(plan) == [pool]
    with pytest.raises(StopIteration) as end:
        next(plan)
    assert end.value.value == Findings(pretrained=pool) and not evidence.trained


def test_decisions_on_another_metric(fake, search):
    """The tables' AUC is the opposite of their accuracy: it prefers the other task."""
    evidence = fake({"a": 0.4, "b": 0.6, "a b": 0.7}, {"a|b": 0.2})
    assert search(evidence, select_on="test").iterations[0].pool == ("b",)
    results = search(evidence, select_on="test", metric="auc")
    assert kept(results) == "a" and not results.iterations[0].accepted
    (candidate,) = results.iterations[0].candidates
    assert candidate.evaluation.metrics["auc"].mean == pytest.approx(0.3)


def test_similarities_and_complements_have_six_digits(fake, search):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.3}, {"a|b": 1 / 3})
    evidence.complements = {"a|b": 2 / 3}
    found = search(evidence, complement=True)
    (row,) = found.iterations[0].candidates
    assert (row.similarity, row.complement) == (0.333333, 0.666667)
    assert search(evidence).iterations[0].candidates[0].complement is None  # nobody asks for it
    assert found.similarity.matrix == ((1.0, 0.333333), (0.333333, 1.0))


def test_the_task_that_adds_most_is_tried_next(fake, search):
    """An unknown complement comes last; the similarities are recorded either way."""
    accuracies = {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.2, "a c": 0.4, "a b": 0.4}
    similarities = {"a|b": 0.1, "a|c": 0.2, "a|d": 0.3, "b|c": 0.4, "b|d": 0.5, "c|d": 0.6}
    evidence = fake(accuracies, similarities)
    evidence.complements = {"a|b": -0.01, "a|c": 0.2}
    (step,) = search(evidence, next="complement").iterations
    assert step.chosen == "c" and [c.task for c in step.candidates] == ["c", "b", "d"]
    assert [c.complement for c in step.candidates] == [0.2, -0.01, None]
    assert [c.similarity for c in step.candidates] == [0.2, 0.1, 0.3]
    assert search(evidence).iterations[0].chosen == "b"
