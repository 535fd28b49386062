"""The grid of pictures: what each pixel is, and well-formed escaped HTML."""

import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from reported import decoded, evaluation
from searched import JOINED, SIMCLR, STUDENT, on, searched

from assl_jax import finishing
from assl_jax.evaluation.gradcam import Attention, Looked
from assl_jax.records import SCRATCH, Best
from assl_jax.report.attention import gradcam_page, overlay, relief

EVIL = '<b>"&'


def attention(*space, c=1, networks=2):
    rng = np.random.default_rng(0)
    looked = [
        Looked(
            f"Rotation{', Self-ASSL' * i}",
            (2, 3),
            ["dog (93 %)", EVIL],
            rng.random((2, *space)),
            rng.normal(size=(2, *space, c)),
        )
        for i in range(networks)
    ]
    return Attention(rng.random((2, *space, c)), [EVIL, "cat"], looked)


def tree(html):
    """The table of pictures as a tree."""
    table = html[html.index("<table") : html.index("</table>")] + "</table>"
    return ET.fromstring(re.sub("(<img [^>]*)>", r"\1/>", table))


@pytest.mark.parametrize("c", [1, 3])
def test_rows_and_columns(c):
    shown = attention(5, 4, c=c)
    root = tree(gradcam_page("Grad-CAM", shown))
    title = "Rotation, Self-ASSL"
    assert [th.text for th in root.findall(".//th")] == [
        *("Image", "Rotation: Grad-CAM 2x3", "Rotation: Guided"),
        *(f"{title}: Grad-CAM 2x3", f"{title}: Guided"),
    ]
    first, second = root.findall("tbody/tr")
    captions = [[caption.text for caption in row.iter("figcaption")] for row in (first, second)]
    assert captions == [[EVIL, "dog (93 %)", "dog (93 %)"], ["cat", EVIL, EVIL]]
    images = second.findall(".//img")
    assert len(images) == 5 and all(image.get("alt") for image in images)
    pictures = [decoded(image.get("src")) for image in images]
    assert pictures[0].reshape(5, 4, c).shape == (5, 4, c)
    colour = overlay(shown.originals[1], shown.networks[1].cams[1])
    np.testing.assert_allclose(pictures[3] / 255, colour, rtol=0, atol=0.003)
    levels = relief(shown.networks[1].guided[1])
    np.testing.assert_allclose(pictures[4].reshape(5, 4, c) / 255, levels, rtol=0, atol=0.003)


def test_a_page_of_its_own():
    page = gradcam_page(f"Grad-CAM: {EVIL}", attention(5, 4, networks=1))
    assert page.startswith("<!doctype html>")
    assert page.count("Grad-CAM: &lt;b&gt;&#34;&amp;") == 2  # the title and the headline
    assert "<b>" not in page and "http" not in page
    # Many networks scroll inside the page.
    assert re.search(r'role="region" aria-label="[^"]+" tabindex="0"><table class="pictures"', page)


def test_volumes_are_three_slices():
    html = gradcam_page("Grad-CAM", attention(4, 8, 8))
    assert "sagittal" in html and "sagittal" not in gradcam_page("Grad-CAM", attention(4, 8))
    for image in tree(html).findall(".//img"):
        assert decoded(image.get("src")).shape[:2] == (8 + 1 + 4 + 1 + 4, 8)


@pytest.mark.parametrize("c", [1, 3])
def test_the_overlay_leaves_the_image_where_the_network_does_not_look(c):
    image = np.linspace(0, 1, 2 * 2 * c).reshape(2, 2, c)
    cam = np.array([[0.0, 0.0], [0.5, 1.0]])
    shown = overlay(image, cam)
    assert shown.shape == (2, 2, 3)
    np.testing.assert_allclose(shown[0], image[0].mean(-1, keepdims=True).repeat(3, -1))
    yellow = np.array(matplotlib.colormaps["inferno"](1.0)[:3])
    np.testing.assert_allclose(shown[1, 1], 0.4 * image[1, 1].mean() + 0.6 * yellow)


def test_the_relief_is_centred_at_grey():
    values = np.array([-2.0, 0.0, *[1.0] * 398]).reshape(400, 1, 1)
    # One value in a hundred may be beyond the ends, here -2.
    np.testing.assert_allclose(relief(values).ravel()[:3], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(relief(1e-20 * values).ravel()[:3], [0.0, 0.5, 1.0])
    few = np.zeros((400, 1, 1))
    few[:3, 0, 0] = [-2.0, 1.0, 0.5]
    np.testing.assert_allclose(relief(few).ravel()[:4], [0.0, 0.75, 0.625, 0.5])
    np.testing.assert_array_equal(relief(0 * values), np.full((400, 1, 1), 0.5))


def test_grad_cam_shows_what_is_kept_beside_what_it_came_from():
    found = searched()
    for kept, before in ((STUDENT, [JOINED]), (on(SIMCLR), [SIMCLR]), (SIMCLR, []), (SCRATCH, [])):
        best = Best(network=kept, evaluation=evaluation(70))
        labels = finishing._explained(found.replace(best=best))
        assert {*labels} == {each.label for each in (SCRATCH, kept, *before)}
