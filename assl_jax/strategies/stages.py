"""The cache of finished work: one folder for each stage, named after everything that determines it.

Processes that train together (`training.processes`) run the same stages. The primary process reads
and writes the folders. The other processes receive its decisions.
"""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from assl_jax import console, records, signals
from assl_jax.errors import InputError, Interrupted, Unusable, require
from assl_jax.files import LOCK, digest, digests, first_changed, sweep, try_lock
from assl_jax.records import StageRecord, StageResult
from assl_jax.strategies.identity import code_digest, commit
from assl_jax.training.memory import log_peak, peak_memory
from assl_jax.training.metrics_log import MetricsLog
from assl_jax.training.processes import broadcast, gather, is_primary
from assl_jax.training.trackers import FOLDERS

LOCK_SECONDS = 0.5  # between two attempts to lock a folder


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
      folder: its files.
      label: what the run calls it; another run may call it differently.
      record: what `done.json` holds.
    """

    folder: Path
    label: str
    record: StageRecord

    @property
    def settings_key(self) -> str:
        """Digest of the stage's settings and of those of the stages before it."""
        return self.folder.name.split("-")[-2]

    @property
    def code_key(self) -> str:
        """Digest of the stage's code and of the code of the stages before it."""
        return self.folder.name.split("-")[-1]


class Busy(Exception):
    """Another process works on a stage, in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.name)
        self.folder = folder


class Unfinished(Exception):
    """A stage is not finished, and it must not be computed now."""


@dataclasses.dataclass
class StageCache:
    """Computes each stage once and reads its result afterwards. Several processes may share it.

    `done.json` is written last, atomically. A folder without it is an unfinished stage: the next
    run continues from the files in it. If you delete a folder, only that stage is recomputed; so it
    is if a file in it has changed, which `done.json` tells.

    The name of a folder ends with two digests, of the settings and of the code. If the code
    changes, the stages that use the changed code are recomputed.

    Attributes:
      folder: of all stages.
      reuse_settings: also accept finished stages with the same settings but different code.
      finished: the stages that were computed or read, in order.
      reused: names of the folders that `reuse_settings` accepted.
      told: is called with each stage that is computed or read, once.
    """

    folder: Path
    reuse_settings: bool = False
    finished: list[Stage] = dataclasses.field(default_factory=list)
    reused: list[str] = dataclasses.field(default_factory=list)
    told: Callable[[Stage], None] | None = None
    _wait: bool = dataclasses.field(default=True, init=False)
    _may_compute: bool = dataclasses.field(default=True, init=False)
    _warned: bool = dataclasses.field(default=False, init=False)
    _records: dict[Path, StageRecord] = dataclasses.field(default_factory=dict, init=False)

    def run(
        self,
        kind: str,
        label: str,
        settings: dict[str, Any],
        compute: Callable[[Path], StageResult],
        *,
        code: Sequence[Any],
        parents: Sequence[Stage] = (),
        shown: str = "",
    ) -> Stage:
        """Return the stage with these settings, code and parents; compute it if it is not finished.

        Args:
          kind, label: for people; part of the folder's name.
          settings: plain values that determine the result.
          compute: writes the files of the stage into the folder it gets and returns the result.
          code: functions and classes that compute it, see `identity.code_digest`.
          parents: the stages whose files it reads.
          shown: the label in this run, if it is another one.

        Raises:
          Busy: inside `without_waiting`, if another process is computing the stage.
          Unfinished: inside `without_computing`, if the stage is not finished.
          Interrupted: a stop was requested during the wait.
        """
        source = code_digest(*code)
        settings_key = digest([kind, settings, [p.settings_key for p in parents]])
        code_key = digest([source, [p.code_key for p in parents]])
        require(
            len({tuple(keys) for keys in gather([settings_key, code_key])}) == 1,
            f"the processes run different stages ({kind} {label}); start all of them with the same "
            "command, data and version of the program",
        )
        name = broadcast(self._choose(f"{kind}-{label}-{settings_key}", code_key, parents))
        folder = self.folder / name
        done = self._read(folder)
        if not done and not self._may_compute:
            raise Unfinished(name)
        if not done:
            if is_primary():
                folder.mkdir(parents=True, exist_ok=True)
            with claimed(folder, wait=self._wait):
                done = self._read(folder)
                if not done:
                    if is_primary():
                        sweep(folder, seconds=0)
                        _remove_damaged(folder)
                    self._compute(folder, compute, kind, label, settings, source)
                    done = self._read(folder)
        assert done is not None
        stage = Stage(folder, shown or label, done)
        if stage not in self.finished:
            self.finished.append(stage)
            if self.told and self._may_compute:
                self.told(stage)
        return stage

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Inside, `run` raises `Busy` instead of waiting for another process."""
        self._wait = False
        try:
            yield
        finally:
            self._wait = True

    def wait(self, folder: Path) -> None:
        """Wait until no other process works on the stage in `folder`, and say so.

        Raises:
          Interrupted: a stop was requested during the wait.
        """
        console.say(f"waiting for {folder.name}, which another process works on")
        with claimed(folder):
            pass

    @contextlib.contextmanager
    def without_computing(self) -> Iterator[None]:
        """Inside, `run` only looks for finished stages; they do not join `finished`."""
        finished, reused, before = list(self.finished), list(self.reused), self._may_compute
        self._may_compute = False
        try:
            yield
        finally:
            self._may_compute = before
            self.finished[:], self.reused[:] = finished, reused

    def _choose(self, stem: str, code_key: str, parents: Sequence[Stage]) -> str:
        """The name of the folder to use; looks for finished stages that other code computed.

        A stage that is older than one of `parents` was computed from other files.
        """
        own = f"{stem}-{code_key}"
        if not is_primary() or (self.folder / own / records.DONE).exists():
            return own
        others = [file.parent for file in self.folder.glob(f"{stem}-*/{records.DONE}")]
        since = max((finished_at(parent.folder) for parent in parents), default=0)
        usable = [folder for folder in others if self.reuse_settings and self._intact(folder)]
        newest = max(usable, key=finished_at, default=None)
        if newest and finished_at(newest) >= since:
            if newest.name not in self.reused:
                self.reused.append(newest.name)
            return newest.name
        if others and not self._warned:
            self._warned = True
            console.say(
                f"the code has changed since {others[0].name} was computed: the "
                "affected stages are computed again (--reuse=settings uses the finished ones)"
            )
        return own

    def _compute(
        self,
        folder: Path,
        compute: Callable[[Path], StageResult],
        kind: str,
        label: str,
        settings: dict[str, Any],
        code: str,
    ) -> None:
        before = time.monotonic()
        with peak_memory() as peak:
            result = compute(folder)
        log_peak(folder, peak)
        record = StageRecord(
            kind=kind,
            label=label,
            settings=settings,
            code=code,
            commit=commit(),
            result=result,
            seconds=round(time.monotonic() - before, 3),
            images_per_s=MetricsLog(folder).speed() if kind == "pretrain" else None,
            peak_host_bytes=peak.host,
            peak_device_bytes=peak.device,
        )
        if is_primary():
            records.write(folder / records.DONE, record.replace(files=digests(folder, FOLDERS)))
            self._records[folder] = records.read(folder / records.DONE, StageRecord)

    def _read(self, folder: Path) -> StageRecord | None:
        """The record of a finished stage, read by the primary process; None for any other."""
        found = self._intact(folder) if is_primary() else None
        done: Any = broadcast(msgspec.to_builtins(found) if found else None)
        return msgspec.convert(done, StageRecord) if done else None

    def _intact(self, folder: Path) -> StageRecord | None:
        """The record of a finished stage whose files are as it wrote them; None for any other.

        The files of a stage are checked once in a process.
        """
        if not (folder / records.DONE).exists():
            return None
        if folder not in self._records:
            found, fault = _checked(folder)
            if found is None or fault:
                return None
            self._records[folder] = found
        return self._records[folder]


def _checked(folder: Path) -> tuple[StageRecord | None, str | None]:
    """The record of a stage, and the first file that is damaged; None where there is none."""
    try:
        record = records.read(folder / records.DONE, StageRecord)
        return record, first_changed(folder, record.files)
    except Unusable:
        return None, records.DONE
    except OSError as error:  # it may be intact, and hours of work
        raise InputError(f"{folder} cannot be read: {error.strerror or error}") from error


def _remove_damaged(folder: Path) -> None:
    """Empty the folder of a finished stage that is damaged, and say so.

    A stage that is not finished goes on from its files.
    """
    if not (folder / records.DONE).exists():
        return
    _, fault = _checked(folder)
    console.say(f"{folder / str(fault)} is damaged or missing; this stage is computed again")
    (folder / records.DONE).unlink()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def finished_at(folder: Path) -> int:
    """When a stage was finished, in ns."""
    return (folder / records.DONE).stat().st_mtime_ns


@contextlib.contextmanager
def claimed(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a folder for this run; the lock of a process that ends is released.

    Raises:
      Busy: another run has locked it, and `wait` is false.
      Interrupted: a stop was requested during the wait.
    """
    with contextlib.ExitStack() as held:
        outcome = broadcast(_claim(folder / LOCK, wait, held) if is_primary() else "")
        if outcome == "busy":
            raise Busy(folder)
        if outcome == "stop":
            raise Interrupted(f"stopped before {folder.name}, which another process works on")
        yield


def _claim(path: Path, wait: bool, held: contextlib.ExitStack) -> str:
    while True:
        if lock := try_lock(path):
            held.callback(lock.release)
            return "claimed"
        if not wait:
            return "busy"
        if signals.asked():
            return "stop"
        time.sleep(LOCK_SECONDS)
