"""Data sources: each is a function of keyword arguments that returns a `Dataset`."""

import inspect
from collections.abc import Callable
from typing import Any

from assl_jax.data.dataset import Dataset
from assl_jax.data.digits import digits
from assl_jax.data.folder import folder
from assl_jax.data.npz import npz
from assl_jax.data.phantom_ct import phantom_ct
from assl_jax.data.stl10 import stl10
from assl_jax.data.volumes import volumes
from assl_jax.errors import lookup

__all__ = ["SOURCES", "Dataset", "load", "source_settings"]

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
      name: a key of `SOURCES`.
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
    return SOURCES[name](**settings)


def source_settings(name: str) -> dict[str, Any]:
    """The keyword arguments of the source called `name` with their defaults."""
    source = lookup(SOURCES, name, "data.name")
    return {k: p.default for k, p in inspect.signature(source).parameters.items()}
