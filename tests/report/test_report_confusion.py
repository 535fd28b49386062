"""Confusion matrices: their networks, how rows are shaded, and when they are left out."""

import numpy as np
import pytest

from assl_jax.records import Best
from assl_jax.report import metrics


@pytest.fixture(scope="module")
def tested(evaluation, results):
    best = evaluation(80, confusion=((9.0, 1.0), (2.5, 7.5)))
    return results(
        best=Best(pool=("cpc", "src"), evaluation=best),
        scratch=evaluation(60, confusion=((6.0, 4.0), (500.4, 5.0))),
        classes=("$x_", "<b>"),
    )


def test_the_best_pool_stands_before_scratch_with_its_counts(tested, words):
    chart = metrics.confusion_chart(tested)
    text = words(chart)
    assert [t for t in text if t in ("CPC + SRC", "From scratch")] == ["CPC + SRC", "From scratch"]
    assert [t for t in text if t.replace(".", "").isdigit()] == [
        *("9", "1", "2.5", "7.5"),
        *("6", "4", "500", "5"),
    ]
    assert text.count("$x_") == text.count("&lt;b&gt;") == 4 and text.count("predicted class") == 2
    assert text.count("true class") == 1


def test_shares_of_a_class_and_a_class_that_was_not_tested():
    shares = metrics.row_shares(np.array([[9.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(shares, [[0.9, 0.1, 0], [0, 0, 0], [0.25, 0.25, 0.5]])


@pytest.mark.parametrize(("k", "shown"), [(1, False), (2, True), (20, True), (21, False)])
def test_left_out_without_room(k, shown, evaluation, results):
    scratch = evaluation(50, confusion=tuple(map(tuple, np.eye(k).tolist())))
    found = metrics.confusions(results(scratch=scratch, classes=tuple(map(str, range(k)))))
    assert list(found) == (["From scratch"] if shown else [])


def test_left_out_without_tests(results):
    assert metrics.confusion_chart(results()) == ""


def test_long_class_names_lose_their_middle(tested, words):
    long = tuple(f"intracranial haemorrhage {i}" for i in (1, 2))
    text = words(metrics.confusion_chart(tested.replace(classes=long)))
    assert text.count("intracrani…orrhage 1") == text.count("intracrani…orrhage 2") == 4
