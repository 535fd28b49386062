"""Ctrl-C and SIGTERM as a polite request to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from assl_jax.errors import Interrupted
from assl_jax.training.processes import is_single, gather

_requested = threading.Event()


def stop_requested(meeting: bool = True) -> bool:
    """Whether a stop was asked for since `polite_stop` was entered, in any of the processes.

    Several processes tell each other at a `meeting`, where all of them have to call this; between
    meetings the answer is no. One process alone knows at once.
    """
    if is_single():
        return asked_here()
    return meeting and any(gather(asked_here()))


def asked_here() -> bool:
    """Whether this process was asked to stop."""
    return _requested.is_set()


def check_stop(what: str) -> None:
    """Raise `Interrupted` if a stop was requested; `what` is about to begin in all processes."""
    if stop_requested():
        raise Interrupted(f"stopped before {what}")


@contextlib.contextmanager
def polite_stop() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `stop_requested()`; a second one acts as usual."""
    _requested.clear()
    previous: dict[int, Any] = {}

    def request(number: int, frame: FrameType | None) -> None:
        _requested.set()
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        for changed, handler in previous.items():
            signal.signal(changed, handler)
        _requested.clear()
