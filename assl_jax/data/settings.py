"""The paths among the settings of data sources."""

from pathlib import Path

from assl_jax.errors import InputError, require


def existing_folder(path: str, what: str) -> Path:
    """Return the folder `data.path`; `what` describes it in the error messages.

    Raises:
      InputError: an empty path, or no such folder.
    """
    return _existing(path, what, "folder")


def existing_file(path: str, what: str) -> Path:
    """As `existing_folder`, for a file."""
    return _existing(path, what, "file")


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


def _existing(path: str, what: str, kind: str) -> Path:
    require(bool(path), f"data.path is empty; name {what}")
    found = expanded(path, "data.path")
    require(found.exists(), f"data.path={path!r} does not exist; name {what}")
    own = "folder" if found.is_dir() else "file" if found.is_file() else ""
    instead = f"a {own}, " if own else ""
    require(own == kind, f"data.path={path!r} is {instead}not a {kind}; name {what}")
    return found
