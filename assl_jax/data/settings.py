"""Checks of the settings that several data sources share; each message is declared once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from assl_jax.errors import InputError, require

ON_ERROR = ("raise", "skip")


class Rule(NamedTuple):
    """What a setting must be, as a test and as the end of "data.X=… must be …"."""

    holds: Callable[[Any], bool]
    text: str


RULES = {
    "channels": Rule(lambda n: n in (0, 1, 3), "be 0 (as they are), 1 or 3"),
    "labels": Rule(lambda n: n >= 0, "be 0 (all) or a number of images"),
    "on_error": Rule(lambda s: s in ON_ERROR, "be 'raise' or 'skip'"),
    "seed": Rule(lambda n: n >= 0, "be 0 or a positive number"),
    "test_fraction": Rule(lambda x: 0 < x < 1, "lie between 0 and 1"),
}


def check(**settings: Any) -> None:
    """Raise `InputError` for the first of `settings` that breaks its rule in `RULES`."""
    for name, value in settings.items():
        rule = RULES[name]
        require(rule.holds(value), f"data.{name}={value!r} must {rule.text}")


def existing_folder(path: str, what: str) -> Path:
    """The folder `data.path`; `what` tells a user who gave none which one to name.

    Raises:
      InputError: an empty path, or no such folder.
    """
    folder = _existing(path, what)
    require(folder.is_dir(), f"data.path={path!r} is a file, not a folder; name {what}")
    return folder


def existing_file(path: str, what: str) -> Path:
    """The file `data.path`; `what` tells a user who gave none which one to name.

    Raises:
      InputError: an empty path, or no such file.
    """
    file = _existing(path, what)
    require(file.is_file(), f"data.path={path!r} is a folder, not a file; name {what}")
    return file


def _existing(path: str, what: str) -> Path:
    require(bool(path), f"data.path is empty; name {what}")
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:  # "~name" of nobody
        raise InputError(f"data.path={path!r}: {error}") from error
    require(found.exists(), f"data.path={path!r} does not exist; name {what}")
    return found
