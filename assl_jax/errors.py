"""The errors that a run shows as one line instead of a traceback, and checks of settings."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

LONGEST = 1000  # characters of a message


class InputError(ValueError):
    """Something that the user can correct: a setting, a file, a folder. `main` exits with 2.

    The message is one line that names the thing and says what to do. It may quote what a damaged
    file holds: signs that steer a terminal are replaced, and a long middle is left out.
    """

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in message)
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} ... {line[5 - LONGEST // 2 :]}"
        super().__init__(line)
        self.lines = [line]  # what the program shows


class Mistakes(InputError):
    """Several at once, a line for each."""

    def __init__(self, messages: Iterable[str]) -> None:
        lines = [str(InputError(message)) for message in messages]
        super().__init__("; ".join(lines))
        self.lines = lines


class Unusable(InputError):
    """A file that is damaged, or of another version. What wrote it can write it again."""


class Interrupted(KeyboardInterrupt):
    """The user or the system stopped the run (Ctrl-C, SIGTERM); the same command continues it."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`; an unknown name raises, and the message has the nearest and all names.

    `what` is what the name stands for, as the user types it ("task", "search.metric").
    """
    if name in table:
        return table[name]
    raise InputError(nearest(table, name, what))


def nearest(known: Iterable[str], name: str, what: str) -> str:
    """What to say of an unknown name, with the nearest and all `known` ones; see `lookup`."""
    near = difflib.get_close_matches(str(name), known := [*known], n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{what}={name!r} is unknown; {hint}(one of {', '.join(known)})"


def choice(value: str, choices: Iterable[str], setting: str) -> None:
    """Check that a setting has one of a few names; the message has the nearest and all names.

    The setting is named as the user types it ("search.metric").
    """
    lookup(dict.fromkeys(choices), value, setting)
