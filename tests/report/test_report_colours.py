"""Charts in the colours of the page, light and dark."""

import pytest

from assl_jax.report import colours, svg
from assl_jax.report.embedding import COLOURS
from assl_jax.tasks import TASKS

DARK = colours.THEME["paper"].dark


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


def test_heat_maps_let_the_page_shine_through():
    shades = svg.shades()
    assert shades(0.0)[3] == 0 and shades(1.0)[3] == 1
    assert colours.contrast(colours.SHADE, colours.ON_SHADE) >= 4.5
