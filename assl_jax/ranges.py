"""Ranges and choices of settings. They are declared beside the types, and checked in one way.

@dataclasses.dataclass(frozen=True)
class Noise:
    strength: NonNegative = 0.5
    kind: Annotated[str, OneOf("gauss", "salt")] = "gauss"

    def __post_init__(self) -> None:
        check(self, "task.noise.")
"""

import dataclasses
import functools
import inspect
import math
import numbers
import operator
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from assl_jax.errors import InputError, choice, require

HOLDS = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
}
LARGEST = 1e9  # without an upper bound: larger numbers overflow or take all memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """A range of numbers. Without an upper bound it ends at `LARGEST`.

    Attributes:
      above, at_least: the lower bound, excluded or included.
      below, at_most: the upper bound, excluded or included.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        bounds = {name: bound for name, bound in vars(self).items() if bound is not None}
        return " and ".join(f"{name.replace('_', ' ')} {bound}" for name, bound in bounds.items())

    def check(self, value: float, setting: str) -> None:
        """Raise `InputError` unless `value` is in the range; NaN never is."""
        require(isinstance(value, numbers.Real), f"{setting}={value!r} must be a number")
        require(
            all(HOLDS[name](value, b) for name, b in vars(self).items() if b is not None),
            f"{setting}={value} must be {self}",
        )
        if self.below is None and self.at_most is None:
            require(value <= LARGEST, f"{setting}={value} must be at most {LARGEST:g}")


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of a few names; a mapping stands for its keys."""

    names: Iterable[str]

    def check(self, value: str, setting: str) -> None:
        """Raise `InputError` unless `value` is one of the names; the nearest one is shown."""
        choice(value, self.names, setting)


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of a table to which other packages add; several in a list with commas.

    Whoever looks a name up says that it is unknown.
    """

    names: Iterable[str]

    def check(self, value: Any, setting: str) -> None:
        """Any name may be one of another package."""


@dataclasses.dataclass(frozen=True)
class InPlace:
    """Marks a field whose own fields are settings of the group; see `Part`. It checks itself."""

    def check(self, value: Any, setting: str) -> None:
        """The class of the part has checked it."""


@dataclasses.dataclass(frozen=True)
class Entries:
    """A list whose entries are of one kind: int, float or str."""

    kind: type

    def check(self, value: Iterable[Any], setting: str) -> None:
        """Raise `InputError` unless all entries are of the kind; an int is a float too."""
        kinds, words = ENTRIES.get(self.kind, ((self.kind,), self.kind.__name__))
        require(all(type(v) in kinds for v in value), f"{setting}={value} must be {words}")


ENTRIES: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "whole numbers"),
    float: ((int, float), "numbers"),
    str: ((str,), "names"),
}
Allowed = Range | OneOf | Names | InPlace | Entries
T = TypeVar("T")
Part = Annotated[T, InPlace()]  # `training: Part[Training] = Training()`
Count = Annotated[int, Range(at_least=1)]
Repeats = Annotated[int, Range(at_least=1, at_most=1000)]
Width = Annotated[int, Range(at_least=1, at_most=2**16)]  # of a layer; wider ones crash XLA
# Where 0 stands for another size, or for none.
Size = Annotated[int, Range(at_least=0, at_most=2**16)]
Seed = Annotated[int, Range(at_least=0, below=2**32)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
Portion = Annotated[float, Range(above=0, at_most=1)]


@functools.cache
def declared(kind: Callable[..., Any]) -> dict[str, Allowed]:
    """What a class's fields, or a function's arguments, allow: range, choices, kind of entries."""
    found = {}
    for each in reversed(getattr(kind, "__mro__", (kind,))):
        for name, hint in inspect.get_annotations(each).items():
            found[name] = next(
                (m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Allowed)), None
            )
            if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
                found[name] = Entries(typing.get_args(hint)[0])
    return {name: allowed for name, allowed in found.items() if allowed}


def mistakes(
    allowed: Mapping[str, Allowed], values: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """A line for each value that is not allowed, or not finite.

    `allowed` is as from `declared`; the prefix precedes a name in the messages, as in "pretrain.".
    """
    found = []
    for name, value in values.items():
        try:
            require(not _odd(value), f"{prefix}{name}={value} is not a finite number")
            if name in allowed:
                allowed[name].check(value, prefix + name)
        except InputError as error:
            found.append(str(error))
    return found


def _odd(value: Any) -> bool:
    """Whether a value is, or holds, a number that is not finite."""
    if isinstance(value, tuple):
        return any(map(_odd, value))
    return isinstance(value, float) and not math.isfinite(value)


def check(instance: Any, prefix: str = "") -> None:
    """Check the fields of a dataclass, and raise an `InputError` with all that `mistakes` finds."""
    found = mistakes(declared(instance.__class__), vars(instance), prefix)
    require(not found, "; ".join(found))
