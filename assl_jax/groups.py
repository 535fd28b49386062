"""Groups of settings: frozen dataclasses as plain values, and back.

A group is a dataclass. Its settings are the fields that hold a text, a number, a switch or a tuple,
and the settings of its parts (`ranges.Part`). The annotations say what they allow, the docstring
what they mean.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from assl_jax.docstrings import meanings
from assl_jax.ranges import Allowed, InPlace, Names, OneOf, declared

T = TypeVar("T")


class Setting(NamedTuple):
    """A setting.

    Attributes:
      value: in the group that it was read from.
      allowed: its range or choices, if it has any.
      meaning: "" where nothing says it.
    """

    value: Any
    allowed: Allowed | None
    meaning: str

    @property
    def choices(self) -> list[str]:
        """The names that it takes; none where it takes a number or any text."""
        return list(self.allowed.names) if isinstance(self.allowed, OneOf | Names) else []


def settings(group: Any) -> dict[str, Setting]:
    """The settings of a group, a dataclass, by name."""
    kind: Any = type(group)
    allowed, words = declared(kind), meanings(kind)
    found: dict[str, Setting] = {}
    for field in dataclasses.fields(group):
        name, value = field.name, getattr(group, field.name)
        if isinstance(allowed.get(name), InPlace):
            found |= settings(value)
        elif isinstance(value, str | int | float | bool | tuple):
            found[name] = Setting(value, allowed.get(name), words.get(name, ""))
    return found


def build(group: T, values: Mapping[str, Any]) -> T:
    """A group with other values of its settings; those that it does not have are ignored.

    What its class, or that of a part, refuses raises.
    """
    kind: Any = type(group)
    allowed, own = declared(kind), {}
    for field in dataclasses.fields(group):  # type: ignore[arg-type]  # a dataclass
        if isinstance(allowed.get(field.name), InPlace):
            own[field.name] = build(getattr(group, field.name), values)
        elif field.name in values:
            own[field.name] = values[field.name]
    return dataclasses.replace(group, **own)  # type: ignore[type-var]  # as above
