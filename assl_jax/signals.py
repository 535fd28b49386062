"""Ctrl-C and SIGTERM: a command ends soon, with one line and the status that shells expect.

The first signal raises `Interrupted` in the main thread. Inside `deferred` it is only a request,
which the code there answers when its work is saved. Python cannot raise while the main thread is in
a long call of a library, such as a compilation. Another thread therefore ends the process after
`GRACE` seconds, or at a second signal. Where Python swallows what is raised, in a destructor or a
callback of the garbage collector, the process ends at once. Every write is atomic, so nothing on
the disk is half-done.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from assl_jax.errors import Interrupted

GRACE = 15.0  # seconds between a signal and the end of the process
NUMBERS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []  # numbers of the signals since `stoppable` was entered
_deferred = 0  # how many `deferred` blocks are open
_quiet = False  # whether nothing is printed
_shared = False  # whether several processes answer a signal together


def asked() -> bool:
    """Whether this process received a signal since `stoppable` was entered."""
    return bool(_received)


def share() -> None:
    """Let several processes answer a signal together, until `stoppable` is left.

    A signal then raises nothing, and no time is set: `training.interrupt` asks all processes. A
    second signal still ends its process.
    """
    global _shared
    _shared = True


@contextlib.contextmanager
def stoppable(*, quiet: bool = False) -> Iterator[None]:
    """Inside, the first signal raises `Interrupted`, and the process ends within `GRACE` seconds.

    Only the main thread can enter it. A quiet process says nothing, as a worker whose first process
    speaks.
    """
    global _shared, _quiet
    _quiet = quiet
    _received.clear()
    previous = {number: signal.signal(number, _receive) for number in NUMBERS}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # Python writes a byte there at once, whatever the main thread does.
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_swallowed, hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.set_wakeup_fd(before)
        writer.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received.clear()
        _shared = _quiet = False


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal raises nothing; the code asks `asked`, and leaves when its work is saved.

    Raises:
      Interrupted: at the end of the outermost block, if a signal came.
    """
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
    if _received and not _deferred and not _shared:
        raise Interrupted("stopped")


def leave(why: str) -> NoReturn:
    """Say `why`, in one line, and end the process with the status of its first signal.

    130 is Ctrl-C and 143 is SIGTERM. A single process does not wait for its threads.
    """
    number = _received[0] if _received else signal.SIGINT
    if not _shared:
        _end(why, number)
    _say(why)
    sys.exit(128 + number)


def _end(why: str, number: int) -> NoReturn:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    _say(why)
    os._exit(128 + number)


def _say(why: str) -> None:
    if _quiet:
        return
    # Not `print`: the thread that the signal interrupted may hold its lock.
    with contextlib.suppress(OSError):  # nobody reads any more
        os.write(2, f"error: {why}; run the same command again to continue\n".encode())


def _receive(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) == 1 and not _deferred and not _shared:
        raise Interrupted("stopped")


def _swallowed(hook: Callable[[Any], Any], what: Any) -> None:
    """Called with what a destructor raised, see `sys.unraisablehook`; Python would go on."""
    if isinstance(what.exc_value, Interrupted):
        leave("stopped")
    hook(what)


def _watch(reader: socket.socket) -> None:
    """Wait for a signal, which Python writes as one byte; then end the process in time."""
    with reader:
        first = reader.recv(1)
        if not first:  # `stoppable` was left
            return
        reader.settimeout(None if _shared else GRACE)
        try:
            again = reader.recv(1)
        except TimeoutError:
            again = first
        if again:
            _end("stopped", first[0])
