"""What a program says while it runs: progress bars on a terminal, plain lines elsewhere."""

import contextlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, TextIO, TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 15.0  # between two plain lines of one piece of work
_quiet = False
_left: tuple[float, float] | None = None  # when the whole run ends, at the earliest and the latest


def prepare() -> None:
    """Make the standard streams ready, before anything else is opened.

    Characters that a terminal lacks are replaced. A stream that is closed goes nowhere: a file that
    is opened later would get its number, and with it what libraries print.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def flushed() -> bool:
    """Write what is left for standard output; whether somebody reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)
        return False
    return True


def discard(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere, also at the end of the process."""
    with contextlib.suppress(OSError, ValueError):  # what replaces a stream may have no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def set_quiet(quiet: bool) -> None:
    """Silence `say` and `Progress`, as in every process but the primary one."""
    global _quiet
    _quiet = quiet


def say(text: str) -> None:
    """Print one line to standard error, unless the process is quiet."""
    if not _quiet:
        _write(text)


def say_lines(lines: Iterable[str]) -> None:
    """Say several lines, with an empty one after them."""
    for line in (*lines, ""):
        say(line)


def expect(least: float, most: float) -> None:
    """How many seconds of the whole run are left; `Progress` shows it beside its own work."""
    global _left
    now = time.monotonic()
    _left = now + least, now + most


def expect_nothing() -> None:
    """Forget what `expect` was told."""
    global _left
    _left = None


def whole_run() -> str:
    """How much of the whole run is left, in words; "" if nobody knows (any more)."""
    if _left is None:
        return ""
    least, most = (end - time.monotonic() for end in _left)
    if most <= 0:  # the estimate was too low; no other is known
        return ""
    words = duration(most)
    if least <= 0:
        words = f"up to {words}"
    elif duration(least) != words:
        words = f"{duration(least)} to {words}"
    return f"whole run: {words} left"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "3 min", "2.5 h", "3.2 days"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def fail(*messages: str) -> NoReturn:
    """Print a line that begins with "error:" for each message, and exit with status 2."""
    for message in messages:
        _write("error: " + " ".join(message.split()))
    sys.exit(2)


def _write(text: str) -> None:
    # The text and its end in one write: a signal between two would put its line behind the text.
    try:
        print(f"{text}\n", end="", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads any more; the work goes on
        discard(sys.stderr)


def hush(library: str) -> None:
    """Silence what a library logs and warns of while it reads a damaged file.

    The reader itself says in one line what is wrong.
    """
    logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    # The filter may be gone: whoever catches warnings puts back the earlier ones.
    warnings.filterwarnings("ignore", module=rf"{library}\b")


class Progress:
    """Shows the progress of one piece of work, and how much of the whole run is left.

    Use it as a context manager. `update` may be called at every step. Without a title, and in a
    quiet process, nothing is shown.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        """Prepare to show `done` of `total` steps under `title`."""
        self.title, self.total, self.done = "" if _quiet else title, total, done
        self._bar: Any = None
        self._task: Any = None
        self._spoken = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.title and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console, RenderableType
            from rich.text import Text

            class Bar(progress.Progress):
                """A bar with a line below it, on the whole run."""

                def get_renderables(self) -> Iterable[RenderableType]:
                    yield from super().get_renderables()
                    if words := whole_run():
                        yield Text(words)

            self._bar = Bar(
                progress.TextColumn("{task.description:<34}"),
                progress.BarColumn(bar_width=30),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[note]}"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self.title, total=self.total, completed=self.done, note="starting"
            )
        return self

    def update(self, done: int, note: str | None = None) -> None:
        """Show that `done` steps are finished, with a note on how the work goes.

        None keeps the note before. Without a terminal, a note is printed as a line every
        `PLAIN_SECONDS` and at the end.
        """
        if self._bar is not None:
            self._bar.update(self._task, completed=done, **({} if note is None else {"note": note}))
        elif (
            self.title
            and note is not None
            and (done == self.total or self._silent_for(PLAIN_SECONDS))
        ):
            self._spoken = time.monotonic()
            line = f"{self.title}: {done}/{self.total}  {note}".rstrip()
            say("  ".join(filter(None, [line, whole_run()])))

    def _silent_for(self, seconds: float) -> bool:
        return time.monotonic() - self._spoken > seconds

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield `items` and show how many of `total` have been used; nothing is shown without items."""
    with Progress(title if total else "", total) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress.update(done, "")
