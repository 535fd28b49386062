"""The cache of finished work: one folder per stage, named after what determines it.

Processes that train together (`training.processes`) go through the same stages. The first looks
what is there, claims and writes; the others do as it finds.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from assl_jax.errors import Interrupted, require
from assl_jax.training.interrupt import asked_here
from assl_jax.training.memory import log_peak, peak_memory
from assl_jax.training.processes import broadcast, is_primary, gather

DONE = "done.json"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
      kind, label: what was done, and to which pool.
      folder: its files.
      key: hash of everything that determines it.
      result: what was computed, as JSON.
      seconds, images_per_s: time it took, and training throughput where there was training.
      peak_host_bytes, peak_device_bytes: memory, see `peak_memory`, of the process that finished
        it, the first of several; None where it was not measured.
    """

    kind: str
    label: str
    folder: Path
    key: str
    result: dict[str, Any]
    seconds: float
    images_per_s: float | None
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None

    def record(self) -> dict[str, Any]:
        """What a report shows of it."""
        return {
            "stage": self.folder.name,
            "kind": self.kind,
            "label": self.label,
            "seconds": self.seconds,
            "images_per_s": self.images_per_s,
            "peak_host_bytes": self.peak_host_bytes,
            "peak_device_bytes": self.peak_device_bytes,
            "result": self.result,
        }


class Busy(Exception):
    """Another process works on a stage."""


@dataclasses.dataclass
class StageCache:
    """Runs a stage once; afterwards its result is read. Several processes may share one.

    `done.json` is written last, by an atomic rename: a folder without it is work in progress, whose
    checkpoints may be used and whose results do not exist. Deleting a folder recomputes exactly
    that stage.

    Attributes:
      folder: where the stages lie.
      version: of the program, part of every stage's identity: another one computes anew.
      finished: the stages that were run or read, in order.
      wait: for a stage that another process works on; otherwise `Busy` is raised.
    """

    folder: Path
    version: str = ""
    finished: list[Stage] = dataclasses.field(default_factory=list)
    wait: bool = True

    def run(
        self,
        kind: str,
        label: str,
        spec: dict[str, Any],
        compute: Callable[[Path], dict[str, Any]],
        *,
        shown: str = "",
    ) -> Stage:
        """The stage that `spec` determines, computed by `compute(folder)` unless it is done.

        Args:
          kind, label: for people; part of the folder's name.
          shown: what the stage is called in this run, where that is another label.
          spec: plain values that determine the result, parent stages' keys among them.
          compute: returns the result, JSON; an entry `images_per_s` is kept apart.
        """
        key = digest({"kind": kind, "version": self.version, **spec})
        folder = self.folder / f"{kind}-{label}-{key}"
        require(
            len(set(gather(key))) == 1,
            f"the processes are not at the same work ({kind} {label}); give all of them the same "
            "command, data and version of the program",
        )
        done = _read_first(folder / DONE)
        if not done:
            if is_primary():
                folder.mkdir(parents=True, exist_ok=True)
            with claimed(folder, wait=self.wait):
                if not _read_first(folder / DONE):
                    self._compute(folder, {"kind": kind, "label": label, "spec": spec}, compute)
            done = _read_first(folder / DONE)
        stage = Stage(
            kind,
            shown or label,
            folder,
            key,
            done["result"],
            done["seconds"],
            done["images_per_s"],
            done.get("peak_host_bytes"),
            done.get("peak_device_bytes"),
        )
        if stage not in self.finished:
            self.finished.append(stage)
        return stage

    def _compute(
        self, folder: Path, what: dict[str, Any], compute: Callable[[Path], dict[str, Any]]
    ) -> None:
        before = time.monotonic()
        with peak_memory() as peak:
            result = compute(folder)
        log_peak(folder, peak)
        done = {
            **what,
            "seconds": round(time.monotonic() - before, 3),
            "images_per_s": result.pop("images_per_s", None),
            "peak_host_bytes": peak.host,
            "peak_device_bytes": peak.device,
            "result": result,
        }
        write_json(folder / DONE, done)


@contextlib.contextmanager
def claimed(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time works in a folder; the claim of a process that ends is gone with it.

    Raises:
      Busy: another one does, and `wait` is false.
      Interrupted: a stop was asked for while waiting.
    """
    with contextlib.ExitStack() as held:
        outcome = ""
        if is_primary():
            outcome = _claim(held.enter_context((folder / ".lock").open("a")), wait)
        outcome = broadcast(outcome)
        if outcome == "busy":
            raise Busy(folder.name)
        if outcome == "stop":
            raise Interrupted(f"stopped before {folder.name}, which another process works on")
        yield


def _claim(file: IO[str], wait: bool) -> str:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return "claimed"
        except BlockingIOError:
            if not wait:
                return "busy"
            if asked_here():
                return "stop"
            time.sleep(0.5)


def digest(spec: Any) -> str:
    """Twelve hex digits that change with any value of `spec`."""
    text = json.dumps(spec, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def _read_first(path: Path) -> dict[str, Any]:
    """What the first process reads there, in all of them."""
    return broadcast(read_json(path) if is_primary() else None)


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that `path` holds all of it or does not exist."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` file so that `path` holds all of it or does not exist; see `write_text`."""
    if not is_primary():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(temporary, array, allow_pickle=False)
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file by an atomic rename; of several processes the first does."""
    if not is_primary():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)
