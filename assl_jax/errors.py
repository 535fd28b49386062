"""The two errors that a run shows as one clear line instead of a traceback."""


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
