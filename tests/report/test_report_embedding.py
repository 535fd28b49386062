"""The map of the features and the nearest neighbours in the report."""

import numpy as np
import pytest
from networks import network_of
from reported import evaluation, page_of, results, words

from assl_jax.evaluation.embedding import Embedding
from assl_jax.records import Best
from assl_jax.report.embedding import COLOURS, MARKERS, MOST, embedding_chart

CLASSES = ("cat", "dog", "<b>")


def embedding(*, space=(4, 4), m=2, classes=3):
    """30 points, and two images with m neighbours each."""
    points = np.random.default_rng(0).normal(size=(30, 2))
    images = np.linspace(0, 1, 2 * (1 + m) * np.prod(space)).reshape(2, 1 + m, *space, 1)
    named = np.resize([0, 0, 1], (2, 1 + m))
    return Embedding(points, np.arange(30) % classes, images, named)


def test_the_map_names_the_classes_and_is_the_same_each_time():
    chart = embedding_chart(embedding(), CLASSES)
    assert chart == embedding_chart(embedding(), CLASSES)
    assert words(chart) == ["cat", "dog", "&lt;b&gt;"]
    assert all(colour in chart for colour in COLOURS[:3]) and COLOURS[3] not in chart


def test_many_classes_look_different_and_the_rarest_are_grey():
    pairs = {(COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for k in range(MOST)}
    assert len(pairs) == MOST
    names = [f"class {k}" for k in range(MOST + 2)]
    told = words(embedding_chart(embedding(classes=MOST + 2), names))
    assert told[0] == "other classes" and len(told) == MOST + 1


@pytest.mark.parametrize("space", [(4, 4), (2, 4, 4)])
def test_the_section(space):
    best = Best(network=network_of("simclr"), evaluation=evaluation(70))
    found = results(classes=CLASSES, best=best, test_images=30, patients=10)
    html = page_of(found, embedding=embedding(space=space))
    assert "of SimCLR: 30 of 30 test images of 10 patients." in html
    assert html.count('alt="Image: cat"') == 2 and "<h3>Nearest neighbours</h3>" in html
    assert html.count('alt="Neighbour 2: dog"') == 2
    assert "Images of the same patient are left out." in html
    assert ("three middle slices" in html) == (len(space) == 3)
    assert html.count('class="other"') == 2  # dogs beside cats
    without = page_of(found.replace(patients=None))
    assert "Nearest neighbours" not in without and "finds similar" not in without
    alone = page_of(found, embedding=embedding(space=space, m=0))
    assert "finds similar" in alone and "Nearest neighbours" not in alone


def test_tables_of_networks_can_be_sorted():
    html = page_of(results(scratch=evaluation(60), singles={"simclr": evaluation(70)}))
    assert html.count('<table class="sortable">') == 2  # accuracies and metrics
    assert html.count("aria-sort") and "<button" not in html  # made by the script alone
