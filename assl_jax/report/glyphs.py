"""Names in charts: a font that has their glyphs, or numbers."""

import functools
import unicodedata
from collections.abc import Sequence

from assl_jax.words import say

LETTERS = 20  # of a name
FONT = "DejaVu Sans"  # ships with matplotlib
# Charts place letters one by one, from left to right. These need more than that: letters from right
# to left, and marks that join the letter before them.
BOXES = "Last Resort"  # a family that has an empty box for every character
RIGHT_TO_LEFT, MARKS = {"R", "AL"}, {"Mn", "Mc", "Me"}


def in_chart(names: Sequence[str]) -> list[str]:
    """The names as a chart can show them: in one Unicode form, or all of them as numbers from 1."""
    composed = [unicodedata.normalize("NFC", name) for name in names]
    if all(map(_drawable, composed)):
        return composed
    return [str(i) for i in range(1, len(names) + 1)]


def note(names: Sequence[str]) -> str:
    """What the numbers of `in_chart` mean; "" if it shows the names themselves."""
    if in_chart(names) == [unicodedata.normalize("NFC", name) for name in names]:
        return ""
    return say("classes", key=", ".join(f"{i} = {name}" for i, name in enumerate(names, start=1)))


def short_name(name: str) -> str:
    """A long name without its middle: names often differ at their ends."""
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[1 - half :]}"


def fonts(text: str) -> list[str]:
    """Families in which all characters of `text` are found, `FONT` first."""
    missing = _missing(text)
    return [FONT, *(_family(missing) or ())]


def _drawable(text: str) -> bool:
    if not text.isprintable() or any(
        unicodedata.bidirectional(c) in RIGHT_TO_LEFT or unicodedata.category(c) in MARKS
        for c in text
    ):
        return False
    return _family(_missing(text)) is not None


def _missing(text: str) -> frozenset[str]:
    """The characters that `FONT` lacks."""
    from matplotlib.font_manager import findfont

    return frozenset(set(text) - set("\n") - _characters(findfont(FONT)))


@functools.lru_cache(maxsize=256)
def _family(missing: frozenset[str]) -> tuple[str, ...] | None:
    """An installed family that has all `missing` characters; empty if none is missing, or None."""
    from matplotlib.font_manager import fontManager

    if not missing:
        return ()
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        regular = font.style == "normal" and str(font.weight) == "400"
        if regular and not font.name.startswith(BOXES) and missing <= _characters(font.fname):
            return (font.name,)
    return None


@functools.lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[str]:
    """The characters of a font file; none if it cannot be read."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
