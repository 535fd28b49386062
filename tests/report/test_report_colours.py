"""Charts in the colours of the page, light and dark."""

import re

import pytest

from assl_jax.report import colours, overview, similarity, stages, svg
from assl_jax.report.embedding import COLOURS
from assl_jax.report.metrics import confusion_chart
from assl_jax.report.pairs_chart import pairs_chart
from assl_jax.report.self_assl_chart import self_assl_chart
from assl_jax.tasks import TASKS

DARK = colours.THEME["paper"].dark
DRAWN = re.compile(r"\b(?:fill|stroke): ([^;\"]+)")


@pytest.fixture(scope="module")
def charts(evaluation, similarity_of, results, stage, pairs_results, table4_results):
    tested = evaluation(75, confusion=((3.0, 1.0), (0.0, 4.0)))
    search = results(
        scratch=tested, singles={name: evaluation(50, runs=(49, 51)) for name in TASKS}
    )
    similar = similarity_of(("src", "byol"), ((1.0, 0.2), (0.2, 1.0)))
    return [
        overview.accuracy_chart(search),
        similarity.similarity_heatmap(similar),
        stages.time_chart([stage(name) for name in TASKS]),
        confusion_chart(search),
        pairs_chart(pairs_results),
        self_assl_chart(table4_results),
    ]


def test_contrast():
    assert colours.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colours.contrast("#ffffff", "#ffffff") == 1
    # WCAG's own example of the least that passes for text: 4.48 fails, 4.54 passes.
    assert colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert colours.contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("colour", [*(task.colour.lower() for task in TASKS.values()), *COLOURS])
def test_the_dark_page_hides_no_line(colour):
    dark = colours.on_dark(colour)
    assert colours.contrast(dark, DARK) >= 3
    if colour not in (each.light for each in colours.THEME.values()):
        seen = colours.contrast(colour, DARK) >= 3
        assert (dark == colour) == seen  # visible ones keep their colour


def test_a_chart_follows_the_page():
    chart = '<svg><defs/><defs>\n</defs><path style="fill: #1d1d1f; stroke: #e69f00"/></svg>'
    followed = colours.follow(chart)
    assert 'style="fill: var(--c1d1d1f, #1d1d1f); stroke: #e69f00"' in followed
    assert (
        followed.count("@media (prefers-color-scheme: dark) { :root { --c1d1d1f: #e8eaed; }") == 1
    )


def test_no_chart_has_a_white_part_on_a_dark_page(charts):
    for chart in charts:
        dark = dict(re.findall(r"--c([0-9a-f]{6}): (#[0-9a-f]{6});", chart))
        drawn = {each.strip() for each in DRAWN.findall(chart)} - {"none"}
        assert drawn
        for each in drawn:
            found = re.fullmatch(r"var\(--c([0-9a-f]{6}), #\1\)|(#[0-9a-f]{6})", each)
            assert found, each
            shown = dark[found[1]] if found[1] else found[2]
            assert shown != "#ffffff" and (not found[1] or shown != f"#{found[1]}")


def test_a_figure_has_no_background(charts):
    for chart in charts:
        background = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', chart)
        assert background[1] == "fill: none"


def test_heat_maps_let_the_page_shine_through():
    shades = svg.shades()
    assert shades(0.0)[3] == 0 and shades(1.0)[3] == 1
    assert colours.contrast(colours.SHADE, colours.ON_SHADE) >= 4.5
