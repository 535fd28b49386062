"""The three renderers show every kind of part, and only those that are meant for them."""

import pytest

from assl_jax import sections
from assl_jax.report.html import to_html
from assl_jax.report.markdown import to_markdown
from assl_jax.report.terminal import to_lines
from assl_jax.sections import Cell, Folded, Listing, Row, Section, Shown, Table, Text

EVERYWHERE = Shown.EVERYWHERE
TABLE = Table("A *caption*", ("Name", "Value"), (Row((Cell("a"), Cell("1.5", True))),))
PARTS = {
    "a heading": sections.Heading("a heading"),
    "a sentence": Text(("a sentence",), shown=EVERYWHERE),
    "first step": Listing(("first step", "second step"), ordered=True, shown=EVERYWHERE),
    "a fact": sections.Facts({"a fact": 3}),
    "a command": sections.Command("a command  --x", shown=Shown.FILES),
    "a chart": sections.Figure(lambda: "<svg/>", "a chart", notes=("below",)),
    "a picture": sections.Pictures(((sections.Picture("", "a picture"),),), ("Image",), "Images"),
    "1.5": TABLE.at(EVERYWHERE),
    "a file": Folded((Listing(("a file",), shown=Shown.FILES),), "Files", shown=Shown.FILES),
}


@pytest.fixture(scope="module")
def report():
    return sections.Report("Title", (Section.of("Parts", *PARTS.values()),), "Under", ("Caution",))


def shown_in(medium):
    return {words for words, part in PARTS.items() if medium in part.shown}


@pytest.mark.parametrize(
    ("medium", "render"),
    [
        (Shown.PAGE, to_html),
        (Shown.MARKDOWN, to_markdown),
        (Shown.TERMINAL, lambda report: "\n".join(to_lines(report))),
    ],
)
def test_what_is_shown_where(report, medium, render):
    text = render(report)
    assert text.index("Title") < text.index("Caution") < text.index("a sentence")
    assert {words for words in PARTS if words in text} == shown_in(medium)


def test_markdown_to_the_letter(report):
    assert to_markdown(report) == (
        "# Title\n\n> **Caution**\n\n## Parts\n\na sentence\n\n1. first step\n2. second step\n\n"
        "    a command --x\n\nA \\*caption\\*\n\n"
        "| Name | Value |\n| --- | ---: |\n| a | **1.5** |\n\n- a file\n"
    )


def test_the_terminal_to_the_letter(report):
    assert to_lines(report) == [
        *("Title", "Caution", "", "a sentence", "", "first step", "second step", ""),
        *("Name  Value", "----  -----", "a       1.5"),
    ]


def test_what_is_empty_is_left_out():
    empty = Text(()), Listing(()), Folded((), "Files"), sections.Facts({}), sections.Command("")
    nothing = Table("caption", ("Name",), ())
    assert Section.of("Parts", *empty, nothing, None).parts == ()
    undrawn = sections.Figure(lambda: "", "a chart", title="above", notes=("below",))
    hidden = Section.of("Charts", undrawn, Folded((undrawn,), "More"))
    page = to_html(sections.Report("Title", (hidden,)))
    assert "Charts" not in page and "More" not in page and "below" not in page


def test_a_terminal_is_not_asked_for_pictures():
    part = PARTS["a picture"].at(Shown.TERMINAL)
    with pytest.raises(TypeError, match="Pictures"):
        to_lines(sections.Report("Title", (Section.of("Parts", part),)))
