"""HTML pages that need no other file, from the templates in `templates/`.

Templates escape every value, so a title or a class name with HTML in it is shown as text.
"""

import base64
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from assl_jax import outputs
from assl_jax.report.colours import page_css

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "index.html"
SMALL = 400  # points of a chart's width


class Chart(NamedTuple):
    """A chart and its alternative text; `svg` is "" if there is nothing to draw."""

    svg: str
    alt: str

    @property
    def small(self) -> bool:
        """Whether it is readable on a narrow screen without scrolling."""
        found = re.search(r'<svg[^>]* width="([\d.]+)pt"', self.svg)
        return found is not None and float(found[1]) < SMALL

    @property
    def source(self) -> str:
        """The SVG as a data URL. As separate images, two charts may use the same ids."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode('ascii')}"


class Picture(NamedTuple):
    """A PNG in base64 and its alternative text."""

    png: str
    alt: str


def render(template: str, **values: Any) -> str:
    """Fill in a template; a value that it needs and does not get is an error."""
    return _environment().get_template(template).render(values)


def write_files(folder: Path, texts: Mapping[str, str], *, force: bool = False) -> Path:
    """Write a page that a user asked for, and what belongs to it.

    Args:
      folder: of the page; it is created if it is missing.
      texts: by the names of the files.
      force: see `outputs.write`.

    Returns:
      The path of `PAGE` in the folder.

    Raises:
      InputError: as `outputs.write`.
    """
    outputs.write({folder / name: text.encode() for name, text in texts.items()}, force=force)
    return folder / PAGE


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
    environment.globals["colours"] = page_css()
    return environment
