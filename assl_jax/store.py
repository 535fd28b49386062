"""Where finished stages lie. A folder is one store; another one needs the same few methods.

`STORES` holds those of this package. Other packages add theirs by entry points of `GROUP`, see
`plugins`.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from assl_jax import plugins, records
from assl_jax.console import say
from assl_jax.errors import InputError, Unusable
from assl_jax.files import LOCK, digests, first_changed, sweep, try_lock
from assl_jax.records import StageRecord

LOGS = ("tensorboard", "wandb")  # folders of a stage that a user or a tracker may tidy


class Store(Protocol):
    """Keeps the results of stages, by name. Several commands may use one at the same time.

    Attributes:
      root: the folder of this machine where the folders of stages lie.
    """

    root: Path

    def get(self, name: str) -> StageRecord | None:
        """The record of a finished stage whose files are as it wrote them; None for any other."""

    def folder(self, name: str) -> Path:
        """A folder of this machine with the files of a stage, finished or not."""

    def lock(self, name: str) -> contextlib.AbstractContextManager[bool]:
        """Keep other commands from computing a stage; gives False if one of them does."""

    def begin(self, name: str) -> Path:
        """The folder to compute a stage in, which is locked. It may hold unfinished work."""

    def put(self, name: str, record: StageRecord) -> None:
        """Keep a stage whose files lie in its folder; only now is it finished."""

    def like(self, stem: str) -> Sequence[str]:
        """The names of finished stages that begin with `stem`, the newest first."""

    def finished_at(self, name: str) -> int:
        """When a stage was finished, in ns."""


class LocalStore:
    """One folder for each stage; `done.json` is written last, atomically.

    A folder without it is an unfinished stage: the next run continues from the files in it. If you
    delete a folder, only that stage is recomputed; so it is if a file in it has changed, which
    `done.json` tells.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, StageRecord] = {}  # the files are checked once in a process

    def get(self, name: str) -> StageRecord | None:
        if name not in self._checked and self._done(name).exists():
            found, fault = self._check(name)
            if found and not fault:
                self._checked[name] = found
        return self._checked.get(name)

    def folder(self, name: str) -> Path:
        return self.root / name

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        self.folder(name).mkdir(parents=True, exist_ok=True)
        lock = try_lock(self.folder(name) / LOCK)
        try:
            yield lock is not None
        finally:
            if lock:
                lock.release()

    def begin(self, name: str) -> Path:
        folder = self.folder(name)
        sweep(folder, seconds=0)
        if self._done(name).exists():
            self._empty(name)
        return folder

    def put(self, name: str, record: StageRecord) -> None:
        files = digests(self.folder(name), LOGS)
        records.write(self._done(name), record.replace(files=files))
        self._checked[name] = records.read(self._done(name), StageRecord)

    def like(self, stem: str) -> Sequence[str]:
        found = [file.parent.name for file in self.root.glob(f"{stem}*/{records.DONE}")]
        return sorted(found, key=self.finished_at, reverse=True)

    def finished_at(self, name: str) -> int:
        return self._done(name).stat().st_mtime_ns

    def _done(self, name: str) -> Path:
        return self.folder(name) / records.DONE

    def _check(self, name: str) -> tuple[StageRecord | None, str | None]:
        """The record of a stage, and the first file that is damaged; None where there is none."""
        try:
            record = records.read(self._done(name), StageRecord)
            return record, first_changed(self.folder(name), record.files)
        except Unusable:
            return None, records.DONE
        except OSError as error:  # it may be intact, and hours of work
            reason = error.strerror or error
            raise InputError(f"{self.folder(name)} cannot be read: {reason}") from error

    def _empty(self, name: str) -> None:
        """Empty the folder of a finished stage that is damaged, and say so."""
        folder, (_, fault) = self.folder(name), self._check(name)
        say(f"{folder / str(fault)} is damaged or missing; this stage is computed again")
        self._done(name).unlink()
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


GROUP = "assl_jax.stores"
STORES: dict[str, Callable[[str], Store]] = {"file": lambda path: LocalStore(Path(path))}


def open_store(address: str | Path) -> Store:
    """The store at an address: a folder, or `NAME://REST`.

    NAME is one of `STORES`, of another package, or `module:Class`. The store is made from REST.
    """
    name, mark, rest = str(address).partition("://")
    if not mark:
        return LocalStore(Path(address))
    return plugins.load(STORES, name, "--stages", GROUP)(rest)
