"""Class names in any script: drawn by a font that has their letters, or numbered."""

import pytest
from networks import network_of
from reported import evaluation, page_of, results, words

from assl_jax.records import Best
from assl_jax.report import glyphs
from assl_jax.report.metrics import confusion_chart

CHINESE, ARABIC = ("肿瘤", "正常"), ("ورم", "سليم")


@pytest.fixture
def no_other_fonts(monkeypatch):
    """A machine that has matplotlib's own fonts alone."""
    from matplotlib.font_manager import fontManager

    own = [font for font in fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    glyphs._family.cache_clear()
    yield
    glyphs._family.cache_clear()


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("cat", "Käse"), ["cat", "Käse"]),
        (("Ka\u0308se",), ["Käse"]),  # one Unicode form
        (("опухоль", "όγκος"), ["опухоль", "όγκος"]),
        (("cat", *CHINESE), ["1", "2", "3"]),
        (ARABIC, ["1", "2"]),  # the font has the letters, but not from right to left
        (("हिन्दी",), ["1"]),
        (("bell\a",), ["1"]),
    ],
)
def test_names_that_cannot_be_drawn_are_numbers(names, shown, no_other_fonts):
    assert glyphs.in_chart(names) == shown
    numbered = shown[0] == "1"
    assert bool(glyphs.note(names)) == numbered
    if numbered:
        assert glyphs.note(names).startswith(f"Classes: 1 = {names[0]}")


def test_a_font_that_has_the_glyphs_is_used(monkeypatch, no_other_fonts):
    """cmsy10 has no letters of the kind; the first font with all of them is taken."""
    monkeypatch.setattr(glyphs, "_missing", lambda text: frozenset(text) & {"ψ"})
    assert glyphs.in_chart(["ψ"]) == ["ψ"]
    assert glyphs.fonts("ψ")[0] == glyphs.FONT and len(glyphs.fonts("ψ")) == 2
    assert glyphs.fonts("a") == [glyphs.FONT]


@pytest.mark.parametrize("names", [CHINESE, ARABIC])
def test_the_page_explains_the_numbers(names, no_other_fonts):
    tested = evaluation(70, confusion=((5.0, 1.0), (2.0, 4.0)))
    best = Best(network=network_of("simclr"), evaluation=tested)
    found = results(classes=names, best=best, scratch=tested)
    texts = words(confusion_chart(found))  # a missing glyph would warn: an error in the tests
    assert texts.count("1") >= 4 and not set(names) & set(texts)
    html = page_of(found)
    assert f"Classes: 1 = {names[0]}, 2 = {names[1]}." in html
    plain = page_of(found.replace(classes=("a", "b")))
    assert "Classes: 1" not in plain
