"""Ctrl-C and SIGTERM as a request to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from assl_jax.errors import Interrupted
from assl_jax.training.processes import gather, is_single

_requested = threading.Event()


def stop_requested(exchange: bool = True) -> bool:
    """Whether a stop was requested from any process since `polite_stop` was entered.

    Args:
      exchange: let the processes tell each other. All of them must call this with the same value.
        Without an exchange the answer of several processes is no. A single process always knows.
    """
    if is_single():
        return asked_here()
    return exchange and any(gather(asked_here()))


def asked_here() -> bool:
    """Whether a stop was requested from this process."""
    return _requested.is_set()


def check_stop(work: str) -> None:
    """Raise `Interrupted` if a stop was requested; all processes call this before `work`."""
    if stop_requested():
        raise Interrupted(f"stopped before {work}")


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
