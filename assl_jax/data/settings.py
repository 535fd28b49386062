"""The paths among the settings of data sources."""

from pathlib import Path

from assl_jax.errors import InputError, require


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
