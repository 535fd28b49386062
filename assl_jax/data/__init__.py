"""Data sources: each is a function of keyword arguments that returns a `Dataset`.

`SOURCES` holds those of this package. Other packages add theirs by entry points of `GROUP`, see
`plugins`.
"""

import inspect
from collections.abc import Callable
from typing import Any

from assl_jax import plugins
from assl_jax.data.dataset import Dataset
from assl_jax.data.digits import digits
from assl_jax.data.folder import folder
from assl_jax.data.npz import npz
from assl_jax.data.phantom_ct import phantom_ct
from assl_jax.data.stl10 import stl10
from assl_jax.data.volumes import volumes
from assl_jax.errors import lookup, require
from assl_jax.ranges import declared, mistakes

__all__ = ["GROUP", "SOURCES", "Dataset", "check_entries", "load", "source_of", "source_settings"]

GROUP = "assl_jax.data"

SOURCES: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "folder": folder,
    "npz": npz,
    "phantom_ct": phantom_ct,
    "stl10": stl10,
    "volumes": volumes,
}


def load(name: str, **settings: Any) -> Dataset:
    """Read the data source called `name`.

    Args:
      name: the data source: one of `SOURCES`, of another package, or `module:function`.
      **settings: keyword arguments of the source; the others keep their defaults.

    Returns:
      The data set.

    Raises:
      InputError: an unknown name or setting (the nearest one is shown), or whatever the source
        finds wrong with its files.
    """
    known = source_settings(name)
    for key in settings:
        lookup(known, key, f"data {name!r}: setting")
    check_entries(name, **settings)
    return source_of(name)(**settings)


def check_entries(name: str, **settings: Any) -> None:
    """Raise `InputError` unless the lists among a source's settings hold what they are to hold."""
    found = mistakes(declared(source_of(name)), settings, "data.")
    require(not found, "; ".join(found))


def source_of(name: str) -> Callable[..., Dataset]:
    """The function of the data source called `name`, see `load`.

    Raises:
      InputError: an unknown name, or something else than such a function.
    """
    source = plugins.load(SOURCES, name, "data.name", GROUP)
    fine = callable(source) and all(
        isinstance(p.default, str | int | float | bool | tuple)
        for p in inspect.signature(source).parameters.values()
    )
    require(
        fine,
        f"data.name={name!r} must be a function whose arguments all have defaults of the types "
        "str, int, float, bool or tuple",
    )
    return source


def source_settings(name: str) -> dict[str, Any]:
    """The keyword arguments of the source called `name` with their defaults."""
    return {k: p.default for k, p in inspect.signature(source_of(name)).parameters.items()}
