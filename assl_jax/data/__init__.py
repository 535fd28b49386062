"""Data sources: each is a dataclass of settings that loads a `Dataset`.

`SOURCES` holds those of this package. Other packages add theirs by entry points of `GROUP`, see
`plugins`; a function of keyword arguments that returns a `Dataset` is such a source too.
"""

import inspect
from collections.abc import Callable
from typing import Any

from assl_jax import plugins
from assl_jax.data.dataset import Dataset
from assl_jax.data.digits import Digits
from assl_jax.data.folder import Folder
from assl_jax.data.in_memory import InMemory
from assl_jax.data.npz import Npz
from assl_jax.data.phantom_ct import PhantomCT
from assl_jax.data.source import Source, from_function
from assl_jax.data.stl10 import STL10
from assl_jax.data.volumes import Volumes
from assl_jax.errors import lookup, require

__all__ = [
    "GROUP",
    "SOURCES",
    "Dataset",
    "Source",
    "load",
    "source",
    "source_of",
    "source_settings",
]

GROUP = "assl_jax.data"

SOURCES: dict[str, type[Source] | Callable[..., Dataset]] = {
    "digits": Digits,
    "folder": Folder,
    "memory": InMemory,
    "npz": Npz,
    "phantom_ct": PhantomCT,
    "stl10": STL10,
    "volumes": Volumes,
}


def load(name: str, **settings: Any) -> Dataset:
    """Read the data source called `name`.

    Args:
      name: the data source: one of `SOURCES`, of another package, or `module:function`.
      **settings: fields of the source; the others keep their defaults.

    Returns:
      The data set.

    Raises:
      InputError: an unknown name or setting (the nearest one is shown), or whatever the source
        finds wrong with its files.
    """
    return source(name, **settings).load()


def source(name: str, **settings: Any) -> Source:
    """The data source called `name` with its settings; no file is read yet.

    Args:
      name, settings: as in `load`.

    Raises:
      InputError: an unknown name or setting, or a setting that is not allowed.
    """
    known = source_settings(name)
    for key in settings:
        lookup(known, key, f"data {name!r}: setting")
    return source_of(name)(**settings)


def source_of(name: str) -> type[Source]:
    """The class of the data source called `name`, see `load`.

    Raises:
      InputError: an unknown name, or something else than a source.
    """
    found = plugins.load(SOURCES, name, "data.name", GROUP)
    is_class = isinstance(found, type)
    fine = issubclass(found, Source) if is_class else callable(found)
    require(
        fine
        and all(
            isinstance(p.default, str | int | float | bool | tuple)
            for p in inspect.signature(found).parameters.values()
        ),
        f"data.name={name!r} must be a class that derives from data.Source, or a function, whose "
        "arguments all have defaults of the types str, int, float, bool or tuple",
    )
    return found if is_class else from_function(found)


def source_settings(name: str) -> dict[str, Any]:
    """The settings of the source called `name` with their defaults."""
    return {k: p.default for k, p in inspect.signature(source_of(name)).parameters.items()}
