"""Checks of the settings that several data sources share; each is declared once."""

from pathlib import Path
from typing import Any

from assl_jax.errors import InputError, require
from assl_jax.ranges import Allowed, OneOf, Range, mistakes

LARGEST_SIDE = 8192  # pixels; a larger image does not fit into a network
SETTINGS: dict[str, Allowed] = {
    "alpha": OneOf(("white", "drop")),
    "channels_axis": OneOf(("auto", "first", "last", "none")),
    "labels": Range(at_least=0),  # 0 takes all
    "on_error": OneOf(("raise", "skip")),
    "pages": OneOf(("one", "first", "middle", "channels")),
    "seed": Range(at_least=0, below=2**32),
    "side": Range(at_least=0, at_most=LARGEST_SIDE),  # 0 keeps the size
    "test_fraction": Range(above=0, below=1),
    "val": OneOf(("train", "unlabeled", "test", "ignore")),
}


def check(**settings: Any) -> None:
    """Check settings against `SETTINGS`; others are not looked at.

    Raises:
      InputError: the settings that are out of range or not one of the choices.
    """
    found = mistakes(SETTINGS, settings, "data.")
    require(not found, "; ".join(found))


def existing_folder(path: str, what: str) -> Path:
    """Return the folder `data.path`; `what` describes it in the error messages.

    Raises:
      InputError: an empty path, or no such folder.
    """
    folder = _existing(path, what)
    file = "a file, " if folder.is_file() else ""
    require(folder.is_dir(), f"data.path={path!r} is {file}not a folder; name {what}")
    return folder


def existing_file(path: str, what: str) -> Path:
    """Return the file `data.path`; `what` describes it in the error messages.

    Raises:
      InputError: an empty path, or no such file.
    """
    file = _existing(path, what)
    folder = "a folder, " if file.is_dir() else ""
    require(file.is_file(), f"data.path={path!r} is {folder}not a file; name {what}")
    return file


def expanded(path: str, setting: str) -> Path:
    """A path with `~` replaced by the home folder.

    Raises:
      InputError: `~name` of an unknown user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{setting}={path!r}: there is no such user here; write the whole path"
        ) from error


def _existing(path: str, what: str) -> Path:
    require(bool(path), f"data.path is empty; name {what}")
    found = expanded(path, "data.path")
    require(found.exists(), f"data.path={path!r} does not exist; name {what}")
    return found
