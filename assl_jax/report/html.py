"""A report as an HTML page that needs no other file, from the templates in `templates/`.

Templates escape every value, so a title or a class name with HTML in it is shown as text.
"""

import base64
import functools
import re
from typing import TYPE_CHECKING

from assl_jax.report.colours import page_css
from assl_jax.sections import Report, Shown, sections_for
from assl_jax.words import say

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "index.html"
SMALL = 400  # points of a chart's width


def to_html(report: Report) -> str:
    """The whole of `PAGE`."""
    sections = sections_for(Shown.PAGE, report.sections)
    return _environment().get_template("page.html.j2").render(report=report, sections=sections)


def svg_source(svg: str) -> str:
    """An SVG as a data URL. As separate images, two charts may use the same ids."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"


def is_small(svg: str) -> bool:
    """Whether a chart is readable on a narrow screen without scrolling."""
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)
    return found is not None and float(found[1]) < SMALL


@functools.cache
def _environment() -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assl_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"colours": page_css(), "say": say}
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["source"] = svg_source
    environment.tests["small"] = is_small
    return environment
