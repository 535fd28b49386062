"""Ctrl-C and SIGTERM as a polite request to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from assl_jax.errors import Interrupted

_requested = threading.Event()


def stop_requested() -> bool:
    """Whether a stop was asked for since `polite_stop` was entered."""
    return _requested.is_set()


def check_stop(what: str) -> None:
    """Raise `Interrupted` if a stop was requested; `what` is about to begin."""
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
