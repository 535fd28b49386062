"""Algorithm 1 on the paper's own numbers (Tables 1 and 2), and on crafted ones."""

import types

import numpy as np
import paper_tables
import pytest
from paper_tables import SINGLES, TABLE_1, TABLE_2, TASKS, THREE, TWO

from assl_jax.records import SCRATCH, Findings
from assl_jax.strategies import mtassl
from assl_jax.strategies.settings import AS_PRINTED, SearchSettings

ABC = {"a|b": 0.1, "a|c": 0.2, "b|c": 0.3, "a b|c": 0.2}  # similarities of three tasks
LAST_WORD = {"accept": "better", "gate": True, "control": True}  # the rules of the defaults


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
        return drive(mtassl.search(evidence, SearchSettings(**AS_PRINTED | settings)))

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
    results = search(fake({"a": 0.5}), control=True)
    assert kept(results) == "a" and results.iterations == () and results.control is None
    assert results.similarity.matrix == ((1.0,),)


def test_the_papers_rules_have_no_control_and_no_last_word(fake, search):
    found = search(fake({"a": 0.5, "b": 0.4, "a b": 0.7}, {"a|b": 0.1}))
    assert kept(found) == "a+b" and len(found.iterations) == 1
    assert found.control is found.last_word is None


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


def test_a_larger_pool_must_be_better_by_a_standard_error(fake, search):
    """On the second division into folds, which chose no network."""
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.6}, {"a|b": 0.2})
    evidence.error = 0.05
    (step,) = search(evidence, accept="one_standard_error").iterations
    assert step.accepted and step.gain == pytest.approx(0.1)
    assert (step.error, step.needed) == (0.05, 0.05)
    assert evidence.compared_gains[-1] == ("a", "a+b", 1)
    evidence.error = 0.11
    assert kept(search(evidence, accept="one_standard_error")) == "a"
    assert kept(search(evidence, accept="better")) == "a+b"
    evidence.accuracies["a+b"] = 0.5  # an equal one is not better
    assert kept(search(evidence, accept="better")) == "a"


def test_every_decision_has_folds_of_its_own(fake, search):
    """A pool that was accepted on some folds is not compared on them again."""
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.3, "a b": 0.6, "a b c": 0.7}
    evidence = fake(accuracies, ABC)
    assert kept(search(evidence, accept="better")) == "a+b+c"
    assert evidence.compared_gains == [("b", "a", 0), ("a", "a+b", 1), ("a+b", "a+b+c", 2)]


def test_how_far_the_best_task_is_ahead(fake, search):
    evidence = fake({"a": 0.5, "b": 0.4, "c": 0.45, "a b": 0.3}, ABC)
    evidence.error = 0.02
    lead = search(evidence).lead
    assert lead.second == "c" and lead.gain == pytest.approx(0.05) and lead.error == 0.02
    assert evidence.compared_gains[0] == ("c", "a", 0)
    assert search(fake({"a": 0.5})).lead is None


def test_similarities_and_complements_have_six_digits(fake, search):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.3}, {"a|b": 1 / 3})
    evidence.complements = {"a|b": 2 / 3}
    found = search(evidence, complement=True)
    (row,) = found.iterations[0].candidates
    assert (row.similarity, row.complement) == (0.333333, 0.666667)
    assert search(evidence).iterations[0].candidates[0].complement is None  # nobody asks for it
    assert found.similarity.matrix == ((1.0, 0.333333), (0.333333, 1.0))


def test_no_pool_consists_of_teachers_and_the_control_trains_a_task(fake, search):
    """The teachers are the best two, and the least similar ones."""
    accuracies = {
        **{"t": 0.5, "u": 0.4, "wise": 0.8, "old": 0.7, "u.longer": 0.6},
        **{"wise u": 0.85, "wise u old": 0.9, "wise u old t": 0.9},
    }
    alike = {"old": 0.1, "u": 0.2, "t": 0.3, "wise": 0.4}
    names, pools = list(alike), ["wise", "wise u", "wise u old"]
    pairs = {f"{a}|{b}": 0.5 for a in names for b in names}
    pairs |= {f"{pool}|{name}": alike[name] for pool in pools for name in names}
    evidence = fake(accuracies, pairs, teachers=("wise", "old"))
    findings = search(evidence, accept="better", gate=True, control=True)
    assert [(step.pool, step.chosen, step.accepted) for step in findings.iterations] == [
        (("wise",), "u", True),
        (("wise", "u"), "old", True),
        (("wise", "u", "old"), "t", False),
    ]
    assert "old+wise" not in evidence.trained
    assert findings.control.network.members == ("u",)
    assert findings.best.network.tasks == ("u",)
    assert {*findings.best.network.members} == {"wise", "u", "old"}
    # Where the tasks are left out, the search ends.
    pairs = {f"{a}|{b}": 0.5 for a in ("t", "wise", "old") for b in ("t", "wise", "old")}
    accuracies = {"scratch": 0.5, "t": 0.4, "wise": 0.8, "old": 0.7}
    evidence = fake(accuracies, pairs, teachers=("wise", "old"))
    findings = search(evidence, **LAST_WORD)
    assert kept(findings) == "wise" and not findings.iterations and not findings.control


def test_a_task_no_better_than_scratch_does_not_join(fake, search):
    accuracies = {"a": 0.5, "b": 0.1, "c": 0.2, "a c": 0.6, "a b": 0.4}
    evidence = fake(accuracies, ABC)  # scratch reaches 0.1
    results = search(evidence, gate=True)
    assert results.left_out == ("b",) and kept(results) == "a+c"
    assert "a+b" not in evidence.trained and len(results.iterations) == 1
    assert search(evidence, candidates="all").iterations[0].chosen == "b"


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


@pytest.mark.parametrize("alone", [0.65, 0.7, 0.75])
def test_the_last_word_compares_all_that_is_left_on_all_folds(fake, search, alone):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.7, "a.longer": alone}, {"a|b": 0.1})
    evidence.error = 0.02
    found = search(evidence, **LAST_WORD)
    # The pool comes first among equals.
    assert kept(found) == ("a.longer" if alone > 0.7 else "a+b")
    assert found.best.evaluation.accuracy.mean == max(0.7, alone)
    assert (found.control.network.label, found.control.as_long_as.label) == ("a.longer", "a+b")
    assert found.control.evaluation.accuracy.mean == alone
    scores = {"scratch": 0.1, "a": 0.5, "a+b": 0.7, "a.longer": alone}
    finalists = found.last_word.finalists
    assert {f.network.label: f.score for f in finalists} == pytest.approx(scores)
    assert [f.score for f in finalists] == sorted(scores.values(), reverse=True)
    assert {f.error for f in finalists} == {0.02} and found.last_word.divisions == 2
    # Nothing is cross-validated that is not compared.
    assert evidence.prepared == [
        *(("a", 1), ("a+b", 1)),
        *((label, fold) for label in scores for fold in (0, 1)),
    ]


def test_the_mean_over_the_divisions_counts(fake, search):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.6, "a.longer": 0.55}, {"a|b": 0.1})
    evidence.divisions = {("a+b", 0): 0.52, ("a.longer", 0): 0.53, ("a.longer", 1): 0.6}
    assert kept(search(evidence, **LAST_WORD)) == "a.longer"  # 0.565 and 0.56
    evidence.divisions["a.longer", 1] = 0.58
    assert kept(search(evidence, **LAST_WORD)) == "a+b"  # 0.555 and 0.56


@pytest.mark.parametrize("best", ["a", "a b", "a.longer"])
def test_a_pool_that_was_not_accepted_is_left_too_and_has_a_control(fake, search, best):
    accuracies = {"a": 0.5, "b": 0.4, "a b": 0.49, "a.longer": 0.48} | {best: 0.505}
    evidence = fake(accuracies, {"a|b": 0.1})
    evidence.error = 0.02
    found = search(evidence, **LAST_WORD | {"accept": "one_standard_error"})
    assert [step.accepted for step in found.iterations] == [False]
    assert found.control.as_long_as.label == "a+b" and kept(found) == best.replace(" ", "+")


def test_the_control_is_that_of_the_accepted_pool(fake, search):
    accuracies = {"a": 0.5, "b": 0.4, "c": 0.3, "a b": 0.6, "a b c": 0.5, "a.longer": 0.55}
    found = search(fake(accuracies, ABC), **LAST_WORD)
    assert [step.accepted for step in found.iterations] == [True, False]
    assert found.control.as_long_as.label == "a+b" and kept(found) == "a+b"
    assert found.last_word.divisions == 3 and len(found.last_word.finalists) == 5


@pytest.mark.parametrize("on", ["cv", "test"])
@pytest.mark.parametrize("scratch, start, best", [(0.6, 0.4, "scratch"), (0.4, 0.6, "start")])
def test_what_was_not_pretrained_is_kept_where_nothing_beats_it(
    fake, search, scratch, start, best, on
):
    accuracies = {"scratch": scratch, "start": start, "a": 0.5, "b": 0.3, "a b": 0.2}
    evidence = fake(accuracies | {"a.longer": 0.1}, {"a|b": 0.1}, start=True)
    found = search(evidence, **LAST_WORD, select_on=on)
    assert kept(found) == best and (found.best.network == SCRATCH) == (best == "scratch")
    assert found.best.evaluation.accuracy.mean == 0.6
    assert found.control is None and found.last_word.divisions == (1 if on == "cv" else 0)
    assert kept(search(evidence)) == "a"  # the paper's rules look at tasks alone
    evidence.accuracies["a"] = 0.7
    assert kept(search(evidence, **LAST_WORD, select_on=on)) == "a"


@pytest.mark.parametrize("rule", [{"accept": "not_worse"}, {"select_on": "test"}])
def test_rules_without_further_folds_ask_for_none(fake, search, rule):
    evidence = fake({"a": 0.5, "b": 0.4, "a b": 0.6}, {"a|b": 0.1})
    assert kept(search(evidence, **rule)) == "a+b" and not evidence.prepared
