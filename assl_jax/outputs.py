"""The files that a command writes where its user says: one rule for all commands.

A file that holds something else stays, unless the user asks with `--force`. An empty one, and one
that holds the same already, are no obstacle. Devices, pipes and symbolic links are as in
`files.atomic_file`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from assl_jax import files
from assl_jax.console import say
from assl_jax.errors import InputError, require


def expect(path: Path, *, force: bool = False) -> None:
    """Look at an output before the work begins, and say that it may stay as it is."""
    with _problems(path):
        require(
            files.target_of(path).parent.is_dir() and not path.is_dir(),
            f"{path} is no file in an existing folder; choose another",
        )
        if path.is_file() and path.stat().st_size and not force:
            say(f"{path} exists; --force replaces it if its content changes")


def write(contents: Mapping[Path, bytes], *, force: bool = False) -> None:
    """Write files, and the folders that they lie in; all of them, or none if one must stay.

    A file that holds something else must stay, unless `force`.
    """
    missing = []
    for path, content in contents.items():
        with _problems(path):
            folder = path.parent
            require(folder.is_dir() or not folder.exists(), f"{folder} is a file; name a folder")
            held = path.read_bytes() if path.exists() and not files.is_stream(path) else None
            require(
                force or held in (None, b"", content),
                f"{path} holds something else; --force replaces it, or name another place",
            )
            missing += [path] if held != content else []
    for path in missing:
        with _problems(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, contents[path])


@contextlib.contextmanager
def _problems(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # nobody reads any more, which is no mistake
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
