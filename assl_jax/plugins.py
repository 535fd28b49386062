"""Tasks, data sources and backbones from other packages.

A table of the program, such as `tasks.TASKS`, holds what the program has itself. A name that is not
in it is looked for in two more places:

- the entry points of installed packages, in the group of the table:
  `[project.entry-points."assl_jax.tasks"]` with `mirror = "my_package.mirror:Mirror"`;
- if the name has the form `module:Class`, that module.
"""

import functools
import importlib
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from assl_jax.errors import InputError, lookup, require


def load(table: Mapping[str, Any], name: str, what: str, group: str) -> Any:
    """Return `table[name]`, or what another package or module has under this name.

    Args:
      table: what the program has itself; it decides first.
      name: a key of the table, the name of an entry point, or `module:Class`. The module may lie in
        the current folder.
      what: what the name stands for, as the user types it ("task", "data.name").
      group: of entry points.
    """
    if name in table:
        return table[name]
    points = entry_points(group)
    if name in points:
        return _loaded(f"{what}={name!r}", *points[name].value.split(":", 1))
    if ":" in name:
        return _loaded(f"{what}={name!r}", *name.split(":", 1))
    return lookup(dict.fromkeys([*table, *points]), name, what)


@functools.cache
def entry_points(group: str) -> Mapping[str, metadata.EntryPoint]:
    """The entry points of a group by name."""
    return {point.name: point for point in metadata.entry_points(group=group)}


def _loaded(what: str, module: str, name: str = "") -> Any:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the other module raises
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{what}: {module} cannot be imported ({reason})") from error
    require(hasattr(found, name), f"{what}: {module} has no {name or 'name after the colon'}")
    return getattr(found, name)
