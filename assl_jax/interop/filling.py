"""Texts of an export, from the templates in `templates/`."""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def fill(name: str, **values: Any) -> str:
    """The text of a template, such as "card.md.j2", with values by the names that it uses."""
    return _environment().get_template(name).render(values)


@functools.cache
def _environment() -> "Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("assl_jax.interop"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["g"] = lambda value: f"{value:g}"
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|")
    return environment
