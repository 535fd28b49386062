"""The two errors that a run shows as one clear line instead of a traceback."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Something the user can mend: a config value, a file, a folder. `main` exits with status 2.

    The message is one line that names the thing and says what to do.
    """


class Interrupted(RuntimeError):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has written a checkpoint."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """`table[name]`, or an `InputError` that says what `what` may be and shows the nearest name."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), table, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"{what}={name!r} is unknown; {hint}(one of {', '.join(table)})")


def choice(value: str, choices: Iterable[str], setting: str) -> None:
    """Raise an `InputError` with the nearest name unless `value` is one of `choices`."""
    lookup(dict.fromkeys(choices), value, setting)
