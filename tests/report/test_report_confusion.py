"""Confusion matrices: whose they are, how rows are shaded, and when they are left out."""

import xml.etree.ElementTree as ET

import numpy as np

from assl_jax.report import confusion

BEST = {"pool": ["cpc", "src"], "confusion": [[9.0, 1.0], [2.5, 7.5]]}
SCRATCH = {"confusion": [[6.0, 4.0], [500.4, 5.0]]}
RESULTS = {"best": BEST, "scratch": SCRATCH, "classes": ["$x_", "<b>"]}


def words(svg):
    """The text of a chart, which Matplotlib keeps in comments beside the outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    nodes = ET.fromstring(svg, parser).iter(ET.Comment)
    return [node.text.strip() for node in nodes]


def test_the_best_pool_stands_before_scratch_with_its_counts():
    text = words(confusion.confusion_chart(RESULTS))
    assert [t for t in text if t in ("CPC + SRC", "From scratch")] == ["CPC + SRC", "From scratch"]
    assert [t for t in text if t.replace(".", "").isdigit()] == [
        *("9", "1", "2.5", "7.5"),
        *("6", "4", "500", "5"),
    ]
    assert text.count("$x_") == 4 and text.count("predicted class") == 2
    assert text.count("true class") == 1
    assert confusion.confusion_chart(RESULTS) == confusion.confusion_chart(RESULTS)


def test_shares_of_a_class_and_a_class_that_was_not_tested():
    shares = confusion.shares(np.array([[9.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(shares, [[0.9, 0.1, 0], [0, 0, 0], [0.25, 0.25, 0.5]])


def test_left_out_where_there_is_nothing_or_no_room():
    assert confusion.confusion_chart({}) == ""
    assert confusion.confusion_chart({"best": {"pool": ["src"], "confusion": None}}) == ""
    for k, some in [(1, False), (2, True), (20, True), (21, False)]:
        found = confusion.confusions({"scratch": {"confusion": np.eye(k).tolist()}})
        assert list(found) == (["From scratch"] if some else [])


def test_class_names():
    assert confusion.class_names(RESULTS, 2) == ["$x_", "<b>"]
    assert confusion.class_names(RESULTS, 3) == ["0", "1", "2"]
    long = [f"intracranial haemorrhage {i}" for i in (1, 2)]
    text = words(confusion.confusion_chart(RESULTS | {"classes": long}))
    assert text.count("intracrani…orrhage 1") == text.count("intracrani…orrhage 2") == 4
