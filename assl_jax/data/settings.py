"""Checks of the settings that several data sources share; each is declared once."""

from pathlib import Path
from typing import Any

from assl_jax.errors import InputError, choice, in_range, require

RANGES: dict[str, dict[str, float]] = {
    "labels": {"at_least": 0},  # 0 takes all
    "seed": {"at_least": 0},
    "side": {"at_least": 0},  # 0 keeps the size
    "test_fraction": {"above": 0, "below": 1},
}
CHOICES = {
    "alpha": ("white", "drop"),
    "channels_axis": ("auto", "first", "last", "none"),
    "on_error": ("raise", "skip"),
    "pages": ("one", "first", "middle", "channels"),
    "val": ("train", "unlabeled", "test", "ignore"),
}


def check(**settings: Any) -> None:
    """Check settings against `RANGES` and `CHOICES`.

    Raises:
      InputError: the first setting that is out of range or not one of the choices.
    """
    for name, value in settings.items():
        if name in CHOICES:
            choice(value, CHOICES[name], f"data.{name}")
        else:
            in_range(value, f"data.{name}", **RANGES[name])


def existing_folder(path: str, what: str) -> Path:
    """Return the folder `data.path`; `what` describes it in the error messages.

    Raises:
      InputError: an empty path, or no such folder.
    """
    folder = _existing(path, what)
    require(folder.is_dir(), f"data.path={path!r} is a file, not a folder; name {what}")
    return folder


def existing_file(path: str, what: str) -> Path:
    """Return the file `data.path`; `what` describes it in the error messages.

    Raises:
      InputError: an empty path, or no such file.
    """
    file = _existing(path, what)
    require(file.is_file(), f"data.path={path!r} is a folder, not a file; name {what}")
    return file


def expanded(path: str, setting: str) -> Path:
    """A path with `~` replaced by the home folder.

    Raises:
      InputError: `~name` of an unknown user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{setting}={path!r}: {error}") from error


def _existing(path: str, what: str) -> Path:
    require(bool(path), f"data.path is empty; name {what}")
    found = expanded(path, "data.path")
    require(found.exists(), f"data.path={path!r} does not exist; name {what}")
    return found
