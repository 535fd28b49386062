"""A progress bar per stage on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from assl_jax.training.processes import first

PLAIN_SECONDS = 15.0


class Progress:
    """Shows one stage's steps with loss, images/s and time left.

    Use as a context manager; `update` may be called at every step. Without a title it is silent,
    and so is every process but the first.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done = title if first() else "", total, done
        self._bar: Any = None
        self._task: Any = None
        self._spoken = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.title and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
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

    def update(self, done: int, note: str = "") -> None:
        """`done` steps are behind us; `note` says how it goes."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, **({"note": note} if note else {}))
        elif self.title and note and (done == self.total or self._silent_for(PLAIN_SECONDS)):
            self._spoken = time.monotonic()
            print(f"{self.title}: {done}/{self.total}  {note}", file=sys.stderr, flush=True)

    def _silent_for(self, seconds: float) -> bool:
        return time.monotonic() - self._spoken > seconds

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
