"""Colours of the page and its charts, in the light and in the dark mode of the reader's screen."""

import re
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour in both modes, as in "#1d1d1f"."""

    light: str
    dark: str


# The page's colours by the names of their CSS variables. Charts are drawn in the light ones.
THEME = {
    "ink": Colour("#1d1d1f", "#e8eaed"),
    "soft": Colour("#5f6368", "#a6abb1"),
    "line": Colour("#dadce0", "#3f4347"),
    "paper": Colour("#ffffff", "#17181a"),
    "panel": Colour("#f6f7f8", "#222427"),
    "yes": Colour("#e3f1ea", "#1e3a2d"),
    "no": Colour("#fbeae1", "#45291a"),
    "warn": Colour("#8a3b00", "#ffc59a"),
    "warnpaper": Colour("#fff1e5", "#3a2413"),
}
INK, SOFT, LINE, PAPER, PANEL = (THEME[n].light for n in ("ink", "soft", "line", "paper", "panel"))
GREY = "#767676"  # also the colour of training from scratch
SHADE = "#2171b5"  # of a heat map's highest value; the page shines through lower ones
ON_SHADE = "#fefefe"  # words on it, in both modes
CONTRAST = 3.0  # between a line and the page, the least that WCAG 2 allows
DARK = "@media (prefers-color-scheme: dark)"


def page_css() -> str:
    """The variables of `THEME`, for the page's style sheet."""
    light, dark = (
        " ".join(f"--{name}: {colour[mode]};" for name, colour in THEME.items()) for mode in (0, 1)
    )
    return f":root {{ color-scheme: light dark; {light} }}\n{DARK} {{ :root {{ {dark} }} }}"


def follow(svg: str) -> str:
    """A chart drawn in light colours that changes them with the mode of the screen, as the page."""
    changed: dict[str, str] = {}

    def variable(found: re.Match[str]) -> str:
        prefix, light = found.groups()
        dark = on_dark(light)
        if dark == light:
            return found[0]
        changed[light] = dark
        return f"{prefix}var(--c{light[1:]}, {light})"

    svg = re.sub(r"\b((?:fill|stroke): )(#[0-9a-f]{6})\b", variable, svg)
    variables = " ".join(f"--c{light[1:]}: {dark};" for light, dark in sorted(changed.items()))
    style = f'<style type="text/css">{DARK} {{ :root {{ {variables} }} }}</style>'
    return svg.replace("<defs>", f"<defs>\n  {style}", 1)


def on_dark(light: str) -> str:
    """The colour in the dark mode: that of `THEME`, or one lighter if the page would hide it."""
    for colour in THEME.values():
        if colour.light == light:
            return colour.dark
    for white in range(0, 256, 8):
        levels = (v + (255 - v) * white // 255 for v in _levels(light))
        mixed = f"#{bytes(levels).hex()}"
        if contrast(mixed, THEME["paper"].dark) >= CONTRAST:
            return mixed
    return THEME["ink"].dark


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2 between two colours, 1 to 21."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    shares = (v / 255 for v in _levels(colour))
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(weight * s for weight, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _levels(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("#"))
